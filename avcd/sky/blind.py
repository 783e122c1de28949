"""Fields solved without a pointing: an engine's finding, refined and believed only as far as the stars bear it out."""

from __future__ import annotations

from collections.abc import Sequence

from avcd.errors import ProcessingError, TransientError
from avcd.frame import Wcs
from avcd.sky.detection import Sources
from avcd.sky.engines import BlindEngine, Widths
from avcd.sky.reference import ReferenceStars
from avcd.sky.solutions import FEWEST, Hint, Solution, solution_of
from avcd.sky.solving import stars_of
from avcd.sky.verifying import hold


def solve_by_engines(
    sources: Sources,
    shape: tuple[int, ...],
    hint: Hint,
    references: Sequence[ReferenceStars],
    engines: Sequence[BlindEngine],
    *,
    max_sip_order: int = 3,
) -> Solution:
    """Ask one engine after the other until one finds a solution that the stars prove.

    Parameters
    ----------
    sources, shape, hint, references, max_sip_order
        As of `solve_blind`.
    engines
        In the order in which they are asked; one that is not there, fails or does not answer in time is passed over.

    Returns
    -------
    Solution
        The first that is proven; else the first that has world coordinates, with a ``reason`` that says so; else REFUSED
        with what each engine said.
    """
    unproven: Solution | None = None
    said: list[str] = []
    for engine in engines:
        try:
            found = solve_blind(sources, shape, hint, references, engine, max_sip_order=max_sip_order)
        except (ProcessingError, TransientError) as error:
            said.append(str(error))
            continue
        if found.verified:
            return found
        if found.wcs is not None:
            unproven = unproven or found
        said.append(found.reason)
    return unproven or Solution(Wcs.REFUSED, matched=0, reason="; ".join(dict.fromkeys(said)))


def solve_blind(
    sources: Sources,
    shape: tuple[int, ...],
    hint: Hint,
    references: Sequence[ReferenceStars],
    engine: BlindEngine,
    *,
    widths: Widths | None = None,
    max_sip_order: int = 3,
) -> Solution:
    """Solve one frame wherever on the sky it is.

    Parameters
    ----------
    sources, shape, hint, max_sip_order
        As of `avcd.sky.solving.solve_field`; of the hint only the scale is used.
    references
        Against which the finding is held, and refined.
    engine
        What looks for it.
    widths
        Of fields to be looked for; None: by the hint's scale, or any.

    Returns
    -------
    Solution
        SOLVED, refined by the reference stars; or as the engine found it, with a ``reason`` that says so, where they are too
        few to judge. REFUSED where it found nothing, or what the reference stars contradict.

    Raises
    ------
    ProcessingError, TransientError
        The engine is not there, fails, or does not answer in time.
    """
    xy = stars_of(sources)
    if len(xy) < FEWEST:
        return Solution(Wcs.REFUSED, matched=0, reason=f"{len(xy)} stars detected, at least {FEWEST} are needed")
    if widths is None:
        widths = Widths.around(hint.scale_arcsec, shape) if hint.scale_arcsec else Widths()
    found = engine.locate(xy, shape, widths)
    if found is None:
        return Solution(Wcs.REFUSED, matched=0, reason=f"{engine.name} found no match")
    judged = [(one, held) for one in references if (held := hold(xy, shape, found, one, max_sip_order)) is not None]
    for one, held in judged:
        if held.certain and held.match is not None:
            return solution_of(Wcs.SOLVED, held.match, one)
    for one, held in judged:
        if held.expected >= FEWEST or held.met * 2 < held.expected:
            note = f"what {engine.name} found fits {held.met} of {held.expected} {one.name} stars"
            return Solution(Wcs.REFUSED, matched=held.met, in_field=held.expected, reason=note)
    note = f"found by {engine.name}; too few other reference stars to verify it"
    return Solution(Wcs.SOLVED, found, reason=note, reference=engine.name)
