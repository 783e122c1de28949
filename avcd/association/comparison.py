"""What a changed rule set would change: the choices of two, frame by frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from avcd.association.judgement import applied_need
from avcd.association.pool import Choice, Pool
from avcd.association.rules import Rules
from avcd.frame import Candidate, Frame, ImageType

NEEDS: Mapping[ImageType, tuple[str, ...]] = {
    ImageType.SCIENCE: ("bias", "dark", "flat"),
    ImageType.FLAT: ("bias", "dark"),
    ImageType.DARK: ("bias",),
    ImageType.DARK_FLAT: ("bias",),
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One need of one frame that two rule sets serve with different masters, or only one of them serves at all."""

    frame_id: str
    kind: str
    before: Choice | None
    after: Choice | None


def differences(
    frames: Iterable[Frame], candidates: Pool | Iterable[Candidate], old: Rules, new: Rules
) -> Iterator[Difference]:
    """For each frame and kind for which another master would be chosen: what was chosen before, and after.

    The candidates are the same for both: what the rules say of making masters, and of flats that are good enough to
    serve, is not compared. What was applied before a frame was delivered is chosen by neither.

    Parameters
    ----------
    frames
        Science frames need bias, dark and flat, flats bias and dark, darks a bias; others are passed over.
    candidates
        Of all kinds and cameras.
    old, new
        The rule sets.

    Yields
    ------
    Difference
        In the order of ``frames``.
    """
    pool = candidates if isinstance(candidates, Pool) else Pool(candidates)
    for frame in frames:
        for kind in NEEDS.get(frame.image_type, ()):
            if applied_need(frame, kind):
                continue
            before, after = pool.choose(frame, kind, old), pool.choose(frame, kind, new)
            if (before and before.candidate.id) != (after and after.candidate.id):
                yield Difference(frame.id, kind, before, after)
