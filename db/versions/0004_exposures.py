"""The frames of one exposure, each from a detector of its own, are tied"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; what was read before gets them when it is read again."""
    op.add_column("frame", sa.Column("detector", sa.Text()))
    op.add_column("frame", sa.Column("exposure_id", sa.Text()))
    op.create_index("ix_frame_exposure_id", "frame", ["exposure_id"])


def downgrade() -> None:
    """Forget them."""
    op.drop_index("ix_frame_exposure_id", table_name="frame")
    op.drop_column("frame", "exposure_id")
    op.drop_column("frame", "detector")
