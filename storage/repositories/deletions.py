"""Deleting a table's rows some at a time."""

from collections.abc import Sequence

from sqlalchemy import TextClause, text


def delete_some(table: str, *, key: Sequence[str], where: str, order_by: str) -> TextClause:
    """Delete at most `:limit` rows, the first of an order, and leave alone those that somebody has locked.

    `key` are the columns that tell a row from all others. The text is put into the statement as it is.
    """
    columns = ", ".join(key)
    stored, chosen = (", ".join(f"{name}.{column}" for column in key) for name in (table, "chosen"))
    # A limited, locking subquery of `IN` may be run again by its outer plan, and would then choose more rows.
    return text(f"""
        WITH chosen AS MATERIALIZED (
            SELECT {columns} FROM {table} WHERE {where} ORDER BY {order_by} LIMIT :limit FOR UPDATE SKIP LOCKED)
        DELETE FROM {table} USING chosen WHERE ({stored}) = ({chosen})
    """)  # noqa: S608 - our own text
