"""Frames are found by their place on the sky"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_frame_position", "frame", ["s_dec", "s_ra"])


def downgrade() -> None:
    op.drop_index("ix_frame_position", table_name="frame")
