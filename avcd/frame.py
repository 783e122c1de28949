"""The vocabulary: what frames, products, jobs and verdicts are. No input or output here.

Times are UTC. Positions are ICRS degrees. A value that a header lacks is None: unknown, never a default.
Names follow ObsCore where it has one.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntFlag, StrEnum
from typing import Any, NamedTuple


class ImageType(StrEnum):
    """What an exposure is for."""

    SCIENCE = "science"
    BIAS = "bias"
    DARK = "dark"
    FLAT = "flat"
    DARK_FLAT = "dark_flat"
    MASTER_BIAS = "master_bias"
    MASTER_DARK = "master_dark"
    MASTER_FLAT = "master_flat"
    BAD_PIXEL_MASK = "bad_pixel_mask"
    CUBE = "cube"
    SPECTRUM = "spectrum"
    TABLE = "table"
    UNKNOWN = "unknown"

    @property
    def is_master(self) -> bool:
        """Whether this is a combined calibration, delivered or built."""
        return self in _MASTERS

    @property
    def is_raw_calibration(self) -> bool:
        """Whether frames of this type are combined into masters."""
        return self in _RAW_CALIBRATIONS

    @property
    def is_picture(self) -> bool:
        """Whether this may be shown: an image of the sky or of a lamp."""
        return self not in _NO_PICTURES


_MASTERS = frozenset({ImageType.MASTER_BIAS, ImageType.MASTER_DARK, ImageType.MASTER_FLAT, ImageType.BAD_PIXEL_MASK})
_NO_PICTURES = frozenset(
    {ImageType.BAD_PIXEL_MASK, ImageType.CUBE, ImageType.SPECTRUM, ImageType.TABLE, ImageType.UNKNOWN}
)
_RAW_CALIBRATIONS = frozenset({ImageType.BIAS, ImageType.DARK, ImageType.FLAT, ImageType.DARK_FLAT})


class FrameStatus(StrEnum):
    """Whether a frame, or the file that should hold one, is usable."""

    OK = "ok"
    UNREADABLE = "unreadable"
    IGNORED = "ignored"


class CalibLevel:
    """ObsCore's calibration levels, as far as avcd uses them."""

    RAW = 1
    CALIBRATED = 2
    COMBINED = 3


class ProductKind(StrEnum):
    """What avcd makes."""

    MASTER_BIAS = "master_bias"
    MASTER_DARK = "master_dark"
    MASTER_FLAT = "master_flat"
    BAD_PIXEL_MASK = "bad_pixel_mask"
    REDUCED = "reduced"
    SOURCES = "sources"
    STACK = "stack"
    MOSAIC = "mosaic"
    RGB = "rgb"
    PREVIEW = "preview"


MASTER_KINDS = (ProductKind.MASTER_BIAS, ProductKind.MASTER_DARK, ProductKind.MASTER_FLAT)


class ProductStatus(StrEnum):
    """The standing of a product in the archive."""

    FINAL = "final"
    PROVISIONAL = "provisional"
    HELD = "held"
    SUPERSEDED = "superseded"
    REJECTED = "rejected"


class JobState(StrEnum):
    """The life of a job: waiting for inputs, ready, running, then done or dead; blocked has no inputs to wait for."""

    WAITING = "waiting"
    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    BLOCKED = "blocked"
    DEAD = "dead"


class Wcs(StrEnum):
    """Where a product's world coordinates come from."""

    SOLVED = "solved"
    DELIVERED = "delivered"
    REFINED = "refined"
    REFUSED = "refused"
    NONE = "none"


class Outcome(StrEnum):
    """The outcome of one criterion, and of a whole verdict."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"


CORRECTION = "correction"  # the source of a value that an observer corrected begins so


class Card(NamedTuple):
    """One header card, in the file's order. COMMENT, HISTORY and blank cards carry their text in ``value``."""

    keyword: str
    value: str | int | float | bool | None
    comment: str = ""


@dataclass(frozen=True, slots=True)
class HeaderText:
    """A header as the catalogue keeps it, as JSON: every card in order, and the first value of each keyword."""

    cards: str
    values: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One exposure's image, identified by its content (``id``), never by its name.

    ``id`` is the SHA-256 over the decompressed pixels and over the header cards less the structural and checksum
    ones. ``gain`` and ``offset`` are the camera's settings as recorded (what must agree between a frame and its
    calibrations); ``gain_e_per_adu`` is the conversion, known or None. ``sources`` names the card or rule each
    value came from.
    """

    id: str
    pixel_sha256: str = ""
    image_type: ImageType = ImageType.UNKNOWN
    status: FrameStatus = FrameStatus.OK
    calib_level: int = CalibLevel.RAW
    profile: str = ""
    profile_version: int = 0
    user: str | None = None
    telescope: str | None = None
    instrument: str | None = None
    detector: str | None = None  # of a camera of several, whose images lie in one file
    exposure_id: str | None = None  # the first frame's id, for all frames of one exposure in one file
    site: str | None = None
    site_longitude_deg: float | None = None  # east positive; from the header or the site's profile
    target_name: str | None = None
    filter: str | None = None
    binning: str | None = None  # "2x2"
    naxis1: int | None = None
    naxis2: int | None = None
    window: str | None = None  # "x0,y0" of a subframe, binned pixels; "0,0" when recorded as none
    overscan_section: str | None = None  # "[x1:x2,y1:y2]", the frame's own pixels from 1; None: none, or not known
    trim_section: str | None = None  # the part to keep, in the same way; None: all of it
    exposure_s: float | None = None
    set_temperature_c: float | None = None
    ccd_temperature_c: float | None = None
    gain: float | None = None
    offset: float | None = None
    readout_mode: str | None = None
    gain_e_per_adu: float | None = None
    read_noise_e: float | None = None
    saturation_adu: float | None = None
    pedestal_adu: float | None = None
    bunit: str | None = None
    pixel_scale_arcsec: float | None = None
    t_min: float | None = None  # start of the exposure, MJD UTC
    t_max: float | None = None  # end of the exposure, MJD UTC
    date_obs: str | None = None  # t_min as ISO 8601
    night: str | None = None  # evening date, local noon to local noon at the site
    night_rule: str | None = None  # "site" or "utc"
    s_ra: float | None = None
    s_dec: float | None = None
    has_wcs: bool = False
    airmass: float | None = None
    n_combined: int | None = None
    sequence_total: int | None = None  # N of "M of N", where the header or the request says so
    calibration: frozenset[str] = (
        frozenset()
    )  # what was already applied: of "bias", "dark", "flat"; masters: "bias" = removed
    bias_included: bool | None = None  # master darks: the bias is still in it; None: not said
    obs_id: str | None = None  # observation of a science frame
    session_id: str | None = None  # calibration session of a raw calibration
    warnings: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    cards: tuple[Card, ...] = ()
    header_text: HeaderText | None = field(default=None, compare=False, repr=False)  # of ``cards``, where it was made
    product_id: str | None = None  # set when avcd's own product is found in a drop directory

    @property
    def corrected(self) -> Mapping[str, Any]:
        """The values that follow from an observer's corrections, by name."""
        names = sorted(name for name, source in self.sources.items() if source.startswith(CORRECTION))
        return {name: getattr(self, name) for name in names}

    @property
    def subject(self) -> str:
        """The observation or session a frame is planned with; "" for neither."""
        return self.obs_id or self.session_id or ""

    @property
    def camera(self) -> str:
        """The camera, or its one detector, a frame belongs to; frames of different cameras never meet."""
        detector = f"/{self.detector}" if self.detector else ""
        return f"{self.telescope or '?'}/{self.instrument or '?'}{detector}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberReading:
    """What was found in one file, or in one member of an archive (``member`` is "" for the file itself)."""

    member: str
    sha256: str | None
    size: int
    status: FrameStatus
    reason: str = ""
    frames: tuple[tuple[int, Frame], ...] = ()  # (HDU number, frame)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReading:
    """All that was found in one path below a root: the file itself first, then its members."""

    relative_path: str
    members: tuple[MemberReading, ...]


@dataclass(frozen=True, slots=True)
class Criterion:
    """One comparison of a candidate with what is wanted."""

    name: str
    wanted: str | float | None
    found: str | float | None
    tolerance: str | float | None
    outcome: Outcome
    note: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One candidate calibration judged for one frame. ``tier`` is the best tier all of whose criteria hold, else None."""

    candidate_id: str
    outcome: Outcome
    criteria: tuple[Criterion, ...]
    tier: str | None = None
    tier_rank: int | None = None
    relaxation: float = 0.0  # for a refusal: by how much its tolerances are exceeded, each as a part of itself, summed
    days: float | None = None


@dataclass(frozen=True, slots=True)
class Need:
    """What a frame needs of one kind, what was chosen, and every candidate with its verdict."""

    kind: str  # "bias", "dark", "flat", "bad_pixels"
    chosen: str | None
    tier: str | None
    candidates: tuple[Verdict, ...]
    relaxation: str = ""  # for a refusal: what would have matched, in words
    relax: tuple[Criterion, ...] = ()  # and as data: all that the nearest candidate misses, with the tolerance needed
    applied: str = ""  # what says that this was done before the frame was delivered: "card CALSTAT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A master that could serve: one that avcd builds (a product) or one that was delivered (a frame)."""

    id: str
    origin: str  # "product" or "frame"
    like: Frame  # the settings it stands for: a representative frame of its session, or the delivered frame itself
    bias_included: bool | None = None
    n_combined: int | None = None
    valid_from: float | None = None  # an observer says that it serves frames from this time on, MJD UTC
    valid_until: float | None = None  # … and before this one


LENDER = "astrometry"  # what a solved frame offers: its stars


@dataclass(frozen=True, slots=True)
class Master:
    """A candidate with its place in the plan; of kind LENDER, the source table of a solved frame."""

    kind: str  # "bias", "dark", "flat", or LENDER
    subject: str  # its session; "" for a delivered one
    candidate: Candidate
    mask: str | None = None  # the bad pixel mask that is made from a dark


@dataclass(frozen=True, slots=True, kw_only=True)
class Association:
    """What was chosen for one science frame, or for one session of darks or flats (``id`` is its subject then)."""

    id: str
    subject: str
    t_min: float | None
    night: str | None
    chosen: Mapping[str, tuple[str, float]] = field(default_factory=dict)  # kind to (id, days between)
    best: bool = True  # each is of the best tier of its kind: only one that is nearer in time could take its place
    missing: Mapping[str, str] = field(default_factory=dict)  # kind to reason


@dataclass(frozen=True, slots=True)
class InputRef:
    """One input of a product: ``origin`` is "frame" or "product"."""

    role: str
    id: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductSpec:
    """A product that should exist. ``id`` hashes the recipe and the inputs' ids, never output bytes.

    ``slot`` names the place a product fills in the archive (one frame's reduction, one observation's r stack);
    a new product in a slot supersedes the one before.
    """

    id: str
    kind: ProductKind
    slot: str
    recipe: str
    recipe_version: int
    parameters: Mapping[str, Any]
    inputs: tuple[InputRef, ...]
    status: ProductStatus  # FINAL or PROVISIONAL
    path: str  # below the archive, POSIX, without the host's part
    priority: int = 0  # lower runs first
    reason: str = ""
    telescope: str | None = None
    instrument: str | None = None
    target_name: str | None = None
    filter: str | None = None
    night: str | None = None
    exposure_s: float | None = None
    calib_level: int = CalibLevel.CALIBRATED
    observations: tuple[str, ...] = ()
    subject: str = ""  # the observation or session with which it is planned; "" for frames of no group


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """A product that should exist but cannot yet: the reasons, and the needs judged."""

    id: str
    kind: ProductKind
    slot: str
    reason: str
    telescope: str | None = None
    instrument: str | None = None
    target_name: str | None = None
    filter: str | None = None
    night: str | None = None
    inputs: tuple[InputRef, ...] = ()
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Closure:
    """An observation or calibration session declared complete: with which frames, by which rule."""

    subject: str  # obs_id or session_id
    members: tuple[str, ...]  # frame ids, sorted
    rule: str  # "explicit", "count", "quiet", "night", "idle"
    revision: int = 1


@dataclass(frozen=True, slots=True)
class ProductFact:
    """What the catalogue knows of a product that exists."""

    id: str
    kind: ProductKind
    slot: str
    status: ProductStatus
    wcs: Wcs = Wcs.NONE
    published: float = 0.0  # seconds since the epoch
    held: bool = False  # to be approved before it may serve


@dataclass(frozen=True, slots=True)
class Approval:
    """An observer's word that a master is good, and for which times (MJD UTC; None: no limit)."""

    valid_from: float | None = None
    valid_until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The catalogue's facts about one camera, or about some of its groups: all the planner may look at."""

    camera: str
    subjects: frozenset[str] | None = None  # the observations and sessions it is about ("": no group); None: all
    masters: tuple[Master, ...] = ()  # what the camera's other groups offer, as it was planned
    frames: tuple[Frame, ...] = ()
    rejected: frozenset[str] = frozenset()  # ids of frames and products that a flag rejects
    approved: Mapping[str, Approval] = field(default_factory=dict)  # ids of masters that an observer approved
    closures: Mapping[str, Closure] = field(default_factory=dict)
    products: Mapping[str, ProductFact] = field(default_factory=dict)
    dead: frozenset[str] = frozenset()  # ids of products whose jobs died


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What should exist for one camera, or for some of its groups."""

    camera: str
    specs: tuple[ProductSpec, ...] = ()
    blocked: tuple[Blocked, ...] = ()
    subjects: frozenset[str] | None = None  # those of its snapshot
    masters: tuple[Master, ...] = ()  # that may serve, of these subjects
    associations: tuple[Association, ...] = ()
    kept: frozenset[str] = frozenset()  # products that go on serving while their successors are held


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: the one spelling that ids are hashed from."""
    return _CANONICAL.encode(value)


class Parameters(dict[str, Any]):
    """Parameters that many products share and nothing changes any more: their JSON is written once."""

    @functools.cached_property
    def json(self) -> str:
        """As `canonical_json`."""
        return canonical_json(dict(self))


def parameters_json(parameters: Mapping[str, Any]) -> str:
    """`canonical_json` of a product's parameters."""
    return parameters.json if isinstance(parameters, Parameters) else canonical_json(dict(parameters))


def product_identity(
    kind: str, recipe: str, version: int, parameters: Mapping[str, Any], inputs: tuple[InputRef, ...]
) -> str:
    """The id of a product: SHA-256 of its recipe and of its inputs' ids, in hexadecimal.

    Parameters
    ----------
    kind, recipe, version, parameters
        The recipe; parameters are JSON values.
    inputs
        Order does not matter: they are sorted by role and id.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    head, tail = (
        canonical_json([kind, recipe, version])[:-1],
        canonical_json(sorted((one.role, one.id) for one in inputs)),
    )
    return hashlib.sha256(f"{head},{parameters_json(parameters)},{tail}]".encode()).hexdigest()


class MaskBit(IntFlag):
    """The bits of a product's MASK plane (uint16); a pixel with any bit set is not to be trusted."""

    HOT = 1  # too bright in the master dark
    DEAD = 2  # too little response in the master flat, or far too dark in the dark
    USER = 4  # named by the observer
    SATURATED = 8  # raw value at or above the saturation level
    COSMIC_RAY = 16  # struck; the value was replaced from its neighbours
    NO_DATA = 32  # no input contributed
    NON_FINITE = 64  # NaN or infinite in the input
    FEW_INPUTS = 128  # fewer than half of the inputs survived rejection
    RESPONSE = 256  # responds to light unlike the pixels around it, by the flats
    REPAIRED = 512  # bad, and replaced from its neighbours
