"""Facts for catalogue tests: frames, readings and plans, made by hand."""

from __future__ import annotations

import hashlib

from avcd.catalog import Catalog
from avcd.catalog.types import given_path
from avcd.frame import (
    Blocked,
    Card,
    FileReading,
    Frame,
    FrameStatus,
    ImageType,
    InputRef,
    MemberReading,
    Plan,
    ProductKind,
    ProductSpec,
    ProductStatus,
    product_identity,
)
from avcd.work import Published, PublishedFile

CAMERA = "T20/CCD"
OBSERVATION = "t20/2026-01-15/m42"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def make_frame(name: str, **changes) -> Frame:
    values = {
        "id": digest(name),
        "pixel_sha256": digest("pixels " + name),
        "image_type": ImageType.SCIENCE,
        "profile": "generic",
        "profile_version": 1,
        "telescope": "T20",
        "instrument": "CCD",
        "target_name": "M 42",
        "filter": "Red",
        "binning": "1x1",
        "naxis1": 64,
        "naxis2": 48,
        "exposure_s": 60.0,
        "t_min": 61055.9,
        "date_obs": "2026-01-15T21:36:00",
        "night": "2026-01-15",
        "night_rule": "utc",
        "obs_id": OBSERVATION,
        "sources": {"exposure_s": "card EXPTIME"},
        "cards": (Card("EXPTIME", 60.0, "[s]"), Card("COMMENT", "one"), Card("COMMENT", "two"), Card("EXPTIME", 61.0)),
    }
    if changes.get("image_type", ImageType.SCIENCE) is not ImageType.SCIENCE:
        values |= {"obs_id": None, "session_id": f"t20/2026-01-15/{changes['image_type']}/abc"}
    return Frame(**{**values, **changes})


def make_reading(path: str, *frames: Frame, sha256: str | None = None, member: str = "") -> FileReading:
    content = MemberReading(
        member=member,
        sha256=sha256 or digest("bytes " + path),
        size=2880,
        status=FrameStatus.OK,
        frames=tuple(enumerate(frames)),
    )
    if not member:
        return FileReading(relative_path=path, members=(content,))
    container = MemberReading(member="", sha256=digest("zip " + path), size=999, status=FrameStatus.OK)
    return FileReading(relative_path=path, members=(container, content))


def record(catalog: Catalog, *frames: Frame, now: float = 1000.0) -> None:
    """Every frame in a file of its own, named by the first letters of its id."""
    for frame in frames:
        catalog.record_reading("drop", make_reading(f"{frame.id[:8]}.fits", frame), 2880, 1, now)


def make_spec(kind: ProductKind, slot: str, *inputs: InputRef, **changes) -> ProductSpec:
    parameters = changes.pop("parameters", {"sigma": 5.0})
    identity = product_identity(kind, str(kind), 1, parameters, inputs)
    values = {
        "id": identity,
        "kind": kind,
        "slot": slot,
        "recipe": str(kind),
        "recipe_version": 1,
        "parameters": parameters,
        "inputs": inputs,
        "status": ProductStatus.FINAL,
        "path": f"t20/{kind}/{identity[:12]}.fits",
        "telescope": "T20",
        "instrument": "CCD",
        "target_name": "M 42",
        "filter": "Red",
        "night": "2026-01-15",
        "exposure_s": 60.0,
        "observations": (OBSERVATION,),
    }
    return ProductSpec(**{**values, **changes})


def of_frame(frame: Frame, role: str = "raw") -> InputRef:
    return InputRef(role, frame.id, "frame")


def of_product(spec: ProductSpec, role: str = "reduced") -> InputRef:
    return InputRef(role, spec.id, "product")


def make_plan(*specs: ProductSpec, blocked: tuple[Blocked, ...] = ()) -> Plan:
    return Plan(camera=CAMERA, specs=specs, blocked=blocked)


def apply(catalog: Catalog, *specs: ProductSpec, blocked: tuple[Blocked, ...] = (), digest: str = "d"):
    return catalog.apply_plan(make_plan(*specs, blocked=blocked), digest, catalog.unplanned(CAMERA, digest))


def published(spec: ProductSpec, **changes) -> Published:
    return Published(files=(PublishedFile(spec.path, digest("file " + spec.id), 5760),), **changes)


def run(catalog: Catalog, now: float = 2000.0, **changes) -> list[str]:
    """Do every job that can be done; returns the slots in the order they were done."""
    done = []
    while (claim := catalog.claim_job("me", 60, now)) is not None:
        catalog.finish_job(claim, published(claim.spec, **changes), now)
        done.append(claim.spec.slot)
    return done


def statuses(catalog: Catalog) -> dict[str, str]:
    return {row["id"]: row["status"] for row in catalog.products()}


def states(catalog: Catalog) -> dict[str, str]:
    return {row["id"]: row["state"] for row in catalog.jobs()}


def known_files(catalog: Catalog, root: str) -> dict[str, tuple[int, int]]:
    """Every path that is there, as last read: relative path to (size [bytes], mtime [ns])."""
    return {given_path(one[0]): (one[1], one[2]) for one in catalog.recorded(root) if one[4]}


def absent_files(catalog: Catalog, root: str) -> dict[str, tuple[int, int]]:
    """Every path that was there once and is not now, as `known_files`."""
    return {given_path(one[0]): (one[1], one[2]) for one in catalog.recorded(root) if not one[4]}
