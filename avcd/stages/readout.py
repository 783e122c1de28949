"""What was read out beside a frame's image: the overscan subtracted and cut off, as the product's parameters say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits

from avcd.cards import trimmed_header
from avcd.errors import ProcessingError
from avcd.frame import MaskBit
from avcd.reduction.overscan import TrimmedSource, subtract_overscan, trim, trimmed_source
from avcd.reduction.planes import MaskedImage
from avcd.reduction.sources import FrameSource
from avcd.sections import Section
from avcd.stages.output import Work

_MASTERS = ("bias", "dark", "flat")


@dataclass(frozen=True)
class Readout:
    """What is done to a raw frame before anything else; None: nothing."""

    overscan: Section | None = None
    keep: Section | None = None
    method: str = "median"
    degree: int | None = None

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Readout:
        """As a product's parameters say.

        Raises
        ------
        ProcessingError
            A section is none.
        """
        overscan, keep = parameters.get("overscan"), parameters.get("trim")
        return cls(
            Section.parse(overscan) if overscan else None,
            Section.parse(keep) if keep else None,
            str(parameters.get("overscan_method", "median")),
            parameters.get("overscan_degree"),
        )

    def of_rows(self, source: FrameSource) -> FrameSource:
        """A raw frame's rows, less its overscan and cut."""
        if self.overscan is None and self.keep is None:
            return source
        return trimmed_source(source, self.overscan, self.keep, method=self.method, degree=self.degree)

    def of_header(self, header: fits.Header) -> fits.Header:
        """A raw frame's header once it is cut."""
        return header if self.keep is None else trimmed_header(header, self.keep.x_first, self.keep.y_first)

    def of_image(self, raw: MaskedImage, saturated_adu: float | None) -> tuple[MaskedImage, float, list[str]]:
        """A raw frame less its overscan and cut; the level that was subtracted, and what was done, as sentences.

        Parameters
        ----------
        raw
            Not changed.
        saturated_adu
            Pixels that read so much or more, overscan included, are masked SATURATED; None: not known.
        """
        found, level, steps = raw, 0.0, []
        if self.overscan is not None:
            mask = np.zeros(raw.data.shape, np.uint16) if raw.mask is None else np.array(raw.mask, dtype=np.uint16)
            if saturated_adu is not None:
                mask[raw.data >= saturated_adu] |= np.uint16(MaskBit.SATURATED)
            none = np.zeros(raw.data.shape, np.float32)
            known = MaskedImage(raw.data, unit=raw.unit, mask=mask, uncertainty=none)
            found = subtract_overscan(known, self.overscan, method=self.method, degree=self.degree)
            level = float(np.nanmedian(raw.data - found.data))
            curve = "" if self.degree is None else f", polynomial of degree {self.degree}"
            steps.append(
                f"overscan {self.overscan} subtracted: {self.method} of each line{curve}, {level:.2f} in the middle"
            )
        if self.keep is not None:
            found = trim(found, self.keep)
            steps.append(f"trimmed to {self.keep}")
        return found, level, steps


def level_of(source: FrameSource) -> float:
    """What was subtracted from a frame as its overscan, in the middle; 0 from one that has none."""
    return source.level if isinstance(source, TrimmedSource) else 0.0


def check_masters(work: Work) -> None:
    """Refuse masters of avcd's that were made of frames read out otherwise than the job's own.

    Raises
    ------
    ProcessingError
        One was, with how.
    """
    own = work.claim.spec.parameters
    for role in _MASTERS:
        one = work.input(role)
        if one is None or one.spec is None:
            continue
        its = one.spec.parameters
        if bool(own.get("overscan")) != bool(its.get("overscan")) and role != "flat":
            done = "had" if its.get("overscan") else "had not"
            raise ProcessingError(
                f"the frames of the {role} {done} their overscan subtracted, and this one is to be treated otherwise: give"
                " all of them one overscan (the rules' [overscan], or avcd correct overscan_section=…)"
            )
        if own.get("trim") != its.get("trim"):
            raise ProcessingError(
                f"the frames of the {role} were cut to {its.get('trim') or 'nothing'}, this one to"
                f" {own.get('trim') or 'nothing'}: give all of them one part (the rules' [trim], or avcd correct trim_section=…)"
            )
