"""The tables of the catalogue"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "camera",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("planned_revision", sa.Integer(), nullable=True),
        sa.Column("planned_digest", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_camera")),
    )
    op.create_table(
        "closure",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("members", sa.JSON(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("closed_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("subject", "revision", name=op.f("pk_closure")),
    )
    op.create_table(
        "file",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("root", sa.Text(), nullable=False),
        sa.Column("relative_path", sa.Text(), nullable=False),
        sa.Column("member", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("present", sa.Boolean(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("first_seen", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_file")),
        sa.UniqueConstraint("root", "relative_path", "member", name=op.f("uq_file_root_relative_path_member")),
    )
    op.create_index(op.f("ix_file_name"), "file", ["name"], unique=False)
    op.create_index(op.f("ix_file_sha256"), "file", ["sha256"], unique=False)

    op.create_table(
        "flag",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("flagged_at", sa.Double(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("withdrawn_by", sa.Text(), nullable=True),
        sa.Column("withdrawn_at", sa.Double(), nullable=True),
        sa.Column("withdrawn_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flag")),
    )
    op.create_index(op.f("ix_flag_subject"), "flag", ["subject"], unique=False)
    op.create_index(
        "uq_flag_rejected",
        "flag",
        ["subject"],
        unique=True,
        sqlite_where=sa.text("active AND kind = 'reject'"),
        postgresql_where=sa.text("active AND kind = 'reject'"),
    )

    op.create_table(
        "frame",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("camera", sa.Text(), nullable=False),
        sa.Column("precedence", sa.Text(), nullable=False),
        sa.Column("first_seen", sa.Double(), nullable=False),
        sa.Column("pixel_sha256", sa.Text(), nullable=False),
        sa.Column("image_type", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("calib_level", sa.Integer(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("profile_version", sa.Integer(), nullable=False),
        sa.Column("user", sa.Text(), nullable=True),
        sa.Column("telescope", sa.Text(), nullable=True),
        sa.Column("instrument", sa.Text(), nullable=True),
        sa.Column("site", sa.Text(), nullable=True),
        sa.Column("site_longitude_deg", sa.Double(), nullable=True),
        sa.Column("target_name", sa.Text(), nullable=True),
        sa.Column("filter", sa.Text(), nullable=True),
        sa.Column("binning", sa.Text(), nullable=True),
        sa.Column("naxis1", sa.Integer(), nullable=True),
        sa.Column("naxis2", sa.Integer(), nullable=True),
        sa.Column("window", sa.Text(), nullable=True),
        sa.Column("exposure_s", sa.Double(), nullable=True),
        sa.Column("set_temperature_c", sa.Double(), nullable=True),
        sa.Column("ccd_temperature_c", sa.Double(), nullable=True),
        sa.Column("gain", sa.Double(), nullable=True),
        sa.Column("offset", sa.Double(), nullable=True),
        sa.Column("readout_mode", sa.Text(), nullable=True),
        sa.Column("gain_e_per_adu", sa.Double(), nullable=True),
        sa.Column("read_noise_e", sa.Double(), nullable=True),
        sa.Column("saturation_adu", sa.Double(), nullable=True),
        sa.Column("pedestal_adu", sa.Double(), nullable=True),
        sa.Column("bunit", sa.Text(), nullable=True),
        sa.Column("pixel_scale_arcsec", sa.Double(), nullable=True),
        sa.Column("t_min", sa.Double(), nullable=True),
        sa.Column("t_max", sa.Double(), nullable=True),
        sa.Column("date_obs", sa.Text(), nullable=True),
        sa.Column("night", sa.Text(), nullable=True),
        sa.Column("night_rule", sa.Text(), nullable=True),
        sa.Column("s_ra", sa.Double(), nullable=True),
        sa.Column("s_dec", sa.Double(), nullable=True),
        sa.Column("has_wcs", sa.Boolean(), nullable=False),
        sa.Column("airmass", sa.Double(), nullable=True),
        sa.Column("n_combined", sa.Integer(), nullable=True),
        sa.Column("sequence_total", sa.Integer(), nullable=True),
        sa.Column("calibration", sa.JSON(), nullable=False),
        sa.Column("bias_included", sa.Boolean(), nullable=True),
        sa.Column("obs_id", sa.Text(), nullable=True),
        sa.Column("session_id", sa.Text(), nullable=True),
        sa.Column("product_id", sa.Text(), nullable=True),
        sa.Column("warnings", sa.JSON(), nullable=False),
        sa.Column("sources", sa.JSON(), nullable=False),
        sa.Column("cards", sa.JSON(), nullable=False),
        sa.Column("header", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_frame")),
    )
    op.create_index(op.f("ix_frame_camera"), "frame", ["camera"], unique=False)
    op.create_index(op.f("ix_frame_image_type"), "frame", ["image_type"], unique=False)
    op.create_index(op.f("ix_frame_night"), "frame", ["night"], unique=False)
    op.create_index(op.f("ix_frame_obs_id"), "frame", ["obs_id"], unique=False)
    op.create_index(op.f("ix_frame_pixel_sha256"), "frame", ["pixel_sha256"], unique=False)
    op.create_index(op.f("ix_frame_session_id"), "frame", ["session_id"], unique=False)
    op.create_index(op.f("ix_frame_t_min"), "frame", ["t_min"], unique=False)
    op.create_index(op.f("ix_frame_target_name"), "frame", ["target_name"], unique=False)

    if op.get_context().dialect.name == "postgresql":
        op.create_index("ix_frame_header", "frame", ["header"], postgresql_using="gin")

    op.create_table(
        "job",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("camera", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("slot", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=True),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("leased_until", sa.Double(), nullable=True),
        sa.Column("not_before", sa.Double(), nullable=True),
        sa.Column("telescope", sa.Text(), nullable=True),
        sa.Column("instrument", sa.Text(), nullable=True),
        sa.Column("target_name", sa.Text(), nullable=True),
        sa.Column("filter", sa.Text(), nullable=True),
        sa.Column("night", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
    )
    op.create_index(op.f("ix_job_camera"), "job", ["camera"], unique=False)
    op.create_index(op.f("ix_job_state_priority_id"), "job", ["state", "priority", "id"], unique=False)
    op.create_index(op.f("ix_job_token"), "job", ["token"], unique=False)

    op.create_table(
        "metric",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("number", sa.Double(), nullable=True),
        sa.Column("value", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("subject", "name", name=op.f("pk_metric")),
    )
    op.create_table(
        "product",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("camera", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("slot", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("recipe_version", sa.Integer(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("telescope", sa.Text(), nullable=True),
        sa.Column("instrument", sa.Text(), nullable=True),
        sa.Column("target_name", sa.Text(), nullable=True),
        sa.Column("filter", sa.Text(), nullable=True),
        sa.Column("night", sa.Text(), nullable=True),
        sa.Column("exposure_s", sa.Double(), nullable=True),
        sa.Column("calib_level", sa.Integer(), nullable=False),
        sa.Column("observations", sa.JSON(), nullable=False),
        sa.Column("wcs", sa.Text(), nullable=False),
        sa.Column("s_ra", sa.Double(), nullable=True),
        sa.Column("s_dec", sa.Double(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("warnings", sa.JSON(), nullable=False),
        sa.Column("environment", sa.JSON(), nullable=False),
        sa.Column("extra_files", sa.JSON(), nullable=False),
        sa.Column("published", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_product")),
    )
    op.create_index(op.f("ix_product_kind"), "product", ["kind"], unique=False)
    op.create_index(op.f("ix_product_night"), "product", ["night"], unique=False)
    op.create_index(op.f("ix_product_slot"), "product", ["slot"], unique=False)
    op.create_index(
        "uq_product_serving",
        "product",
        ["camera", "slot"],
        unique=True,
        sqlite_where=sa.text("status IN ('final', 'provisional')"),
        postgresql_where=sa.text("status IN ('final', 'provisional')"),
    )

    op.create_table(
        "touched",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_touched")),
    )
    op.create_table(
        "attempt",
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("started", sa.Double(), nullable=False),
        sa.Column("ended", sa.Double(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["job.id"], name=op.f("fk_attempt_job"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", "number", name=op.f("pk_attempt")),
    )
    op.create_table(
        "file_frame",
        sa.Column("file", sa.Integer(), nullable=False),
        sa.Column("hdu", sa.Integer(), nullable=False),
        sa.Column("frame", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["file"], ["file.id"], name=op.f("fk_file_frame_file"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["frame"], ["frame.id"], name=op.f("fk_file_frame_frame"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("file", "hdu", name=op.f("pk_file_frame")),
    )
    op.create_index(op.f("ix_file_frame_frame"), "file_frame", ["frame"], unique=False)

    op.create_table(
        "job_input",
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["job.id"], name=op.f("fk_job_input_job"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", "position", name=op.f("pk_job_input")),
    )
    op.create_index(op.f("ix_job_input_id"), "job_input", ["id"], unique=False)

    op.create_table(
        "product_input",
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["product"], ["product.id"], name=op.f("fk_product_input_product"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("product", "position", name=op.f("pk_product_input")),
    )
    op.create_index(op.f("ix_product_input_id"), "product_input", ["id"], unique=False)


def downgrade() -> None:
    """Drop them."""
    op.drop_table("product_input")
    op.drop_table("job_input")
    op.drop_table("file_frame")
    op.drop_table("attempt")
    op.drop_table("touched")
    op.drop_table("product")
    op.drop_table("metric")
    op.drop_table("job")
    op.drop_table("frame")
    op.drop_table("flag")
    op.drop_table("file")
    op.drop_table("closure")
    op.drop_table("camera")
