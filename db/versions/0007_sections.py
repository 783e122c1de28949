"""Where a frame's overscan is, and the part to keep"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; frames are translated again, which fills them."""
    op.add_column("frame", sa.Column("overscan_section", sa.Text()))
    op.add_column("frame", sa.Column("trim_section", sa.Text()))


def downgrade() -> None:
    """Take the columns away."""
    with op.batch_alter_table("frame") as table:
        table.drop_column("trim_section")
        table.drop_column("overscan_section")
