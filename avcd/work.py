"""What passes between the catalogue, the runner and the stages: jobs with their inputs, results, and open groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from avcd.frame import Closure, Frame, ProductSpec, Wcs


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInput:
    """One input of a job, resolved to bytes on this host.

    For frames: ``root`` is a drop's logical name, ``member`` the archive member ("" for none), ``hdu`` the HDU, and
    ``frame`` the catalogue's values. For products: ``root`` is "archive" and ``product`` the row of the product.
    """

    role: str
    id: str
    origin: str
    root: str
    relative_path: str
    member: str = ""
    hdu: int = 0
    sha256: str = ""
    frame: Frame | None = None
    spec: ProductSpec | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    wcs: Wcs = Wcs.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A job that one worker owns until its lease ends; ``token`` fences everything it writes."""

    job_id: str
    token: str
    attempt: int
    spec: ProductSpec
    inputs: tuple[JobInput, ...]
    predecessor: JobInput | None = None  # the provisional product in a final one's place; it shapes no bytes
    previous: Mapping[str, Any] | None = None  # what was measured on the master before this one


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """One file of a product, below the archive."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a finished job leaves: the files that are in place, and what was measured."""

    files: tuple[PublishedFile, ...]  # the main file first
    metrics: Mapping[str, float | int | str | bool | None] = field(default_factory=dict)
    wcs: Wcs = Wcs.NONE
    warnings: tuple[str, ...] = ()
    s_ra: float | None = None
    s_dec: float | None = None
    input_metrics: Mapping[str, Mapping[str, float | int | str | bool | None]] = field(default_factory=dict)  # by id
    environment: Mapping[str, str] = field(default_factory=dict)  # package versions the byte promise holds for


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """An observation or a calibration session with its members, as the completion rules see it."""

    subject: str
    is_observation: bool
    members: tuple[str, ...]  # frame ids, sorted
    night: str | None
    night_rule: str | None
    newest_arrival: float  # [s] since the epoch: when the newest member was first catalogued
    longest_exposure_s: float
    cadence_s: float  # median time between exposure starts; 0 for one frame
    sequence_total: int | None
    roots: tuple[tuple[str, str], ...] = ()  # (root, relative directory) of the members' files
    site_longitude_deg: float | None = None
    closure: Closure | None = None
