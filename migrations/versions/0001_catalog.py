"""Tenants, galleries and images; schema `vectors`, whose tables workers make (one a generation).

Revision: 0001
Follows: nothing
"""

import sqlalchemy as sa
from alembic import op
from psycopg.errors import FeatureNotSupported, InsufficientPrivilege, UndefinedFile
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_NOW = sa.text("now()")
_TIMESTAMP = sa.DateTime(timezone=True)
_JSON = postgresql.JSONB()
_TEXTS = postgresql.ARRAY(sa.Text())
_NO_PGVECTOR = (
    "Postgres has no pgvector here, or this user may not create the extension. Install pgvector 0.8 or later on the "
    "server, let a superuser run CREATE EXTENSION vector in this database, and start again."
)
_TABLES = (
    "tenants",
    "api_keys",
    "idempotency_keys",
    "blobs",
    "galleries",
    "gallery_counts",
    "images",
    "indexes",
    "concepts",
)


def upgrade() -> None:
    """Apply."""
    _extension()
    op.execute("CREATE SCHEMA IF NOT EXISTS vectors")
    _tenants()
    _api_keys()
    _idempotency_keys()
    _blobs()
    _galleries()
    _gallery_counts()
    _images()
    _indexes()
    _concepts()
    op.create_foreign_key(
        "fk_galleries_active_index_id",
        "galleries",
        "indexes",
        ["active_index_id"],
        ["id"],
        ondelete="SET NULL",
        deferrable=True,
        initially="DEFERRED",
    )


def downgrade() -> None:
    """Undo; the extension stays, since others may use it."""
    op.execute("DROP SCHEMA vectors CASCADE")
    op.drop_constraint("fk_galleries_active_index_id", "galleries")
    for table in reversed(_TABLES):
        op.drop_table(table)


def _extension() -> None:
    """Ask for pgvector only where it is missing: whoever may not create it can have it created by somebody else."""
    if op.get_bind().execute(sa.text("SELECT FROM pg_extension WHERE extname = 'vector'")).first() is not None:
        return
    try:
        op.execute("CREATE EXTENSION vector")
    except DBAPIError as error:
        if not isinstance(error.orig, InsufficientPrivilege | UndefinedFile | FeatureNotSupported):
            raise
        raise RuntimeError(_NO_PGVECTOR) from error


def _tenants() -> None:
    op.create_table(
        "tenants",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", _TIMESTAMP, server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tenants"),
        sa.UniqueConstraint("name", name="uq_tenants_name"),
    )


def _api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("key_sha256", sa.Text(), nullable=False),
        sa.Column("scopes", _TEXTS, nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("created_at", _TIMESTAMP, server_default=_NOW, nullable=False),
        sa.CheckConstraint("scopes <@ ARRAY['read', 'write', 'query', 'admin']", name=op.f("ck_api_keys_scopes")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_api_keys_tenant_id"),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("key_sha256", name="uq_api_keys_key_sha256"),
    )
    op.create_index("ix_api_keys_tenant_id", "api_keys", ["tenant_id"])


def _idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("body", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("headers", _JSON, server_default="{}", nullable=False),
        sa.Column("created_at", _TIMESTAMP, server_default=_NOW, nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_idempotency_keys_tenant_id"),
        sa.PrimaryKeyConstraint("tenant_id", "key", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])


def _blobs() -> None:
    op.create_table(
        "blobs",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("touched_at", _TIMESTAMP, nullable=False),
        sa.CheckConstraint("length(sha256) = 64", name=op.f("ck_blobs_sha256")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_blobs_tenant_id"),
        sa.PrimaryKeyConstraint("tenant_id", "sha256", name="pk_blobs"),
    )
    op.create_index("ix_blobs_touched_at", "blobs", ["touched_at"])


def _galleries() -> None:
    op.create_table(
        "galleries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("encoder", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("attributes_schema", _JSON, nullable=False),
        sa.Column("active_index_id", sa.Uuid(), nullable=True),
        sa.Column("deleting", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", _TIMESTAMP, server_default=_NOW, nullable=False),
        sa.Column("updated_at", _TIMESTAMP, server_default=_NOW, nullable=False),
        sa.CheckConstraint("device IN ('auto', 'cpu', 'gpu')", name=op.f("ck_galleries_device")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_galleries_tenant_id"),
        sa.PrimaryKeyConstraint("id", name="pk_galleries"),
    )
    op.create_index(
        "uq_galleries_tenant_id_name",
        "galleries",
        ["tenant_id", "name"],
        unique=True,
        postgresql_where=sa.text("NOT deleting"),
    )


def _gallery_counts() -> None:
    op.create_table(
        "gallery_counts",
        sa.Column("gallery_id", sa.Uuid(), nullable=False),
        sa.Column("slot", sa.SmallInteger(), nullable=False),
        sa.Column("images", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["gallery_id"], ["galleries.id"], name="fk_gallery_counts_gallery_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("gallery_id", "slot", name="pk_gallery_counts"),
    )


def _images() -> None:
    op.create_table(
        "images",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("gallery_id", sa.Uuid(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("attributes", _JSON, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("last_job_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", _TIMESTAMP, server_default=_NOW, nullable=False),
        sa.Column("updated_at", _TIMESTAMP, server_default=_NOW, nullable=False),
        sa.CheckConstraint("state IN ('ready')", name=op.f("ck_images_state")),
        sa.ForeignKeyConstraint(["gallery_id"], ["galleries.id"], name="fk_images_gallery_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["tenant_id", "sha256"], ["blobs.tenant_id", "blobs.sha256"], name="fk_images_tenant_id_sha256"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_images"),
    )
    op.create_index(
        "ix_images_attributes",
        "images",
        ["attributes"],
        postgresql_using="gin",
        postgresql_ops={"attributes": "jsonb_path_ops"},
    )
    op.create_index("ix_images_gallery_id_id", "images", ["gallery_id", "id"])
    op.create_index("ix_images_tenant_id_sha256", "images", ["tenant_id", "sha256"])
    op.create_index("uq_images_gallery_id_external_id", "images", ["gallery_id", "external_id"], unique=True)


def _indexes() -> None:
    op.create_table(
        "indexes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("gallery_id", sa.Uuid(), nullable=False),
        sa.Column("encoder", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=True),
        sa.Column("architecture", sa.Text(), nullable=True),
        sa.Column("weights_sha256", sa.Text(), nullable=True),
        sa.Column("dim", sa.Integer(), nullable=True),
        sa.Column("preprocessing", sa.Text(), nullable=True),
        sa.Column("mean", sa.LargeBinary(), nullable=True),
        sa.Column("mean_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", _TIMESTAMP, server_default=_NOW, nullable=False),
        sa.CheckConstraint(
            "state IN ('building', 'ready', 'active', 'standby', 'dropped')", name=op.f("ck_indexes_state")
        ),
        sa.CheckConstraint(
            "num_nulls(spec, architecture, weights_sha256, dim, preprocessing) IN (0, 5)",
            name=op.f("ck_indexes_identity_is_whole"),
        ),
        sa.ForeignKeyConstraint(["gallery_id"], ["galleries.id"], name="fk_indexes_gallery_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_indexes_tenant_id"),
        sa.PrimaryKeyConstraint("id", name="pk_indexes"),
    )
    op.create_index("ix_indexes_gallery_id_id", "indexes", ["gallery_id", "id"])


def _concepts() -> None:
    op.create_table(
        "concepts",
        sa.Column("index_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("term", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("kind IN ('product', 'scene')", name=op.f("ck_concepts_kind")),
        sa.ForeignKeyConstraint(["index_id"], ["indexes.id"], name="fk_concepts_index_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("index_id", "position", name="pk_concepts"),
    )
