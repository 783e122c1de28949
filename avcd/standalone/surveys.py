"""HiPS of files that are named."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyavm import AVM
from pyavm.exceptions import NoXMPPacketFound

from avcd.compose.filters import wavelength_nm
from avcd.compose.hips import Sheet, order_of, write_hips
from avcd.errors import ProcessingError, UsageError
from avcd.frame import InputRef, ProductKind, ProductStatus, Wcs, product_identity
from avcd.stages.tiles import open_image
from avcd.standalone.inputs import FrameFile
from avcd.standalone.outputs import Done

PICTURES = (".png", ".jpg", ".jpeg")
_VERSION = 2
_IMAGES = (ProductKind.STACK, ProductKind.MOSAIC, ProductKind.REDUCED)
_SERVING = (ProductStatus.FINAL, ProductStatus.PROVISIONAL)
# Longest waves, nm, of what the standard calls so.
_REGIMES = (("X-ray", 10.0), ("UV", 320.0), ("Optical", 1000.0), ("Infrared", float("inf")))


@dataclass(frozen=True)
class Survey:
    """A HiPS to be made: of FITS ``files`` or of ``pictures``, in ``directory``."""

    files: Sequence[FrameFile]
    pictures: Sequence[Path]
    directory: Path
    frame: str
    order: int | None
    title: str
    dates: Sequence[str] = ()  # of the pictures, as far as they are known

    @property
    def identity(self) -> str:
        """The hash of what it is made of, and how."""
        inputs = [("image", one.id) for one in self.files]
        inputs += [("image", hashlib.sha256(one.read_bytes()).hexdigest()) for one in self.pictures]
        refs = tuple(InputRef(f"{role} {number}", one, "frame") for number, (role, one) in enumerate(inputs))
        parameters = {"frame": self.frame, "order": self.order, "title": self.title}
        return product_identity("file_hips", "hips", _VERSION, parameters, refs)


@dataclass(frozen=True)
class Chosen:
    """Products of a catalogue for a survey: their files, their dates, and what is to be told of those that were left out."""

    paths: Sequence[Path]
    dates: Sequence[str]
    notes: Sequence[str]


def choose_products(rows: Iterable[Mapping[str, Any]], archive: Path) -> Chosen:
    """Those products that serve now and know their place on the sky; of a mosaic and the stacks that it is made of the mosaic alone.

    Parameters
    ----------
    rows
        Of the catalogue's list of products.
    archive
        Where their files are.

    Raises
    ------
    UsageError
        Pictures are among images, or products that are neither.
    """
    found = [one for one in rows if one["status"] in _SERVING]
    wrong = sorted({one["kind"] for one in found} - {*_IMAGES, ProductKind.RGB})
    if wrong:
        raise UsageError(f"--type: a survey is made of {', '.join(_IMAGES)} or of rgb, not of {', '.join(wrong)}")
    if len({one["kind"] == ProductKind.RGB for one in found}) > 1:
        raise UsageError("--type: name images or rgb, not both: their tiles are of different kinds")
    placed = [one for one in found if _is_placed(one, archive)]
    joined = {ref["id"] for one in placed if one["kind"] == ProductKind.MOSAIC for ref in one["inputs"]}
    kept = [one for one in placed if one["id"] not in joined]
    notes = []
    if len(placed) < len(found):
        notes.append(f"{len(found) - len(placed)} products are not solved: left out")
    if len(kept) < len(placed):
        notes.append(f"{len(placed) - len(kept)} stacks are in mosaics: left out")
    paths = [archive / one["path"] for one in kept]
    return Chosen(paths, [f"{one['night']}T00:00" for one in kept if one["night"]], notes)


def _is_placed(row: Mapping[str, Any], archive: Path) -> bool:
    """Whether a product knows its place on the sky; a picture's is in its file alone."""
    if row["kind"] != ProductKind.RGB:
        return row["wcs"] not in (None, Wcs.NONE, Wcs.REFUSED)
    try:
        return bool(_picture(archive / row["path"]))
    except ProcessingError:
        return False


def make_survey(survey: Survey, *, force: bool) -> tuple[Done, list[str]]:
    """Make a HiPS, unless this very one is there; the directory appears whole or not at all.

    Raises
    ------
    UsageError
        Something else is there.
    ProcessingError
        An image does not say where on the sky it is.
    """
    target, identity = survey.directory, survey.identity
    if target.exists():
        known = _said(target)
        if known.get("avcd_id") == identity and not force:
            return Done.ALREADY, []
        if "avcd_id" not in known and not (force and "hips_order" in known):
            raise UsageError(f"-o {target} is there and no HiPS that avcd made; name another directory")
    with tempfile.TemporaryDirectory(prefix="avcd-") as spool:
        sheets = [*(_sheet(one, Path(spool)) for one in survey.files), *map(_picture, survey.pictures)]
        fresh = target.with_name(f".{target.name}.{identity[:12]}")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(fresh, ignore_errors=True)
        about = {**_about(survey), "creator_did": f"ivo://avcd/P/{identity[:16]}", "avcd_id": identity}
        count = write_hips(sheets, fresh, frame=survey.frame, order=survey.order, about=about)
    if target.exists():
        shutil.rmtree(target)
    fresh.rename(target)
    order = order_of(sheets) if survey.order is None else survey.order
    filters = sorted({one.frame.filter or "unknown" for one in survey.files})
    mixed = [f"it is made of several filters, averaged where they overlap: {', '.join(filters)}"] if filters[1:] else []
    return Done.MADE, [*mixed, f"{count} tiles up to order {order}; open {target}/index.html, or {target} in Aladin"]


def _said(directory: Path) -> dict[str, str]:
    try:
        lines = (directory / "properties").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return {}
    parts = (line.partition("=") for line in lines)
    return {name.strip(): value.strip() for name, _, value in parts}


def _about(survey: Survey) -> dict[str, str]:
    """What the images say: their dates, and in which part of the spectrum they were taken.

    The release is the youngest image's begin, so that the same images make the same survey; of images without a date it is now.
    """
    frames = [one.frame for one in survey.files]
    dates = sorted(one.date_obs for one in frames if one.date_obs) or sorted(survey.dates)
    release = f"{dates[-1][:16]}Z" if dates else datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ")
    found = {"obs_title": survey.title, "hips_release_date": release, "hips_creation_date": release}
    times = [one.t_min for one in frames if one.t_min is not None]
    if times:
        ends = [one.t_min + (one.exposure_s or 0.0) / 86400 for one in frames if one.t_min is not None]
        found |= {"t_min": f"{min(times):.6f}", "t_max": f"{max(ends):.6f}"}
    waves = [wavelength_nm(one.filter) for one in frames if one.filter]
    known = [one for one in waves if one is not None]
    if known and len(known) == len(frames):
        regimes = {next(name for name, longest in _REGIMES if one <= longest) for one in known}
        found["obs_regime"] = " ".join(name for name, _ in _REGIMES if name in regimes)
    return found


def _sheet(file: FrameFile, spool: Path) -> Sheet:
    image = open_image(file.path, file.member, file.hdu, spool, product=file.product is not None)
    if image.wcs is None:
        raise ProcessingError(f"{file.name} has no world coordinates; solve it first, as avcd reduce --solve does")
    return Sheet(image.wcs, image.data, image.mask)


def _picture(path: Path) -> Sheet:
    try:
        wcs = AVM.from_image(str(path)).to_wcs()
    except (NoXMPPacketFound, AttributeError, ValueError, OSError):
        raise ProcessingError(
            f"{path} does not say where on the sky it is; avcd rgb writes pictures that do, of images that are solved"
        ) from None
    return Sheet(wcs, picture=path)
