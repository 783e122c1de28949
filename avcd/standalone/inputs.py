"""Files that are named on the command line, opened: what is in them, their identity, their pixels."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from avcd.association import Rules, load_rules, trimmed
from avcd.cards import read_noise_of
from avcd.errors import FrameError, ProductError
from avcd.frame import FileReading, Frame, FrameStatus, ImageType, InputRef, ProductKind, ProductSpec, ProductStatus
from avcd.headers.pixels import ONE_AT_A_TIME, read_pixels
from avcd.headers.profiles import Profiles
from avcd.naming import stem_of
from avcd.products import ImageContent, read_image_product, verify_fits
from avcd.reduction.planes import MaskedImage
from avcd.standalone.ahead import read_near
from avcd.work import JobInput

_MADE = {str(one): one for one in ProductKind}


@functools.cache
def shipped_rules() -> Rules:
    """The rules of commands on files, which know no home."""
    return load_rules()


@dataclass(frozen=True)
class Made:
    """What one of avcd's products says of itself; ``spec`` None: a command on files made it, not a recipe."""

    id: str
    unit: str
    spec: ProductSpec | None
    read_noise_adu: float | None


@dataclass(frozen=True)
class FrameFile:
    """One image of a file: a frame as it was taken or delivered, or one of avcd's own products."""

    path: Path
    member: str
    hdu: int
    sha256: str  # of a product's file; "" of any other, whose pixels' stands in its frame
    frame: Frame
    alone: bool = True  # the only image of its file
    product: Made | None = None  # what it says of itself as one of avcd's products

    @property
    def id(self) -> str:
        """What identities are hashed from: a frame's id, or a product's."""
        return self.product.id if self.product else self.frame.id

    @property
    def name(self) -> str:
        """For people: the path, and where in the file it is."""
        place = f"{self.path}/{self.member}" if self.member else str(self.path)
        return place if self.alone else f"{place}[{self.hdu}]"

    @property
    def stem(self) -> str:
        """What an output made of this alone is called, without suffix."""
        name = stem_of(PurePosixPath(self.member or self.path.name).name)
        return name if self.alone else f"{name}-{self.hdu}"

    @property
    def unit(self) -> str:
        """Of the pixels."""
        if self.product:
            return self.product.unit
        return "electron" if (self.frame.bunit or "").lower().startswith("e") else "adu"

    def read(self) -> MaskedImage:
        """Pixels in physical values with header; mask plane, uncertainty and world coordinates of avcd's products."""
        if self.product:
            return read_image_product(self.path).to_image()
        data, header = read_pixels(self.path, self.member, self.hdu)
        return MaskedImage(data, self.unit, header=header)

    def with_values(self, **values: object) -> FrameFile:
        """The same file, with values of its frame that the observer gave."""
        known = {name: value for name, value in values.items() if value is not None}
        return replace(self, frame=replace(self.frame, **known)) if known else self  # type: ignore[arg-type]

    def trimmed(self) -> FrameFile:
        """The same file, its frame as it is once its overscan was subtracted and cut off."""
        return self if self.product else replace(self, frame=trimmed(self.frame, shipped_rules()))

    def as_raw(self, role: str = "raw") -> JobInput:
        """As a stage's input that is a frame, raw or prepared by another command."""
        return JobInput(
            role=role,
            id=self.id,
            origin="product" if self.product else "frame",
            root="files",
            relative_path=self.path.as_posix(),
            member=self.member,
            hdu=self.hdu,
            sha256=self.sha256,
            frame=self.frame,
        )

    def as_master(self, role: str) -> JobInput:
        """As a stage's input that is a master or a bad pixel mask, delivered or made by avcd."""
        if self.product is None or self.product.spec is None:
            return self.as_raw(role)
        noise = self.product.read_noise_adu
        return JobInput(
            role=role,
            id=self.id,
            origin="product",
            root="files",
            relative_path=self.path.as_posix(),
            sha256=self.sha256,
            spec=self.product.spec,
            metrics={} if noise is None else {"read_noise_adu": noise},
        )

    @property
    def bias_removed(self) -> bool | None:
        """Of a dark: whether its bias was taken from it; None where it does not say."""
        spec = self.product.spec if self.product else None
        if spec is not None and spec.kind is ProductKind.MASTER_DARK:
            return any(one.role == "bias" for one in spec.inputs)
        return None if self.frame.bias_included is None else not self.frame.bias_included


def open_files(path: Path, profiles: Profiles, reading: FileReading | None = None) -> list[FrameFile]:
    """The images of a file: FITS, also compressed or in an archive.

    Parameters
    ----------
    path
        As it was named.
    profiles
        How headers are read.
    reading
        What is in it, where it was read already.

    Raises
    ------
    FrameError, ProductError
        There is none, or something in it cannot be read; the message says why, and what to do.
    """
    if path.is_dir():
        raise FrameError("a directory; name the files in it, as in DIR/*.fits")
    reading = reading or read_near(path, profiles)
    bad = [one for one in reading.members if one.status is FrameStatus.UNREADABLE]
    if bad:
        raise FrameError(f"{bad[0].member}: {bad[0].reason}" if bad[0].member else bad[0].reason)
    found = [(member, number, frame) for member in reading.members for number, frame in member.frames]
    images = [one for one in found if one[2].naxis1 and one[2].image_type is not ImageType.TABLE]
    if not images:
        raise FrameError(reading.members[0].reason or "there is no image of two dimensions in it")
    files = []
    for member, number, frame in images:
        made, sha256 = _made(path, member.member) if frame.product_id else (None, "")
        alone = len(images) == 1 or (len(member.frames) == 1 and bool(member.member))
        files.append(FrameFile(path, member.member, number, sha256, frame, alone, made))
    return files


def _made(path: Path, member: str) -> tuple[Made, str]:
    """One of avcd's products, checked, and the SHA-256 of its file."""
    name = path.name.lower()
    if member or name.endswith((".fz", ".zip")):
        raise FrameError("it is one of avcd's products; unpack it first, so that its mask and uncertainty can be read")
    try:
        packed = name.endswith((".gz", ".bz2"))  # which bring sums of their own
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest() if packed else verify_fits(path)
        with ONE_AT_A_TIME:
            content = read_image_product(path, pixels=False)
    except ProductError as error:
        raise ProductError(
            f"it says that avcd made it (AVCDID), but it was changed since: {error}; "
            "take the original, or remove that card to use it as any other file"
        ) from None
    made = Made(str(content.header["AVCDID"]), content.unit, _spec_of(content), read_noise_of(content.header))
    return made, sha256


def _spec_of(content: ImageContent) -> ProductSpec | None:
    """What a product of the daemon's kinds says about itself; None for those of other commands."""
    header = content.header
    kind = _MADE.get(str(header.get("AVCDKIND", "")))
    if kind is None:
        return None
    recipe, _, version = str(header.get("AVCDRCP", "")).partition(" ")
    inputs = tuple(InputRef(row["role"], row["id"], "frame") for row in content.provenance)
    exposure = header.get("EXPTIME")
    return ProductSpec(
        id=str(header["AVCDID"]),
        kind=kind,
        slot="",
        recipe=recipe,
        recipe_version=int(version or 1),
        parameters=content.parameters,
        inputs=inputs,
        status=ProductStatus.FINAL,
        path="",
        exposure_s=float(exposure) if isinstance(exposure, (int, float)) else None,
    )
