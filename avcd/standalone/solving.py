"""Plate solutions of files: by reference stars, by other files of the same field, by a blind engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.wcs import WCS

from avcd.cards import inherit, pedestal_of, with_pedestal, with_world
from avcd.errors import ProcessingError
from avcd.frame import ProductKind, Wcs
from avcd.planner.siblings import may_overlap
from avcd.reduction.planes import MaskedImage
from avcd.sky.blind import solve_by_engines
from avcd.sky.detection import Sources
from avcd.sky.engines import BlindEngine
from avcd.sky.reference import ReferenceStars, Tycho2
from avcd.sky.siblings import SolvedStars
from avcd.sky.solutions import Hint, Solution, hint_from, scale_of
from avcd.sky.solving import solve_field, stars_of
from avcd.sky.verifying import agreement_arcsec
from avcd.stages.science import delivered_world, detect
from avcd.standalone.images import Stage, stage_of_image
from avcd.standalone.inputs import FrameFile
from avcd.standalone.outputs import Task
from avcd.standalone.planning import check_memory, recipe_of

_UNPROVEN = "it agrees with {}, whose own world coordinates no catalogue has verified"
_MOST_SIBLINGS = 8  # asked for one file


@dataclass(frozen=True)
class SolveOptions:
    """What is known beside the headers, and what else may be asked; None: as header and recipe say."""

    ra_deg: float | None = None
    dec_deg: float | None = None
    scale_arcsec: float | None = None
    radius_deg: float | None = None
    sip_order: int = 3
    references: tuple[ReferenceStars, ...] = field(default_factory=lambda: (Tycho2(),))
    engines: tuple[BlindEngine, ...] = ()

    @property
    def parameters(self) -> dict[str, Any]:
        """What shapes the product."""
        return {
            "ra_deg": self.ra_deg,
            "dec_deg": self.dec_deg,
            "scale_arcsec": self.scale_arcsec,
            "radius_deg": self.radius_deg,
            "sip_order": self.sip_order,
            "references": [one.name for one in self.references],
            "blind": [one.name for one in self.engines],
        }


@dataclass(frozen=True)
class _Seen:
    """What one file shows."""

    sources: Sources
    shape: tuple[int, ...]
    hint: Hint


class FieldSolver:
    """Solves the files of one call; what is found of one is kept, for the others may need it."""

    def __init__(self, files: Sequence[FrameFile], options: SolveOptions) -> None:
        self._files = tuple(files)
        self._options = options
        self._seen: dict[str, _Seen] = {}
        self._alone: dict[str, Solution] = {}
        self._blind: dict[str, Solution] = {}
        self._agreements: dict[tuple[str, str], float] = {}

    def siblings(self, file: FrameFile) -> list[FrameFile]:
        """The other files of the same camera that may show the same field, the nearest in time first."""
        others = [
            one
            for one in self._files
            if one.id != file.id and one.frame.camera == file.frame.camera and may_overlap(one.frame, file.frame)
        ]
        return sorted(others, key=lambda one: (abs((one.frame.t_min or 0.0) - (file.frame.t_min or 0.0)), one.id))

    def solve(self, file: FrameFile) -> Solution:
        """The solution of one file: by reference stars; else by its siblings; else blind, and by siblings found blind."""
        found = self._by_reference(file)
        if found.verified:
            return found
        by_sibling = self._by_siblings(file, self._by_reference)
        if by_sibling is not None:
            return by_sibling
        if self._options.engines:
            blind = self._by_engine(file)
            if blind.wcs is not None and (blind.verified or found.wcs is None):
                return blind
            by_sibling = self._by_siblings(file, self._by_engine)
            if by_sibling is not None:
                return by_sibling
            return found if found.wcs is not None else blind
        return found

    def _by_reference(self, file: FrameFile) -> Solution:
        if file.id not in self._alone:
            seen, options = self._look(file), self._options
            self._alone[file.id] = solve_field(
                seen.sources, seen.shape, seen.hint, options.references, radius_deg=options.radius_deg,
                max_sip_order=options.sip_order,
            )  # fmt: skip
        return self._alone[file.id]

    def _by_engine(self, file: FrameFile) -> Solution:
        options = self._options
        if file.id not in self._blind:
            seen = self._look(file)
            self._blind[file.id] = solve_by_engines(
                seen.sources, seen.shape, seen.hint, options.references, options.engines,
                max_sip_order=options.sip_order,
            )  # fmt: skip
        return self._blind[file.id]

    def _by_siblings(self, file: FrameFile, how: Callable[[FrameFile], Solution]) -> Solution | None:
        known = [(one, how(one)) for one in self.siblings(file)[:_MOST_SIBLINGS]]
        for one, theirs in known:
            if theirs.verified:
                found = self._by_stars_of(file, one, theirs)
                if found.verified:
                    return found
        # Delivered world coordinates that nothing proves are still good enough to agree with.
        unproven = [(one, theirs) for one, theirs in known if theirs.wcs is not None and not theirs.verified]
        own = how(file)
        if own.wcs is not None and unproven:
            anchor = self._anchor([(file, own), *unproven])
            unproven.sort(key=lambda pair: pair[0] is not anchor)
        else:
            anchor = file
        for one, theirs in unproven:
            found = self._by_stars_of(file, one, theirs, closely=one is anchor)
            if found.verified:
                return replace(found, reason=_UNPROVEN.format(one.path.name))
        return None

    def _by_stars_of(self, file: FrameFile, other: FrameFile, theirs: Solution, *, closely: bool = False) -> Solution:
        """A file by another's stars."""
        seen, there, options = self._look(file), self._look(other), self._options
        assert theirs.wcs is not None
        stars = SolvedStars.of(f"{other.path.name}'s", there.sources, theirs.wcs)
        hint = seen.hint if seen.hint.ra_deg is not None else _hint_of(there, theirs.wcs, seen.hint)
        return solve_field(
            seen.sources, seen.shape, hint, stars, radius_deg=options.radius_deg, max_sip_order=options.sip_order,
            closely=closely,
        )  # fmt: skip

    def _anchor(self, members: Sequence[tuple[FrameFile, Solution]]) -> FrameFile:
        """Of files whose delivered world coordinates nothing proves, the one that the others agree with best."""

        def apart(one: tuple[FrameFile, Solution]) -> tuple[float, int, str]:
            others = [self._agreement(one, other) for other in members if other is not one]
            # To a hundredth: two alone agree equally well, and the deeper one is taken.
            return round(float(np.median(others)), 2), -len(self._look(one[0]).sources), one[0].id

        return min(members, key=apart)[0]

    def _agreement(self, one: tuple[FrameFile, Solution], other: tuple[FrameFile, Solution]) -> float:
        key = one[0].id, other[0].id
        if key not in self._agreements:
            (mine, own), (its, theirs) = one, other
            assert own.wcs is not None
            assert theirs.wcs is not None
            seen, there = self._look(mine), self._look(its)
            stars = SolvedStars.of(its.path.name, there.sources, theirs.wcs)
            self._agreements[key] = agreement_arcsec(stars_of(seen.sources), seen.shape, own.wcs, stars)
        return self._agreements[key]

    def _look(self, file: FrameFile) -> _Seen:
        if file.id not in self._seen:
            ccd, options = file.read(), self._options
            frame = file.with_values(
                s_ra=options.ra_deg, s_dec=options.dec_deg, pixel_scale_arcsec=options.scale_arcsec
            ).frame
            delivered = delivered_world(ccd.header) if file.frame.has_wcs else None
            shipped = recipe_of(ProductKind.REDUCED, ()).parameters
            sources = detect(ccd, shipped, _saturation(file))
            self._seen[file.id] = _Seen(sources, ccd.data.shape, hint_from(frame, delivered))
        return self._seen[file.id]


def _saturation(file: FrameFile) -> float | None:
    frame = file.frame
    if frame.saturation_adu is None or file.unit == "adu":
        return frame.saturation_adu
    return frame.saturation_adu * (frame.gain_e_per_adu or 1.0)


def _hint_of(other: _Seen, wcs: WCS, own: Hint) -> Hint:
    """A sibling's place for a frame whose header has none."""
    ra, dec = wcs.all_pix2world((other.shape[1] - 1) / 2, (other.shape[0] - 1) / 2, 0)
    return Hint(float(ra), float(dec), own.scale_arcsec or scale_of(wcs), own.wcs, own.factors)


def plan_solution(file: FrameFile, out: Path, solver: FieldSolver, options: SolveOptions, limit_bytes: int) -> Task:
    """The task that writes a file with its world coordinates.

    Raises
    ------
    ProcessingError
        It needs more memory than may be used.
    """
    check_memory(file.frame, limit_bytes)
    inputs = [("frame", file), *(("sibling", one) for one in solver.siblings(file)[:_MOST_SIBLINGS])]

    def stage(ccd: MaskedImage) -> Stage:
        solution = believed(solver.solve(file), options)
        header = with_world(
            inherit(ccd.header, keep_world=False), world_of(solution), rms_arcsec=solution.rms_arcsec,
            matched=solution.matched,
        )  # fmt: skip
        header = with_pedestal(header, pedestal_of(ccd.header))
        return Stage(ccd, header, [sentence(solution)], [solution.reason] if solution.reason else [])

    return stage_of_image("solve", inputs, options.parameters, out, limit_bytes, stage)


def believed(solution: Solution, options: SolveOptions) -> Solution:
    """A solution that may be written.

    Raises
    ------
    ProcessingError
        There is none; the message says why, and what of the rest may help.
    """
    if solution.wcs is not None:
        return solution
    ways = [] if options.engines else ["--blind looks everywhere"]
    if solution.state is Wcs.NONE:
        ways.insert(0, "give --ra, --dec and --scale")
    elif len(options.references) == 1:
        ways.insert(0, "--gaia knows fainter stars")
    raise ProcessingError("; ".join([solution.reason, *ways]))


def world_of(solution: Solution) -> WCS:
    """Its world coordinates."""
    assert solution.wcs is not None
    return solution.wcs


def sentence(solution: Solution) -> str:
    """For HISTORY and for people."""
    if not solution.verified:
        return f"world coordinates {solution.state}, not verified"
    assert solution.wcs is not None
    assert solution.rms_arcsec is not None
    scatter = solution.rms_arcsec / scale_of(solution.wcs)
    bend = f", distortion of order {solution.sip_order}" if solution.sip_order else ""
    return (
        f"world coordinates {solution.state}: {solution.matched} of {solution.in_field} {solution.reference} stars, "
        f"rms {scatter:.2f} px{bend}"
    )
