"""Frames translated again from the cards that the catalogue holds: their files are not needed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from avcd import __version__
from avcd.errors import HeaderError
from avcd.frame import Card, Frame, canonical_json
from avcd.headers.corrections import Correction, translate_corrected
from avcd.headers.gathering import Hdu
from avcd.headers.profiles import Profiles
from avcd.headers.translation import translate

_MOST_AXES = 999  # the standard's limit


@dataclass(frozen=True)
class Translator:
    """How the frames of a home are translated.

    Attributes
    ----------
    profiles
        Of the home.
    drops
        Name of each drop directory to the profile and site that it is set to, None where they are recognised.
    """

    profiles: Profiles
    drops: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)

    def translate(self, hdu: Hdu, root: str, path: str) -> Frame:
        """A frame as its header and name say it is.

        Raises
        ------
        HeaderError
            The header is not understood.
        ConfigError
            The drop directory's profile or site does not exist.
        """
        profile, site = self.drops.get(root, (None, None))
        try:
            return translate(hdu, path, "", self.profiles, profile=profile, site=site)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise HeaderError(f"its header is not understood: {error!r}") from error

    def correct(self, hdu: Hdu, root: str, path: str, base: Frame, corrections: Mapping[str, Correction]) -> Frame:
        """The frame with an observer's corrections; ``base`` is what `translate` gave."""
        _, site = self.drops.get(root, (None, None))
        return translate_corrected(hdu, path, self.profiles, base, corrections, site=site)

    def digests(self, root: str) -> dict[str, str]:
        """What the translation of a drop directory's frames depends on: each profile by name, all else under ""."""
        found = self.profiles.digests()
        rest = canonical_json([__version__, found[""], self.drops.get(root)])
        return {**found, "": hashlib.sha256(rest.encode()).hexdigest()}


def hdu_again(
    id: str,
    pixel_sha256: str,
    cards: Iterable[Card],
    size: tuple[int | None, int | None],
    warnings: Iterable[str],
    *,
    is_table: bool,
    detector: str | None,
    exposure_id: str | None,
) -> Hdu:
    """An HDU as it was read, from what the catalogue holds of it.

    Parameters
    ----------
    size
        NAXIS2 and NAXIS1 as catalogued, for cards that do not say.
    warnings
        Of the frame: those about cards that could not be read are kept.
    """
    listed = tuple(cards)
    noted = set(warnings)
    problems = [f"{one.keyword} is not readable: {one.value!r}" for one in listed]
    return Hdu(
        id=id,
        pixel_sha256=pixel_sha256,
        cards=listed,
        shape=() if is_table else _shape(listed, size),
        is_table=is_table,
        problems=tuple(one for one in problems if one in noted),
        exposure_id=exposure_id,
        detector=detector,
    )


def _shape(cards: Iterable[Card], size: tuple[int | None, int | None]) -> tuple[int, ...]:
    sizes = {one.keyword: one.value for one in reversed(tuple(cards)) if one.keyword.startswith("NAXIS")}
    axes = sizes.get("NAXIS")
    if isinstance(axes, int) and 0 < axes <= _MOST_AXES:
        found = [sizes.get(f"NAXIS{number}") for number in range(axes, 0, -1)]
        if all(isinstance(one, int) for one in found):
            return tuple(int(one) for one in found if one is not None)
    return tuple(one for one in size if one is not None)
