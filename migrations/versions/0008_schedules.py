"""Schedules of galleries, and the key that makes a tick one job.

Revision: 0008
Follows: 0007
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TIMESTAMP = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "schedules",
        sa.Column("gallery_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("cron", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("params", postgresql.JSONB(), nullable=False),
        sa.Column("next_tick", _TIMESTAMP, nullable=False),
        sa.Column("last_tick", _TIMESTAMP, nullable=True),
        sa.Column("last_job_id", sa.Uuid(), nullable=True),
        sa.Column("skipped_tick", _TIMESTAMP, nullable=True),
        sa.Column("skipped_reason", sa.Text(), nullable=True),
        sa.Column("created_at", _TIMESTAMP, server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", _TIMESTAMP, server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["gallery_id"], ["galleries.id"], name="fk_schedules_gallery_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_schedules_tenant_id"),
        sa.PrimaryKeyConstraint("gallery_id", name="pk_schedules"),
    )
    op.create_index("ix_schedules_next_tick", "schedules", ["next_tick"])
    op.add_column("jobs", sa.Column("tick", _TIMESTAMP, nullable=True))
    op.create_index(
        "uq_jobs_tick", "jobs", ["gallery_id", "tick"], unique=True, postgresql_where=sa.text("tick IS NOT NULL")
    )


def downgrade() -> None:
    """Undo; schedules are lost, the jobs that they made are not."""
    op.drop_index("uq_jobs_tick", table_name="jobs")
    op.drop_column("jobs", "tick")
    op.drop_table("schedules")
