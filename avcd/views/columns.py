"""Which keys of a row a table shows unless ``--columns`` says otherwise; json and csv hold every key."""

from __future__ import annotations

FRAMES = (
    "id", "image_type", "telescope", "night", "target_name", "filter", "exposure_s", "binning", "ccd_temperature_c",
    "date_obs", "status", "path",
)  # fmt: skip
FILES = ("root", "path", "member", "size", "status", "present", "frames", "reason")
PRODUCTS = ("id", "kind", "status", "telescope", "night", "target_name", "filter", "wcs", "path")
MASTERS = ("id", "kind", "origin", "status", "telescope", "night", "filter", "exposure_s", "path")
JOBS = ("id", "kind", "state", "attempts", "telescope", "night", "target_name", "filter", "reason")
PLAN = ("id", "kind", "state", "telescope", "night", "target_name", "filter", "inputs", "reason")
NIGHTS = (
    "telescope", "night", "target_name", "frames", "exposure_h", "fwhm_px", "fwhm_arcsec", "state", "closed_by",
)  # fmt: skip
OBSERVATIONS = ("id", "telescope", "target_name", "night", "frames", "exposure_s", "state", "closed_by", "revision")
SETTINGS = ("setting", "value", "default", "help")
CHECKS = ("check", "outcome", "detail")
INGESTED = ("root", "path", "status", "new_frames", "reason")
TARGETS = ("target_name", "s_ra", "s_dec", "source")
COPIED = ("table", "rows", "copied", "digest", "equal")
