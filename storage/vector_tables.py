"""Where vectors lie: one plain table for each generation in schema `vectors`, and its HNSW index. See docs/adr/0002."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import TableClause, Uuid, column, table, text

from storage.halfvec import HalfVector
from storage.transaction import Transaction

SCHEMA = "vectors"
_PREFIX, _SUFFIX = "g_", "_hnsw"
_ROW_BYTES = 56  # of a row besides its 2 * dim bytes of numbers: enough for telling about how many rows there are

_SHAPE = text("""
    SELECT pg_relation_size(stored) AS bytes,
        (SELECT atttypmod FROM pg_attribute WHERE attrelid = stored AND attname = 'vector') AS dim,
        EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass(:hnsw) AND indisvalid) AS has_hnsw
    FROM to_regclass(:name) AS stored
    WHERE stored IS NOT NULL
""")
_WITHOUT_HNSW = text("""
    SELECT relname, pg_relation_size(pg_class.oid) AS bytes, atttypmod AS dim
    FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attname = 'vector'
    WHERE relnamespace = to_regnamespace(:schema) AND relkind = 'r' AND NOT EXISTS (
        SELECT FROM pg_index WHERE indexrelid = to_regclass(:schema || '.' || relname || :suffix) AND indisvalid)
""")


@dataclass(frozen=True, slots=True)
class Shape:
    """About how many rows a generation's table has (dead ones count too), and whether its HNSW index is complete."""

    rows: int
    has_hnsw: bool


def table_name(index_id: UUID) -> str:
    """Of the generation's table; a UUID's hexadecimal digits, so it may stand in SQL as it is."""
    return f"{SCHEMA}.{_PREFIX}{index_id.hex}"


def hnsw_name(index_id: UUID) -> str:
    """Of its HNSW index."""
    return f"{table_name(index_id)}{_SUFFIX}"


def vector_table(index_id: UUID) -> TableClause:
    """For statements."""
    columns = (column("image_id", Uuid), column("vector", HalfVector))
    return table(f"{_PREFIX}{index_id.hex}", *columns, schema=SCHEMA)


def shape(transaction: Transaction, index_id: UUID) -> Shape | None:
    """None without a table."""
    row = transaction.execute(_SHAPE, {"name": table_name(index_id), "hnsw": hnsw_name(index_id)}).one_or_none()
    return None if row is None else Shape(_rows(row.bytes, row.dim), row.has_hnsw)


def without_hnsw(transaction: Transaction) -> dict[UUID, int]:
    """Generations without a complete HNSW index, and about how many rows each has."""
    rows = transaction.execute(_WITHOUT_HNSW, {"schema": SCHEMA, "suffix": _SUFFIX})
    return {UUID(row.relname.removeprefix(_PREFIX)): _rows(row.bytes, row.dim) for row in rows}


def _rows(size_bytes: int, dim: int) -> int:
    return int(size_bytes // (_ROW_BYTES + 2 * dim))
