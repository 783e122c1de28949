"""Planned group by group: what is to be planned, the masters that may serve, and what was chosen for each frame"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, and have every camera planned anew, which fills them."""
    for table in ("product", "job"):
        op.add_column(table, sa.Column("subject", sa.Text(), nullable=False, server_default=""))
    op.add_column("product", sa.Column("held", sa.Text(), nullable=False, server_default=""))
    op.add_column("camera", sa.Column("masters_version", sa.Integer(), nullable=False, server_default="0"))
    op.create_index("ix_product_camera", "product", ["camera", "subject"])
    op.drop_index("ix_job_camera", table_name="job")
    op.create_index("ix_job_camera", "job", ["camera", "subject"])
    op.add_column("flag", sa.Column("valid_from", sa.Double()))
    op.add_column("flag", sa.Column("valid_until", sa.Double()))
    approved = sa.text("active AND kind = 'approve'")
    op.create_index(
        "uq_flag_approved", "flag", ["subject"], unique=True, sqlite_where=approved, postgresql_where=approved
    )
    op.create_table(
        "unplanned",
        sa.Column("camera", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("camera", "subject", name="pk_unplanned"),
    )
    op.create_table(
        "candidate",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("camera", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("like", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("bias_included", sa.Boolean()),
        sa.Column("n_combined", sa.Integer()),
        sa.Column("mask", sa.Text()),
        sa.Column("valid_from", sa.Double()),
        sa.Column("valid_until", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="pk_candidate"),
    )
    op.create_index("ix_candidate_camera", "candidate", ["camera", "kind"])
    op.create_table(
        "association",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("camera", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("t_min", sa.Double()),
        sa.Column("night", sa.Text()),
        sa.Column("bias", sa.Text()),
        sa.Column("bias_days", sa.Double()),
        sa.Column("dark", sa.Text()),
        sa.Column("dark_days", sa.Double()),
        sa.Column("flat", sa.Text()),
        sa.Column("flat_days", sa.Double()),
        sa.Column("best", sa.Boolean(), nullable=False),
        sa.Column("missing", sa.JSON(none_as_null=True)),
        sa.PrimaryKeyConstraint("id", name="pk_association"),
    )
    op.create_index("ix_association_camera", "association", ["camera", "t_min"])
    op.create_index("ix_association_subject", "association", ["subject"])
    missing = sa.text("missing IS NOT NULL")
    op.create_index(
        "ix_association_missing", "association", ["camera", "night"], sqlite_where=missing, postgresql_where=missing
    )
    op.execute("INSERT INTO unplanned (camera, subject, version) SELECT name, '*', 1 FROM camera")
    op.execute("UPDATE camera SET revision = revision + 1")


def downgrade() -> None:
    """Forget them; approvals go with them."""
    op.execute("DELETE FROM flag WHERE kind = 'approve'")
    for table in ("association", "candidate", "unplanned"):
        op.drop_table(table)
    op.drop_index("uq_flag_approved", table_name="flag")
    op.drop_column("flag", "valid_until")
    op.drop_column("flag", "valid_from")
    op.drop_index("ix_job_camera", table_name="job")
    op.create_index("ix_job_camera", "job", ["camera"])
    op.drop_index("ix_product_camera", table_name="product")
    op.drop_column("camera", "masters_version")
    op.drop_column("product", "held")
    for table in ("job", "product"):
        op.drop_column(table, "subject")
