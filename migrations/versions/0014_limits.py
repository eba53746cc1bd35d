"""Requests a minute of a key, and images of a tenant.

Revision: 0014
Follows: 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply: keys and tenants that are there get what the operator has set for all."""
    op.add_column("api_keys", sa.Column("requests_per_minute", sa.Integer(), nullable=True))
    op.create_check_constraint(op.f("ck_api_keys_requests_per_minute"), "api_keys", "requests_per_minute >= 0")
    op.add_column("tenants", sa.Column("max_images", sa.BigInteger(), nullable=True))
    op.create_check_constraint(op.f("ck_tenants_max_images"), "tenants", "max_images >= 0")


def downgrade() -> None:
    """Undo; limits of single keys and tenants are lost."""
    op.drop_column("tenants", "max_images")
    op.drop_column("api_keys", "requests_per_minute")
