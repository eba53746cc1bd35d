"""Query batches, and results that stand for groups.

Revision: 0011
Follows: 0010
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_STAGES = ("plan", "fetch", "embed", "reembed", "reindex", "verify", "reference", "search", "rerank")
_NEW_KINDS = ("batch_search", "batch_rerank", "batch_result")
_OTHERS = ("delete_gallery", "sweep", "export")


def upgrade() -> None:
    """Apply."""
    op.add_column("query_candidates", sa.Column("group_value", postgresql.JSONB(), nullable=True))
    op.add_column("query_candidates", sa.Column("group_images", sa.Integer(), nullable=True))
    op.add_column("query_candidates", sa.Column("duplicates", sa.Integer(), nullable=True))
    op.create_table(
        "query_batch_parts",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("first_line", sa.Integer(), nullable=False),
        sa.Column("part_id", sa.Uuid(), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_query_batch_parts_job_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "first_line", "part_id", name="pk_query_batch_parts"),
    )
    _replace_kinds((*_STAGES, *_NEW_KINDS, *_OTHERS))


def downgrade() -> None:
    """Undo; query batches that have not ended are lost."""
    kinds = ", ".join(f"'{kind}'" for kind in _NEW_KINDS)
    op.execute(f"DELETE FROM jobs WHERE id IN (SELECT job_id FROM work_units WHERE kind IN ({kinds}))")  # noqa: S608
    _replace_kinds((*_STAGES, *_OTHERS))
    op.drop_table("query_batch_parts")
    for column in ("duplicates", "group_images", "group_value"):
        op.drop_column("query_candidates", column)


def _replace_kinds(kinds: tuple[str, ...]) -> None:
    allowed = ", ".join(f"'{kind}'" for kind in kinds)
    op.drop_constraint(op.f("ck_work_units_kind"), "work_units")
    op.create_check_constraint(op.f("ck_work_units_kind"), "work_units", f"kind IN ({allowed})")
