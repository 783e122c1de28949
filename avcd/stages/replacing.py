"""What a final product changed against the provisional one that it replaces.

The figures go into the catalogue alone: the product's bytes do not depend on what was there before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits

from avcd.errors import AvcdError
from avcd.frame import ProductKind
from avcd.products import celestial_wcs
from avcd.reduction.planes import MaskedImage
from avcd.stages.inputs import read_product
from avcd.stages.output import Work

if TYPE_CHECKING:
    from astropy.wcs import WCS

    from avcd.sky.detection import Sources

_COMPARED = (ProductKind.REDUCED, ProductKind.STACK)
_NEAR_PX = 2.0  # a star of the one that is a star of the other
_MOVED_PX = 0.3  # two stacks whose stars lie this far apart are not of one grid
_FEWEST_STARS = 3
_SIGNAL = 10.0  # over its noise, of a star that tells the zero point


@dataclass(frozen=True)
class Replacement:
    """Figures, their names beginning with ``provisional_``, and what a person should know."""

    metrics: dict[str, float | str]
    warnings: tuple[str, ...] = ()


def compare_with_provisional(work: Work, ccd: MaskedImage, header: fits.Header) -> Replacement:
    """The difference between a final product and the provisional one that served until now.

    Parameters
    ----------
    work
        The claimed job; nothing is compared where its claim has no predecessor.
    ccd, header
        The final product.

    Returns
    -------
    Replacement
        ``provisional_id``; ``provisional_median_difference`` and ``provisional_rms_difference`` (about that median) of
        final less provisional, over the pixels that neither masks, in the product's unit;
        ``provisional_zero_point_shift_mag``: the zero point of the final less that of the provisional, by the
        ``provisional_stars_matched`` stars that both have. A predecessor that cannot be read or compared is a warning.
    """
    one = work.claim.predecessor
    if one is None or work.claim.spec.kind not in _COMPARED:
        return Replacement({})
    found: dict[str, float | str] = {"provisional_id": one.id}
    try:
        before = read_product(work, one)
        if before.data.shape != ccd.data.shape or before.unit != ccd.unit:
            return Replacement(found, (_unlike(before, ccd),))
        stars, moved_px = _match(ccd, header, before)
    except AvcdError as error:
        return Replacement(found, (f"what changed since the provisional product is not known: {error}",))
    found.update(stars)
    if work.claim.spec.kind is ProductKind.STACK and not moved_px < _MOVED_PX:
        return Replacement(
            found, ("the provisional stack lies on another grid, or has no stars to tell: pixels were not compared",)
        )
    return Replacement({**found, **_differ(ccd, before)})


def _unlike(before: MaskedImage, ccd: MaskedImage) -> str:
    sizes = [f"{one.data.shape[1]} x {one.data.shape[0]} px in {one.unit or 'no unit'}" for one in (before, ccd)]
    return f"the provisional product was of {sizes[0]}, this one is of {sizes[1]}: they were not compared"


def _differ(ccd: MaskedImage, before: MaskedImage) -> dict[str, float]:
    good = np.isfinite(ccd.data) & np.isfinite(before.data)
    for mask in (ccd.mask, before.mask):
        if mask is not None:
            good &= mask == 0
    if not good.any():
        return {}
    difference = ccd.data[good].astype(np.float64) - before.data[good]
    middle = float(np.median(difference))
    return {
        "provisional_median_difference": middle,
        "provisional_rms_difference": float(np.sqrt(np.mean(np.square(difference - middle)))),
    }


def _match(ccd: MaskedImage, header: fits.Header, before: MaskedImage) -> tuple[dict[str, float], float]:
    """What the stars of both tell, and how far apart they lie in pixels (NaN: too few to tell)."""
    from avcd.sky.detection import detect_sources  # longer in loading than most frames in reducing

    now, then = (detect_sources(one.data, one.mask) for one in (ccd, before))
    expected = _positions(then, before.wcs, celestial_wcs(header))
    if not len(now) or not len(then):
        return {"provisional_stars_matched": 0.0}, float("nan")
    from scipy.spatial import cKDTree  # longer in loading than most frames in reducing

    tree = cKDTree(np.column_stack([now.x, now.y]))
    distance, which = tree.query(expected, distance_upper_bound=_NEAR_PX)
    pairs = [(int(index), star) for star, index in enumerate(which) if np.isfinite(distance[star])]
    good = [(index, star) for index, star in pairs if _is_clean(now, index) and _is_clean(then, star)]
    found = {"provisional_stars_matched": float(len(good))}
    if len(good) >= _FEWEST_STARS:
        ratios = [now.flux[index] / then.flux[star] for index, star in good]
        found["provisional_zero_point_shift_mag"] = 2.5 * float(np.log10(np.median(ratios)))
    if len(pairs) < _FEWEST_STARS:
        return found, float("nan")
    shifts = np.array([(now.x[index] - then.x[star], now.y[index] - then.y[star]) for index, star in pairs])
    return found, float(np.hypot(*np.median(shifts, axis=0)))


def _positions(stars: Sources, wcs: WCS | None, onto: WCS | None) -> np.ndarray:
    """Where stars should be on another product's pixels: through the sky where both know it, else where they were."""
    if wcs is None or onto is None or not len(stars):
        return np.column_stack([stars.x, stars.y])
    sky = wcs.all_pix2world(stars.x, stars.y, 0)
    return np.column_stack(onto.all_world2pix(*sky, 0, quiet=True))


def _is_clean(stars: Sources, index: int) -> bool:
    return bool(stars.flags[index] == 0 and stars.flux[index] > _SIGNAL * stars.flux_err[index] > 0)
