"""The tables. Written and queried through SQLAlchemy statements, in this package only."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Double, Index, MetaData, Table, UniqueConstraint, text
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from avcd.catalog.types import PathText, PlainText, indexed_json_column, json_column
from avcd.frame import CalibLevel, Wcs

# Every constraint has a name, so that a migration can drop it on either database.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class _Base(SQLModel, registry=registry(metadata=metadata)):
    """Tables of the catalogue, apart from any other SQLModel tables of the process."""


def _key() -> Any:
    return Field(primary_key=True, sa_type=PlainText)


def _text(*, index: bool = False) -> Any:
    return Field(default="", sa_type=PlainText, index=index)


def _maybe_text(*, index: bool = False) -> Any:
    return Field(default=None, sa_type=PlainText, nullable=True, index=index)


def _maybe_number() -> Any:
    return Field(default=None, sa_type=Double, nullable=True)


def _seconds() -> Any:
    return Field(sa_type=Double)  # since the epoch


def _json() -> Any:
    return Field(sa_type=json_column())


def _given(name: str) -> Index:
    """An index of the frames in which a value is given."""
    given = text(f"{name} IS NOT NULL")
    return Index(f"ix_frame_{name}", name, sqlite_where=given, postgresql_where=given)


class File(_Base, table=True):
    """One path below a root, or one member of the archive at that path (``member`` "" is the file itself)."""

    __table_args__ = (UniqueConstraint("root", "relative_path", "member"),)

    id: int | None = Field(default=None, primary_key=True)
    root: str = _text()
    relative_path: str = Field(sa_type=PathText)
    member: str = Field(default="", sa_type=PathText)
    name: str = Field(sa_type=PathText, index=True)  # the last part of member, else of relative_path
    sha256: str | None = _maybe_text(index=True)
    size: int = Field(sa_type=BigInteger)
    mtime_ns: int = Field(sa_type=BigInteger)
    ctime_ns: int | None = Field(default=None, sa_type=BigInteger, nullable=True)  # None: not recorded
    present: bool = True
    status: str = _text()
    reason: str = _text()
    first_seen: float = _seconds()


class Camera(_Base, table=True):
    """A camera: ``revision`` counts the changes of its facts, the others say what was planned last."""

    name: str = _key()
    revision: int = 1
    planned_revision: int | None = None
    planned_digest: str | None = _maybe_text()
    masters_version: int = 0  # counts the plans that changed what may serve


class FrameRow(_Base, table=True):
    """One image HDU, by content. The columns are the fields of `avcd.frame.Frame`, and the header twice."""

    __tablename__ = "frame"
    # The header's index is PostgreSQL's alone: elsewhere it would be a copy of every header.
    __table_args__ = (
        Index("ix_frame_header", "header", postgresql_using="gin"),
        Index("ix_frame_position", "s_dec", "s_ra"),
        # What lists choose by, in the order in which they show it.
        Index("ix_frame_telescope", "telescope", "t_min"),
        Index("ix_frame_target_name", "target_name", "t_min"),
        Index("ix_frame_filter", "filter", "t_min"),
        Index("ix_frame_image_type", "image_type", "t_min"),
        Index("ix_frame_night", "night", "t_min"),
        # Without the frames of no group: with them, SQLite takes an index for one of few values, and looks through a camera.
        _given("exposure_id"),
        _given("obs_id"),
        _given("session_id"),
    )

    id: str = _key()
    camera: str = _text(index=True)
    precedence: str = _text()  # which of two readings of one frame holds: the greater text
    first_seen: float = _seconds()
    pixel_sha256: str = _text(index=True)
    image_type: str = _text()
    status: str = _text()
    calib_level: int = CalibLevel.RAW
    profile: str = _text()
    profile_version: int = 0
    user: str | None = _maybe_text()
    telescope: str | None = _maybe_text()
    instrument: str | None = _maybe_text()
    detector: str | None = _maybe_text()
    exposure_id: str | None = _maybe_text()
    site: str | None = _maybe_text()
    site_longitude_deg: float | None = _maybe_number()
    target_name: str | None = _maybe_text()
    filter: str | None = _maybe_text()
    binning: str | None = _maybe_text()
    naxis1: int | None = None
    naxis2: int | None = None
    window: str | None = _maybe_text()
    overscan_section: str | None = _maybe_text()
    trim_section: str | None = _maybe_text()
    exposure_s: float | None = _maybe_number()
    set_temperature_c: float | None = _maybe_number()
    ccd_temperature_c: float | None = _maybe_number()
    gain: float | None = _maybe_number()
    offset: float | None = _maybe_number()
    readout_mode: str | None = _maybe_text()
    gain_e_per_adu: float | None = _maybe_number()
    read_noise_e: float | None = _maybe_number()
    saturation_adu: float | None = _maybe_number()
    pedestal_adu: float | None = _maybe_number()
    bunit: str | None = _maybe_text()
    pixel_scale_arcsec: float | None = _maybe_number()
    t_min: float | None = Field(default=None, sa_type=Double, nullable=True, index=True)
    t_max: float | None = _maybe_number()
    date_obs: str | None = _maybe_text()
    night: str | None = _maybe_text()
    night_rule: str | None = _maybe_text()
    s_ra: float | None = _maybe_number()
    s_dec: float | None = _maybe_number()
    has_wcs: bool = False
    airmass: float | None = _maybe_number()
    n_combined: int | None = None
    sequence_total: int | None = None
    calibration: list[str] = _json()
    bias_included: bool | None = None
    obs_id: str | None = _maybe_text()
    session_id: str | None = _maybe_text()
    product_id: str | None = _maybe_text()
    warnings: list[str] = _json()
    sources: dict[str, str] = _json()
    cards: list[Any] = _json()  # [keyword, value, comment] in the file's order, everything
    header: dict[str, Any] = Field(sa_type=indexed_json_column())  # keyword to its first value
    read_root: str | None = _maybe_text()  # the drop directory, and the path below it (an archive's member
    read_path: str | None = Field(default=None, sa_type=PathText, nullable=True)  # joined), whose name the values fit


class FileFrame(_Base, table=True):
    """Which frame lies in which HDU of which file."""

    __tablename__ = "file_frame"

    file: int = Field(primary_key=True, foreign_key="file.id", ondelete="CASCADE")
    hdu: int = Field(primary_key=True)
    frame: str = Field(foreign_key="frame.id", ondelete="CASCADE", sa_type=PlainText, index=True)


class Product(_Base, table=True):
    """A product that was made, whatever became of it."""

    # One product serves in a slot: the constraint, not the code, says so.
    __table_args__ = (
        Index("ix_product_camera", "camera", "subject"),
        Index(
            "uq_product_serving",
            "camera",
            "slot",
            unique=True,
            sqlite_where=text("status IN ('final', 'provisional')"),
            postgresql_where=text("status IN ('final', 'provisional')"),
        ),
    )

    id: str = _key()
    camera: str = _text()
    subject: str = _text()  # the observation or session it belongs to; "" for neither
    kind: str = _text(index=True)
    slot: str = _text(index=True)
    status: str = _text()
    path: str = Field(sa_type=PathText)
    sha256: str = _text()
    size: int = Field(sa_type=BigInteger)
    recipe: str = _text()
    recipe_version: int
    parameters: dict[str, Any] = _json()
    telescope: str | None = _maybe_text()
    instrument: str | None = _maybe_text()
    target_name: str | None = _maybe_text()
    filter: str | None = _maybe_text()
    night: str | None = _maybe_text(index=True)
    exposure_s: float | None = _maybe_number()
    calib_level: int
    observations: list[str] = _json()
    wcs: str = Field(default=str(Wcs.NONE), sa_type=PlainText)
    s_ra: float | None = _maybe_number()
    s_dec: float | None = _maybe_number()
    revision: int = 1  # the how-manieth product of its slot
    reason: str = _text()
    held: str = _text()  # why it is to be approved before it may serve, as judged when it was made
    warnings: list[str] = _json()
    environment: dict[str, str] = _json()
    extra_files: list[Any] = _json()  # {path, sha256, size} of the files beside the main one
    published: float = _seconds()


class ProductInput(_Base, table=True):
    """Lineage: what a product was made from, and the bytes that were read."""

    __tablename__ = "product_input"

    product: str = Field(primary_key=True, foreign_key="product.id", ondelete="CASCADE", sa_type=PlainText)
    position: int = Field(primary_key=True)
    role: str = _text()
    id: str = _text(index=True)
    origin: str = _text()
    sha256: str = _text()


class Metric(_Base, table=True):
    """A figure measured on a product: ``number`` for comparisons, ``value`` as JSON where it is no float."""

    subject: str = _key()
    name: str = _key()
    number: float | None = _maybe_number()
    value: str | None = _maybe_text()


class Job(_Base, table=True):
    """A product to be made (``id`` is its id), or one that cannot be made yet (state "blocked")."""

    __table_args__ = (Index(None, "state", "priority", "id"), Index("ix_job_camera", "camera", "subject"))

    id: str = _key()
    camera: str = _text()
    subject: str = _text()
    kind: str = _text()
    state: str = _text()
    slot: str = _text()
    reason: str = _text()
    priority: int = 0
    attempts: int = 0
    wanted: bool = True  # false: under way although the plan dropped it
    spec: dict[str, Any] | None = Field(default=None, sa_type=json_column(), nullable=True)
    digest: str = _text()  # of spec and reason: equal means there is nothing to write
    token: str | None = _maybe_text(index=True)
    owner: str | None = _maybe_text()
    leased_until: float | None = _maybe_number()
    not_before: float | None = _maybe_number()
    telescope: str | None = _maybe_text()
    instrument: str | None = _maybe_text()
    target_name: str | None = _maybe_text()
    filter: str | None = _maybe_text()
    night: str | None = _maybe_text()


class JobInput(_Base, table=True):
    """What a job waits for or reads."""

    __tablename__ = "job_input"

    job: str = Field(primary_key=True, foreign_key="job.id", ondelete="CASCADE", sa_type=PlainText)
    position: int = Field(primary_key=True)
    role: str = _text()
    id: str = _text(index=True)
    origin: str = _text()


class Attempt(_Base, table=True):
    """One try at a job; ``outcome`` is done, failed, interrupted (may be tried again), released or lost."""

    job: str = Field(primary_key=True, foreign_key="job.id", ondelete="CASCADE", sa_type=PlainText)
    number: int = Field(primary_key=True)
    token: str = _text()
    owner: str = _text()
    started: float = _seconds()
    ended: float | None = _maybe_number()
    outcome: str | None = _maybe_text()
    error: str = _text()


class Flag(_Base, table=True):
    """What an observer said of a frame or product: rejected, approved, or a note. Withdrawn, never deleted."""

    __table_args__ = (
        Index(
            "uq_flag_approved",
            "subject",
            unique=True,
            sqlite_where=text("active AND kind = 'approve'"),
            postgresql_where=text("active AND kind = 'approve'"),
        ),
        Index(
            "uq_flag_rejected",
            "subject",
            unique=True,
            sqlite_where=text("active AND kind = 'reject'"),
            postgresql_where=text("active AND kind = 'reject'"),
        ),
    )

    id: int | None = Field(default=None, primary_key=True)
    subject: str = _text(index=True)
    kind: str = _text()
    who: str = _text()
    flagged_at: float = _seconds()
    reason: str = _text()
    valid_from: float | None = _maybe_number()  # of an approved master: MJD UTC, None for no limit
    valid_until: float | None = _maybe_number()
    active: bool = True
    withdrawn_by: str | None = _maybe_text()
    withdrawn_at: float | None = _maybe_number()
    withdrawn_reason: str | None = _maybe_text()


class Correction(_Base, table=True):
    """A value of a frame as an observer says it should be. Withdrawn, never deleted; the header's cards stay."""

    __table_args__ = (
        Index(
            "uq_correction_active",
            "frame",
            "name",
            unique=True,
            sqlite_where=text("active"),
            postgresql_where=text("active"),
        ),
    )

    id: int | None = Field(default=None, primary_key=True)
    frame: str = Field(foreign_key="frame.id", ondelete="CASCADE", sa_type=PlainText, index=True)
    name: str = _text()
    value: Any = Field(default=None, sa_type=json_column(), nullable=True)  # None: not known
    before: Any = Field(default=None, sa_type=json_column(), nullable=True)  # what it replaced
    who: str = _text()
    corrected_at: float = _seconds()
    reason: str = _text()
    active: bool = True
    withdrawn_by: str | None = _maybe_text()
    withdrawn_at: float | None = _maybe_number()
    withdrawn_reason: str | None = _maybe_text()


class Outdated(_Base, table=True):
    """The frames whose cards are to be translated again."""

    frame: str = Field(primary_key=True, foreign_key="frame.id", ondelete="CASCADE", sa_type=PlainText)


class Translation(_Base, table=True):
    """By which profiles the frames of a drop directory were translated last: name to digest."""

    root: str = _key()
    digests: dict[str, str] = _json()


class ClosureRow(_Base, table=True):
    """An observation or calibration session declared complete; the highest revision holds."""

    __tablename__ = "closure"

    subject: str = _key()
    revision: int = Field(primary_key=True)
    members: list[str] = _json()
    rule: str = _text()
    closed_at: float = _seconds()


class Touched(_Base, table=True):
    """The groups whose members changed since they were last closed; ``version`` counts the changes."""

    subject: str = _key()
    version: int = 1


class Unplanned(_Base, table=True):
    """The observations and sessions whose facts changed since they were planned; ``version`` counts the changes.

    Subject "" stands for the frames of no group, "*" for all that a camera has.
    """

    camera: str = _key()
    subject: str = _key()
    version: int = 1


class CandidateRow(_Base, table=True):
    """A master that may serve, or the stars of a solved frame, as the plan of its group left it: `avcd.frame.Candidate`."""

    __tablename__ = "candidate"
    __table_args__ = (Index("ix_candidate_camera", "camera", "kind"),)

    id: str = _key()
    camera: str = _text()
    subject: str = _text()
    kind: str = _text()  # bias, dark, flat; astrometry: stars of a solved frame
    origin: str = _text()
    like: dict[str, Any] = _json()  # the settings it stands for
    bias_included: bool | None = None
    n_combined: int | None = None
    mask: str | None = _maybe_text()  # the bad pixel mask made from a dark
    valid_from: float | None = _maybe_number()
    valid_until: float | None = _maybe_number()


class Association(_Base, table=True):
    """What was chosen for a science frame, or for a session of darks or flats (``id`` is then its subject)."""

    __table_args__ = (
        Index("ix_association_camera", "camera", "t_min"),
        Index("ix_association_subject", "subject"),
        Index(
            "ix_association_missing",
            "camera",
            "night",
            sqlite_where=text("missing IS NOT NULL"),
            postgresql_where=text("missing IS NOT NULL"),
        ),
    )

    id: str = _key()
    camera: str = _text()
    subject: str = _text()
    t_min: float | None = _maybe_number()
    night: str | None = _maybe_text()
    bias: str | None = _maybe_text()
    bias_days: float | None = _maybe_number()  # between the frame and what was chosen
    dark: str | None = _maybe_text()
    dark_days: float | None = _maybe_number()
    flat: str | None = _maybe_text()
    flat_days: float | None = _maybe_number()
    best: bool = True  # what was chosen is of the best tier of its kind, so that only a nearer one could replace it
    missing: dict[str, str] | None = Field(default=None, sa_type=json_column(), nullable=True)  # kind to reason


def _table(model: type[SQLModel]) -> Table:
    table = model.__table__  # type: ignore[attr-defined]
    assert isinstance(table, Table)
    return table


files = _table(File)
cameras = _table(Camera)
frames = _table(FrameRow)
file_frames = _table(FileFrame)
products = _table(Product)
product_inputs = _table(ProductInput)
metrics = _table(Metric)
jobs = _table(Job)
job_inputs = _table(JobInput)
attempts = _table(Attempt)
flags = _table(Flag)
corrections = _table(Correction)
outdated = _table(Outdated)
translations = _table(Translation)
closures = _table(ClosureRow)
touched = _table(Touched)
unplanned = _table(Unplanned)
candidates = _table(CandidateRow)
associations = _table(Association)
