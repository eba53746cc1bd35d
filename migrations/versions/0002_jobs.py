"""Jobs, units of work and workers.

Revision: 0002
Follows: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NOW = sa.text("now()")
_TIMESTAMP = sa.DateTime(timezone=True)
_JSON = postgresql.JSONB()
_TEXTS = postgresql.ARRAY(sa.Text())
_COUNTERS = ("created", "updated", "unchanged", "deleted", "failed", "canceled")
_TABLES = ("jobs", "job_items", "query_candidates", "work_units", "workers")


def upgrade() -> None:
    """Apply."""
    _jobs()
    _job_items()
    _query_candidates()
    _work_units()
    _workers()


def downgrade() -> None:
    """Undo."""
    for table in reversed(_TABLES):
        op.drop_table(table)


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("gallery_id", sa.Uuid(), nullable=True),
        sa.Column("gallery_name", sa.Text(), nullable=True),
        sa.Column("params", _JSON, nullable=False),
        sa.Column("total", sa.Integer(), nullable=True),
        *(sa.Column(name, sa.Integer(), server_default="0", nullable=False) for name in _COUNTERS),
        sa.Column("result", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("error", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("warnings", _TEXTS, server_default="{}", nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", _TIMESTAMP, server_default=_NOW, nullable=False),
        sa.Column("started_at", _TIMESTAMP, nullable=True),
        sa.Column("finished_at", _TIMESTAMP, nullable=True),
        sa.Column("expires_at", _TIMESTAMP, nullable=False),
        sa.Column("deadline_at", _TIMESTAMP, nullable=True),
        sa.CheckConstraint(
            "(state IN ('succeeded', 'partially_succeeded', 'failed', 'canceled')) = (finished_at IS NOT NULL)",
            name=op.f("ck_jobs_finished_is_terminal"),
        ),
        sa.CheckConstraint(
            "kind IN ('import', 'delete', 'reindex', 'query', 'query_batch', 'export', 'train')",
            name=op.f("ck_jobs_kind"),
        ),
        sa.CheckConstraint(
            "stage IN ('planning', 'fetching', 'embedding', 'indexing', 'searching', 'reranking', 'finishing')",
            name=op.f("ck_jobs_stage"),
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'partially_succeeded', 'failed', 'cancelling', 'canceled')",
            name=op.f("ck_jobs_state"),
        ),
        sa.CheckConstraint(
            "finished_at IS NULL OR (total IS NOT NULL AND "
            "total = created + updated + unchanged + deleted + failed + canceled)",
            name=op.f("ck_jobs_finished_adds_up"),
        ),
        sa.CheckConstraint(
            "total >= created + updated + unchanged + deleted + failed + canceled",
            name=op.f("ck_jobs_counts_at_most_total"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_jobs_tenant_id"),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        postgresql_with={"fillfactor": 70},
    )
    op.create_index("ix_jobs_cancelling", "jobs", ["id"], postgresql_where=sa.text("state = 'cancelling'"))
    op.create_index("ix_jobs_deadline_at", "jobs", ["deadline_at"], postgresql_where=sa.text("deadline_at IS NOT NULL"))
    op.create_index("ix_jobs_expires_at", "jobs", ["expires_at"], postgresql_where=sa.text("finished_at IS NOT NULL"))
    op.create_index("ix_jobs_open_by_gallery", "jobs", ["gallery_id"], postgresql_where=sa.text("finished_at IS NULL"))
    op.create_index("ix_jobs_tenant_id_id", "jobs", ["tenant_id", "id"])
    op.create_index("ix_jobs_tenant_id_kind_id", "jobs", ["tenant_id", "kind", "id"])


def _job_items() -> None:
    op.create_table(
        "job_items",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("created_at", _TIMESTAMP, server_default=_NOW, nullable=False),
        sa.CheckConstraint(
            "outcome IN ('created', 'updated', 'unchanged', 'deleted', 'failed', 'canceled')",
            name=op.f("ck_job_items_outcome"),
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_job_items_job_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_job_items"),
    )
    op.create_index("ix_job_items_job_id_id", "job_items", ["job_id", "id"])


def _query_candidates() -> None:
    op.create_table(
        "query_candidates",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("image_id", sa.Uuid(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("coarse_rank", sa.Integer(), nullable=False),
        sa.Column("coarse_score", sa.Double(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("p_yes", sa.Double(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_query_candidates_job_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "image_id", name="pk_query_candidates"),
    )


def _work_units() -> None:
    op.create_table(
        "work_units",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("cursor", sa.Integer(), server_default="0", nullable=False),
        sa.Column("payload", _JSON, nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("batch_limit", sa.Integer(), nullable=True),
        sa.Column("lease_token", sa.Uuid(), nullable=True),
        sa.Column("lease_until", _TIMESTAMP, nullable=True),
        sa.Column("not_before", _TIMESTAMP, server_default=_NOW, nullable=False),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("created_at", _TIMESTAMP, server_default=_NOW, nullable=False),
        sa.Column("finished_at", _TIMESTAMP, nullable=True),
        sa.CheckConstraint(
            "(state = 'running') = (lease_token IS NOT NULL)", name=op.f("ck_work_units_running_is_leased")
        ),
        sa.CheckConstraint(
            "kind IN ('plan', 'fetch', 'embed', 'search', 'rerank', 'delete_gallery')", name=op.f("ck_work_units_kind")
        ),
        sa.CheckConstraint(
            "queue IN ('ingest', 'embed', 'embed.gpu', 'query', 'rerank', 'maintenance', 'reconcile')",
            name=op.f("ck_work_units_queue"),
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'running', 'done', 'failed', 'canceled')", name=op.f("ck_work_units_state")
        ),
        sa.CheckConstraint(
            "num_nulls(lease_token, lease_until, worker) IN (0, 3)", name=op.f("ck_work_units_lease_is_whole")
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_work_units_job_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_work_units_tenant_id"),
        sa.PrimaryKeyConstraint("id", name="pk_work_units"),
        postgresql_with={"fillfactor": 70},
    )
    op.create_index("ix_work_units_job_id_state_id", "work_units", ["job_id", "state", "id"])
    op.create_index(
        "ix_work_units_open_kinds",
        "work_units",
        ["job_id", "kind"],
        postgresql_where=sa.text("state IN ('pending', 'running')"),
    )
    op.create_index(
        "ix_work_units_pending",
        "work_units",
        ["queue", "tenant_id", "id"],
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index("ix_work_units_running", "work_units", ["tenant_id"], postgresql_where=sa.text("state = 'running'"))


def _workers() -> None:
    op.create_table(
        "workers",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("queues", _TEXTS, nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("started_at", _TIMESTAMP, server_default=_NOW, nullable=False),
        sa.Column("beat_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_workers"),
    )
