"""Near-duplicates, exports and garbage collection.

Revision: 0006
Follows: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_KINDS = "kind IN ('plan', 'fetch', 'embed', 'search', 'rerank', 'delete_gallery', 'sweep', 'export')"
_KINDS_BEFORE = "kind IN ('plan', 'fetch', 'embed', 'search', 'rerank', 'delete_gallery', 'sweep')"


def upgrade() -> None:
    """Apply."""
    op.add_column("blobs", sa.Column("phash", sa.BigInteger(), nullable=True))
    op.add_column("blobs", sa.Column("tint", sa.Integer(), nullable=True))
    op.add_column("blobs", sa.Column("condemned", sa.Boolean(), server_default="false", nullable=False))
    op.create_index("ix_blobs_condemned", "blobs", ["tenant_id", "sha256"], postgresql_where=sa.text("condemned"))
    op.drop_index("ix_blobs_touched_at", table_name="blobs")
    _replace_kinds(_KINDS)


def downgrade() -> None:
    """Undo; exports that wait are lost."""
    op.execute("DELETE FROM work_units WHERE kind = 'export'")
    _replace_kinds(_KINDS_BEFORE)
    op.create_index("ix_blobs_touched_at", "blobs", ["touched_at"])
    op.drop_index("ix_blobs_condemned", table_name="blobs")
    for column in ("condemned", "tint", "phash"):
        op.drop_column("blobs", column)


def _replace_kinds(kinds: str) -> None:
    op.drop_constraint(op.f("ck_work_units_kind"), "work_units")
    op.create_check_constraint(op.f("ck_work_units_kind"), "work_units", kinds)
