"""References of queries that are fetched from a URL.

Revision: 0010
Follows: 0008
"""

from alembic import op

revision = "0010"
down_revision = "0008"
branch_labels = None
depends_on = None

_KINDS_BEFORE = (
    *("plan", "fetch", "embed", "reembed", "reindex", "verify"),
    *("search", "rerank", "delete_gallery", "sweep", "export"),
)
_KINDS = (*_KINDS_BEFORE[:6], "reference", *_KINDS_BEFORE[6:])


def upgrade() -> None:
    """Apply."""
    _replace_kinds(_KINDS)


def downgrade() -> None:
    """Undo; queries whose reference is still to be fetched are lost."""
    op.execute("DELETE FROM jobs WHERE id IN (SELECT job_id FROM work_units WHERE kind = 'reference')")
    _replace_kinds(_KINDS_BEFORE)


def _replace_kinds(kinds: tuple[str, ...]) -> None:
    allowed = ", ".join(f"'{kind}'" for kind in kinds)
    op.drop_constraint(op.f("ck_work_units_kind"), "work_units")
    op.create_check_constraint(op.f("ck_work_units_kind"), "work_units", f"kind IN ({allowed})")
