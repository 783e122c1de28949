"""The plan while it grows: specs, blocked places, and the priorities they inherit."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from avcd.association import SCALED, Pool, Rules, judge, trimmed
from avcd.config import Processing
from avcd.frame import (
    LENDER,
    Association,
    Blocked,
    Candidate,
    Frame,
    FrameStatus,
    ImageType,
    InputRef,
    Master,
    Parameters,
    Plan,
    ProductFact,
    ProductKind,
    ProductSpec,
    ProductStatus,
    Snapshot,
    product_identity,
)
from avcd.planner.naming import directory, file_name
from avcd.recipes import Recipe, Recipes

# Within one night, what others wait for goes first; pictures of single frames go last.
_RANK = {
    ProductKind.MASTER_BIAS: 0,
    ProductKind.MASTER_DARK: 1,
    ProductKind.BAD_PIXEL_MASK: 2,
    ProductKind.MASTER_FLAT: 3,
    ProductKind.REDUCED: 4,
    ProductKind.STACK: 5,
    ProductKind.MOSAIC: 6,
    ProductKind.RGB: 7,
    ProductKind.SOURCES: 8,
    ProductKind.PREVIEW: 9,
}


# Frames of one observation that differ in none of these lack the same.
_ALIKE = (
    "instrument", "naxis1", "naxis2", "window", "binning", "gain", "offset", "readout_mode", "exposure_s", "filter",
    "set_temperature_c",
)  # fmt: skip


def _priority(night: str | None, kind: ProductKind) -> int:
    """Newest night first ("tonight's frames go before a backlog"), then by kind."""
    ordinal = datetime.date.fromisoformat(night).toordinal() if night else 0
    return -16 * ordinal + _RANK[kind]


@dataclass(frozen=True, slots=True)
class Choice:
    """The best master of one kind for one frame, where one serves."""

    kind: str
    candidate: Candidate | None = None
    tier: str = ""
    days: float = 0.0  # between the frame and the master
    best: bool = True  # of the best tier: only a nearer one could take its place


@dataclass
class PlanBuilder:
    """One planning run over one camera's facts. Everything it decides follows from its four arguments."""

    snapshot: Snapshot
    recipes: Recipes
    rules: Rules
    processing: Processing
    specs: dict[str, ProductSpec] = field(default_factory=dict)
    blocked: dict[str, Blocked] = field(default_factory=dict)
    candidates: dict[str, list[Candidate]] = field(default_factory=lambda: {"bias": [], "dark": [], "flat": []})
    bad_pixels_of_dark: dict[str, str] = field(default_factory=dict)  # id of a master dark to that of its mask
    lenders: dict[str, Master] = field(default_factory=dict)  # source tables of solved frames, by id
    sources: dict[str, str] = field(default_factory=dict)  # id of a frame to that of its source table, if solved alone
    withheld: dict[str, list[tuple[Candidate, str]]] = field(  # masters that may not serve, and why
        default_factory=lambda: {"bias": [], "dark": [], "flat": []}
    )
    offered: dict[str, Master] = field(default_factory=dict)  # the masters of these groups, by id
    places: dict[str, str] = field(default_factory=dict)  # id of a master to what names it and its successors
    associations: dict[str, Association] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)  # products that serve while their successors are held

    def __post_init__(self) -> None:
        """Index the frames that may be used at all, and what other groups offer."""
        for one in self.snapshot.masters:
            if one.kind == LENDER:
                self.lenders[one.candidate.id] = one
                continue
            self.candidates[one.kind].append(one.candidate)
            if one.mask:
                self.bad_pixels_of_dark[one.candidate.id] = one.mask
        self.pool = Pool(one for kind in self.candidates.values() for one in kind)
        self._unusable: dict[str, tuple[str, str]] = {}  # slot to the id of what may not fill it, and why
        self._reasons: dict[tuple[Any, ...], str] = {}
        self._shared: dict[tuple[Any, ...], Parameters] = {}
        self._in_slot: dict[str, list[ProductFact]] = {}
        for fact in sorted(self.snapshot.products.values(), key=lambda one: (one.published, one.id)):
            self._in_slot.setdefault(fact.slot, []).append(fact)
        self.frames: Mapping[str, Frame] = {
            one.id: trimmed(one, self.rules)
            for one in self.snapshot.frames
            if one.status is FrameStatus.OK and one.id not in self.snapshot.rejected and one.product_id is None
        }

    def recipe(self, kind: ProductKind) -> Recipe:
        """The recipe of a kind."""
        return self.recipes[kind]

    def usable(self, identity: str) -> bool:
        """Whether a product may serve others: neither rejected nor the result of a job that died."""
        return identity not in self.snapshot.rejected and identity not in self.snapshot.dead

    def _is_held(self, fact: ProductFact) -> bool:
        """Whether a product is to be approved before it may serve."""
        return fact.held and fact.id not in self.snapshot.approved

    def offer(self, kind: str, subject: str, candidate: Candidate, place: str) -> None:
        """Let a master serve, with the times that an observer gave it; ``place`` is unique to it and its successors."""
        approval = self.snapshot.approved.get(candidate.id)
        if approval:
            candidate = replace(candidate, valid_from=approval.valid_from, valid_until=approval.valid_until)
        self.candidates[kind].append(candidate)
        self.pool.add(candidate)
        self.offered[candidate.id] = Master(kind, subject, candidate)
        self.places[candidate.id] = place

    def offer_built(
        self, slot: str, spec: ProductSpec | None, like: Frame, frames: int, bias_included: bool | None = None
    ) -> None:
        """Let a built master serve; while it is held, the one that served in its place before."""
        kind, _, place = slot.removeprefix("master_").partition(":")
        identity, why = (spec.id, "held") if spec else self._unusable[slot]
        candidate = Candidate(id=identity, origin="product", like=like, bias_included=bias_included, n_combined=frames)
        if spec is None:
            self.withheld[kind].append((candidate, why))
            return
        if spec.status is not ProductStatus.HELD:
            self.offer(kind, spec.subject, candidate, place)
            return
        self.withheld[kind].append((candidate, why))
        earlier = [
            one
            for one in self._in_slot.get(spec.slot, ())
            if self.usable(one.id) and one.status is not ProductStatus.REJECTED and not self._is_held(one)
        ]
        if earlier:
            self.kept.add(earlier[-1].id)
            self.offer(kind, spec.subject, replace(candidate, id=earlier[-1].id), place)

    def lend(self, subject: str, candidate: Candidate) -> None:
        """Let the stars of a solved frame of these groups serve frames of other observations."""
        self.offered[candidate.id] = self.lenders[candidate.id] = Master(LENDER, subject, candidate)

    def choose(self, kind: str, frame: Frame) -> Choice:
        """The master that serves a frame best."""
        found = self.pool.choose(frame, kind, self.rules)
        if found is None:
            return Choice(kind)
        best = found.tier_rank < SCALED
        return Choice(kind, found.candidate, tier=found.tier, days=found.days or 0.0, best=best)

    def refusal(self, kind: str, frame: Frame) -> str:
        """Why none serves; told once for all frames of a group that are alike."""
        alike = (kind, frame.subject, *(getattr(frame, name) for name in _ALIKE))
        if alike not in self._reasons:
            self._reasons[alike] = judge(frame, kind, self.candidates[kind], self.rules).relaxation
        return self._reasons[alike]

    def associate(self, identity: str, frame: Frame, chosen: Iterable[Choice], missing: Mapping[str, str]) -> None:
        """Note what was chosen for a frame, or for the session that it stands for, and what is missing."""
        served = [one for one in chosen if one.candidate is not None]
        self.associations[identity] = Association(
            id=identity,
            subject=frame.subject,
            t_min=frame.t_min,
            night=frame.night,
            chosen={one.kind: (one.candidate.id, one.days) for one in served if one.candidate},
            best=all(one.best for one in served),
            missing=missing,
        )

    def mask(self, dark: str, identity: str) -> None:
        """Note the bad pixel mask that is made from a dark."""
        self.bad_pixels_of_dark[dark] = identity
        self.offered[dark] = replace(self.offered[dark], mask=identity)

    def members(self, image_type: ImageType) -> Iterable[tuple[str, list[Frame]]]:
        """The closed calibration sessions of one type: session id and its usable frames, in time order."""
        for subject, closure in sorted(self.snapshot.closures.items()):
            frames = [self.frames[one] for one in closure.members if one in self.frames]
            frames = [one for one in frames if one.image_type is image_type and one.session_id == subject]
            if frames:
                yield subject, in_time_order(frames)

    def observations(self) -> Mapping[str, list[Frame]]:
        """Every observation with its usable science frames, in time order."""
        found: dict[str, list[Frame]] = {}
        for one in self.frames.values():
            if one.image_type is ImageType.SCIENCE and one.obs_id:
                found.setdefault(one.obs_id, []).append(one)
        return {subject: in_time_order(found[subject]) for subject in sorted(found)}

    def spec(
        self,
        kind: ProductKind,
        slot: str,
        inputs: Iterable[InputRef],
        like: Frame,
        *,
        stem: str,
        suffix: str = ".fits",
        values: Mapping[str, Any] | None = None,
        status: ProductStatus = ProductStatus.FINAL,
        **about: Any,
    ) -> ProductSpec | None:
        """Add a product that should exist; None when it was rejected or its job died.

        Parameters
        ----------
        like
            A frame that says telescope, night, target and filter; ``about`` overrides.
        values
            What else shapes the pixels (a frame's gain, say); part of the identity beside the recipe's parameters.
        """
        recipe = self.recipe(kind)
        refs = tuple(sorted(set(inputs), key=lambda one: (one.role, one.id)))
        parameters = self._parameters(recipe, values or {}, self._corrected(refs), status)
        identity = product_identity(kind, recipe.name, recipe.version, parameters, refs)
        if not self.usable(identity):
            self._unusable[slot] = identity, "rejected" if identity in self.snapshot.rejected else "its job died"
            return None
        night = about.pop("night", like.night)
        fact = self.snapshot.products.get(identity)
        if fact and self._is_held(fact):
            status = ProductStatus.HELD
        about.setdefault("subject", like.subject)
        self.specs[identity] = found = ProductSpec(
            id=identity,
            kind=kind,
            slot=slot,
            recipe=recipe.name,
            recipe_version=recipe.version,
            parameters=parameters,
            inputs=refs,
            status=status,
            path=f"{directory(like, night)}/{kind}/{file_name(stem, identity, suffix)}",
            priority=_priority(night, kind),
            telescope=like.telescope,
            instrument=like.instrument,
            night=night,
            **about,
        )
        return found

    def _parameters(
        self, recipe: Recipe, values: Mapping[str, Any], corrected: list[str], status: ProductStatus
    ) -> Parameters:
        """A recipe's parameters with what else shapes the pixels; the same object for all products that share them."""
        key = recipe.name, status, repr(values), tuple(corrected)
        if key not in self._shared:
            found = {**recipe.parameters, **{name: value for name, value in values.items() if value is not None}}
            if corrected:
                found["corrected"] = corrected  # the product says what its frames' headers do not
            if status is ProductStatus.PROVISIONAL:
                found["provisional"] = True  # the product says so in itself, so it is another one than the final
            self._shared[key] = Parameters(found)
        return self._shared[key]

    def drop(self, identity: str) -> None:
        """Take back a product, and what was to be made from it alone."""
        del self.specs[identity]
        for other in [one.id for one in self.specs.values() if any(ref.id == identity for ref in one.inputs)]:
            self.drop(other)

    def _corrected(self, refs: Iterable[InputRef]) -> list[str]:
        """The values of a product's frames that an observer corrected, so that it is another one than without."""
        frames = [self.frames[one.id] for one in refs if one.origin == "frame" and one.id in self.frames]
        found = [(one.id[:12], name, value) for one in frames for name, value in one.corrected.items()]
        return [
            f"{identity}: {name}={' '.join(sorted(value)) if isinstance(value, frozenset) else value}"
            for identity, name, value in found
        ]

    def block(self, kind: ProductKind, slot: str, reason: str, like: Frame, inputs: Iterable[InputRef]) -> None:
        """Note a product that should exist and cannot yet."""
        refs = tuple(inputs)
        recipe = self.recipe(kind)
        identity = product_identity(kind, recipe.name, recipe.version, {"blocked": slot}, refs)
        self.blocked[identity] = Blocked(
            id=identity,
            kind=kind,
            slot=slot,
            reason=reason,
            telescope=like.telescope,
            instrument=like.instrument,
            target_name=like.target_name,
            filter=like.filter,
            night=like.night,
            inputs=refs,
            subject=like.subject,
        )

    def finish(self) -> Plan:
        """The plan, with every product at least as urgent as what waits for it."""
        specs = dict(self.specs)
        # Inputs are added before the products made from them, so one pass backwards reaches everything.
        for identity in reversed(list(self.specs)):
            urgent = specs[identity].priority
            for one in specs[identity].inputs:
                other = specs.get(one.id)
                if other is not None and other.priority >= urgent:
                    specs[one.id] = replace(other, priority=urgent - 1)
        return Plan(
            camera=self.snapshot.camera,
            specs=tuple(specs[one] for one in sorted(specs)),
            blocked=tuple(self.blocked[one] for one in sorted(self.blocked)),
            subjects=self.snapshot.subjects,
            masters=tuple(self.offered[one] for one in sorted(self.offered)),
            associations=tuple(self.associations[one] for one in sorted(self.associations)),
            kept=frozenset(self.kept),
        )


def in_time_order(frames: Iterable[Frame]) -> list[Frame]:
    """Frames by start of exposure, then by id; those without a time last."""
    return sorted(frames, key=lambda one: (one.t_min is None, one.t_min or 0.0, one.id))


def from_frame(role: str, frame: Frame) -> InputRef:
    """A frame as input."""
    return InputRef(role, frame.id, "frame")


def from_product(role: str, identity: str) -> InputRef:
    """A product as input."""
    return InputRef(role, identity, "product")


def from_candidate(role: str, candidate: Candidate) -> InputRef:
    """A chosen master as input, built or delivered."""
    return InputRef(role, candidate.id, candidate.origin)
