"""Results that stand for groups.

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


def upgrade() -> None:
    """Apply."""
    op.add_column("query_candidates", sa.Column("group_value", postgresql.JSONB(), nullable=True))
    op.add_column("query_candidates", sa.Column("group_images", sa.Integer(), nullable=True))
    op.add_column("query_candidates", sa.Column("duplicates", sa.Integer(), nullable=True))


def downgrade() -> None:
    """Undo."""
    for column in ("duplicates", "group_images", "group_value"):
        op.drop_column("query_candidates", column)
