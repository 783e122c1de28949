"""Indexes of the frames' groups without the frames of none, which made SQLite think little of them"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_NAMES = ("exposure_id", "obs_id", "session_id")


def upgrade() -> None:
    """Only frames that have a group are in its index."""
    for name in _NAMES:
        op.drop_index(f"ix_frame_{name}", table_name="frame")
        given = sa.text(f"{name} IS NOT NULL")
        op.create_index(f"ix_frame_{name}", "frame", [name], sqlite_where=given, postgresql_where=given)


def downgrade() -> None:
    """All frames are in the indexes again."""
    for name in _NAMES:
        op.drop_index(f"ix_frame_{name}", table_name="frame")
        op.create_index(f"ix_frame_{name}", "frame", [name])
