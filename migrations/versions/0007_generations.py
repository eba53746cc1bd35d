"""Generations beside the active one: what they are owed, and since when they are what they are.

Revision: 0007
Follows: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_KINDS_BEFORE = ("plan", "fetch", "embed", "search", "rerank", "delete_gallery", "sweep", "export")
_NEW_KINDS = ("reembed", "reindex", "verify")


def upgrade() -> None:
    """Apply. Until now every generation was its gallery's only one, so imports have written all its vectors."""
    op.create_table(
        "pending_vectors",
        sa.Column("index_id", sa.Uuid(), nullable=False),
        sa.Column("image_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["index_id"], ["indexes.id"], name="fk_pending_vectors_index_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("index_id", "image_id", name="pk_pending_vectors"),
    )
    op.add_column("indexes", sa.Column("in_step", sa.Boolean(), server_default="false", nullable=False))
    op.add_column(
        "indexes",
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
    )
    op.execute("UPDATE indexes SET in_step = true WHERE state = 'active'")
    _replace_kinds((*_KINDS_BEFORE[:3], *_NEW_KINDS, *_KINDS_BEFORE[3:]))


def downgrade() -> None:
    """Undo; re-indexing that goes on is lost, and its half-made generations are left as they are."""
    op.execute("DELETE FROM jobs WHERE kind = 'reindex'")
    _replace_kinds(_KINDS_BEFORE)
    op.drop_column("indexes", "changed_at")
    op.drop_column("indexes", "in_step")
    op.drop_table("pending_vectors")


def _replace_kinds(kinds: tuple[str, ...]) -> None:
    allowed = ", ".join(f"'{kind}'" for kind in kinds)
    op.drop_constraint(op.f("ck_work_units_kind"), "work_units")
    op.create_check_constraint(op.f("ck_work_units_kind"), "work_units", f"kind IN ({allowed})")
