"""Mirror imports and retries: what a manifest does not name is removed, and failed items can be planned again.

Revision: 0004
Follows: 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_KINDS = "kind IN ('plan', 'fetch', 'embed', 'search', 'rerank', 'delete_gallery', 'sweep')"
_KINDS_BEFORE = "kind IN ('plan', 'fetch', 'embed', 'search', 'rerank', 'delete_gallery')"


def upgrade() -> None:
    """Apply."""
    _replace_kinds(_KINDS)
    op.add_column("job_items", sa.Column("planned", postgresql.JSONB(none_as_null=True), nullable=True))
    # Imports note on every row that they were its last writer, also where nothing else changes.
    op.execute("ALTER TABLE images SET (fillfactor = 85)")


def downgrade() -> None:
    """Undo; removals that wait are lost."""
    op.execute("ALTER TABLE images RESET (fillfactor)")
    op.drop_column("job_items", "planned")
    op.execute("DELETE FROM work_units WHERE kind = 'sweep'")
    _replace_kinds(_KINDS_BEFORE)


def _replace_kinds(kinds: str) -> None:
    op.drop_constraint(op.f("ck_work_units_kind"), "work_units", type_="check")
    op.create_check_constraint(op.f("ck_work_units_kind"), "work_units", kinds)
