"""${message}.

Zero downtime: the release before this revision keeps running while it is applied, and may come back after it.
So add first and remove one release later: new columns are nullable or have a constant default, renames are an added
column and a backfill, CHECKs arrive NOT VALID and are validated in a revision of their own, and indexes on tables that
may be large are built CONCURRENTLY (in an autocommit block).

Revision: ${up_revision}
Follows: ${down_revision | comma,n}
"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    """Apply."""
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """Undo."""
    ${downgrades if downgrades else "pass"}
