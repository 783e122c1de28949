"""HiPS of files that are named."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pyavm import AVM
from pyavm.exceptions import NoXMPPacketFound

from avcd.compose.hips import Sheet, order_of, write_hips
from avcd.errors import ProcessingError, UsageError
from avcd.frame import InputRef, product_identity
from avcd.products import celestial_wcs
from avcd.standalone.inputs import FrameFile
from avcd.standalone.outputs import Done

PICTURES = (".png", ".jpg", ".jpeg")
_VERSION = 1


@dataclass(frozen=True)
class Survey:
    """A HiPS to be made: of FITS ``files`` or of ``pictures``, in ``directory``."""

    files: Sequence[FrameFile]
    pictures: Sequence[Path]
    directory: Path
    frame: str
    order: int | None
    title: str

    @property
    def identity(self) -> str:
        """The hash of what it is made of, and how."""
        inputs = [("image", one.id) for one in self.files]
        inputs += [("image", hashlib.sha256(one.read_bytes()).hexdigest()) for one in self.pictures]
        refs = tuple(InputRef(f"{role} {number}", one, "frame") for number, (role, one) in enumerate(inputs))
        parameters = {"frame": self.frame, "order": self.order, "title": self.title}
        return product_identity("file_hips", "hips", _VERSION, parameters, refs)


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
    sheets = [*map(_sheet, survey.files), *map(_picture, survey.pictures)]
    about = {"obs_title": survey.title, "creator_did": f"ivo://avcd/P/{identity[:16]}", "avcd_id": identity}
    dates = sorted(date for one in survey.files if (date := one.frame.date_obs))
    if dates:  # of the youngest image: the tiles' own date would differ from making to making
        about["hips_release_date"] = f"{dates[-1][:16]}Z"
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{identity[:12]}")
    shutil.rmtree(fresh, ignore_errors=True)
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


def _sheet(file: FrameFile) -> Sheet:
    ccd = file.read()
    wcs = ccd.wcs or celestial_wcs(ccd.header)
    if wcs is None:
        raise ProcessingError(f"{file.name} has no world coordinates; solve it first, as avcd reduce --solve does")
    return Sheet(wcs, np.asarray(ccd.data), None if ccd.mask is None else np.asarray(ccd.mask))


def _picture(path: Path) -> Sheet:
    try:
        wcs = AVM.from_image(str(path)).to_wcs()
    except (NoXMPPacketFound, AttributeError, ValueError, OSError):
        raise ProcessingError(
            f"{path} does not say where on the sky it is; avcd rgb writes pictures that do, of images that are solved"
        ) from None
    return Sheet(wcs, picture=path)
