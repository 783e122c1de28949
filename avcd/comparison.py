"""Two plans, or two products of one place, compared: what became of each, and why. Pure.

A plan is compared by slots, the places that products fill: another id in a slot is a product made again. Why it is
made again shows in what it is made of, followed down to the first thing that is no product of this plan.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from avcd.frame import Approval, Blocked, InputRef, Plan, ProductFact, ProductKind, ProductSpec, ProductStatus, Snapshot

_BY_KIND = {kind: number for number, kind in enumerate(ProductKind)}
# Parameters by which a product says what it is, and not how it is made.
_TOLD = ("provisional", "corrected")


@dataclass(frozen=True, slots=True)
class Made:
    """What a product is made of, and how: of a spec, or of a product's row."""

    recipe: str
    version: int
    parameters: Mapping[str, Any]
    inputs: tuple[InputRef, ...]

    @classmethod
    def of(cls, spec: ProductSpec) -> Made:
        """What a plan says."""
        return cls(spec.recipe, spec.recipe_version, spec.parameters, spec.inputs)


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which two products of one slot differ.

    ``what`` is "recipe", "version", "parameter", "provisional", "corrected", or for an input "added", "removed",
    "replaced"; ``name`` is the parameter's, or the input's role.
    """

    what: str
    name: str
    before: Any = None
    after: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of one slot between two plans.

    ``what`` is "remade" (another product), "final" (of a provisional one), "provisional" (of a final one), "held",
    "gone", "blocked" (it was there, and cannot be made now), or "new" (it was not there, or was blocked).
    """

    slot: str
    kind: ProductKind
    what: str
    before: ProductSpec | Blocked | None
    after: ProductSpec | Blocked | None
    differences: tuple[Difference, ...] = ()

    @property
    def planned(self) -> ProductSpec | Blocked:
        """What tells target, filter and night: the later of the two."""
        found = self.after or self.before
        assert found is not None
        return found


def supposed(snapshot: Snapshot, identity: str, *, approved: bool) -> Snapshot:
    """The facts as they would be once a frame or product is rejected, or approved."""
    others = {key: value for key, value in snapshot.approved.items() if key != identity}
    rejected = snapshot.rejected - {identity}
    status = ProductStatus.REJECTED
    if approved:
        others[identity] = snapshot.approved.get(identity, Approval())
        status = ProductStatus.SUPERSEDED
    else:
        rejected |= {identity}
    products = dict(snapshot.products)
    fact: ProductFact | None = products.get(identity)
    if fact is not None and (not approved or fact.status in (ProductStatus.REJECTED, ProductStatus.HELD)):
        products[identity] = replace(fact, status=status)
    return replace(snapshot, rejected=rejected, approved=others, products=products)


def compare_plans(before: Plan, after: Plan) -> list[Change]:
    """What becomes of every slot for which the plans differ, masters first, in the order in which they are made."""
    old, new = _by_slot(before), _by_slot(after)
    slots = {one.id: one.slot for one in (*before.specs, *after.specs)}
    found = [_change(slot, old.get(slot), new.get(slot), slots) for slot in old.keys() | new.keys()]
    return sorted((one for one in found if one), key=lambda one: (_BY_KIND[one.kind], one.slot))


def _by_slot(plan: Plan) -> dict[str, ProductSpec | Blocked]:
    blocked: dict[str, ProductSpec | Blocked] = {one.slot: one for one in plan.blocked}
    return blocked | {one.slot: one for one in plan.specs}


def _change(
    slot: str, before: ProductSpec | Blocked | None, after: ProductSpec | Blocked | None, slots: Mapping[str, str]
) -> Change | None:
    planned = after or before
    assert planned is not None
    differences: tuple[Difference, ...] = ()
    if isinstance(before, ProductSpec) and isinstance(after, ProductSpec):
        if (before.id, before.status) == (after.id, after.status):
            return None
        differences = tuple(compare_made(Made.of(before), Made.of(after), slots))
        what = "remade" if before.status is after.status else str(after.status)
    elif isinstance(before, ProductSpec):
        what = "blocked" if isinstance(after, Blocked) else "gone"
    elif isinstance(after, ProductSpec):
        what = "new"
    else:
        return None
    return Change(slot=slot, kind=planned.kind, what=what, before=before, after=after, differences=differences)


def compare_made(before: Made, after: Made, slots: Mapping[str, str]) -> Iterator[Difference]:
    """All in which two products of one slot differ.

    Parameters
    ----------
    slots
        The slot of every product among the inputs that is known: another product of the same slot replaces the one
        before, and is not one taken away and one added.
    """
    if before.recipe != after.recipe:
        yield Difference("recipe", "recipe", before.recipe, after.recipe)
    elif before.version != after.version:
        yield Difference("version", after.recipe, before.version, after.version)
    for name in sorted(before.parameters.keys() | after.parameters.keys()):
        values = before.parameters.get(name), after.parameters.get(name)
        if values[0] != values[1]:
            yield Difference(name if name in _TOLD else "parameter", name, *values)
    yield from _compare_inputs(before.inputs, after.inputs, slots)


def _compare_inputs(
    before: Iterable[InputRef], after: Iterable[InputRef], slots: Mapping[str, str]
) -> Iterator[Difference]:
    old, new = Counter((one.role, one.id) for one in before), Counter((one.role, one.id) for one in after)
    roles = Counter(role for role, _ in old), Counter(role for role, _ in new)
    removed, added = sorted((old - new).elements()), sorted((new - old).elements())
    for role, identity in removed:
        # One of its kind on either side, or of the same place: the one stands for the other.
        alone = roles[0][role] == roles[1][role] == 1
        same = (
            one for one in added
            if one[0] == role and (alone or (slots.get(identity) is not None and slots.get(one[1]) == slots[identity]))
        )  # fmt: skip
        found = next(same, None)
        if found is None:
            yield Difference("removed", role, before=identity)
        else:
            added.remove(found)
            yield Difference("replaced", role, identity, found[1])
    for role, identity in added:
        yield Difference("added", role, after=identity)
