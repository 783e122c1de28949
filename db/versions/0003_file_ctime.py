"""A file's row holds its change time (ctime): content replaced under the same size and modification time is noticed"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of files read before it stays unknown, and is not compared."""
    op.add_column("file", sa.Column("ctime_ns", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Forget it."""
    op.drop_column("file", "ctime_ns")
