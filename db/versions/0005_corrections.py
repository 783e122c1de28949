"""Values corrected by observers; frames know the name they were read by, and may be translated again"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; frames recorded before learn their name when they are translated again."""
    op.add_column("frame", sa.Column("read_root", sa.Text()))
    op.add_column("frame", sa.Column("read_path", sa.Text()))
    op.create_table(
        "correction",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("frame", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.JSON(none_as_null=True)),
        sa.Column("before", sa.JSON(none_as_null=True)),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("corrected_at", sa.Double(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("withdrawn_by", sa.Text()),
        sa.Column("withdrawn_at", sa.Double()),
        sa.Column("withdrawn_reason", sa.Text()),
        sa.ForeignKeyConstraint(["frame"], ["frame.id"], name="fk_correction_frame", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_correction"),
    )
    op.create_index("ix_correction_frame", "correction", ["frame"])
    op.create_index(
        "uq_correction_active",
        "correction",
        ["frame", "name"],
        unique=True,
        sqlite_where=sa.text("active"),
        postgresql_where=sa.text("active"),
    )
    op.create_table(
        "outdated",
        sa.Column("frame", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["frame"], ["frame.id"], name="fk_outdated_frame", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("frame", name="pk_outdated"),
    )
    op.create_table(
        "translation",
        sa.Column("root", sa.Text(), nullable=False),
        sa.Column("digests", sa.JSON(none_as_null=True), nullable=False),
        sa.PrimaryKeyConstraint("root", name="pk_translation"),
    )


def downgrade() -> None:
    """Forget them; what was corrected keeps its values until it is read again."""
    op.drop_table("translation")
    op.drop_table("outdated")
    op.drop_table("correction")
    op.drop_column("frame", "read_path")
    op.drop_column("frame", "read_root")
