"""Frames are found by their place on the sky, and by what lists choose by"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

LISTED = ("telescope", "target_name", "filter", "image_type", "night")
BEFORE = ("target_name", "image_type", "night")  # had an index of their own


def upgrade() -> None:
    """Make the indexes."""
    for name in BEFORE:
        op.drop_index(f"ix_frame_{name}", table_name="frame")
    for name in LISTED:
        op.create_index(f"ix_frame_{name}", "frame", [name, "t_min"])
    op.create_index("ix_frame_position", "frame", ["s_dec", "s_ra"])


def downgrade() -> None:
    """Bring back those of before."""
    op.drop_index("ix_frame_position", table_name="frame")
    for name in LISTED:
        op.drop_index(f"ix_frame_{name}", table_name="frame")
    for name in BEFORE:
        op.create_index(f"ix_frame_{name}", "frame", [name])
