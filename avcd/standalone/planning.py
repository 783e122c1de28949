"""From files and options to the spec of what a stage makes of them, and its task."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from avcd.config import Workers
from avcd.errors import ProcessingError, UsageError
from avcd.frame import CalibLevel, Frame, InputRef, ProductKind, ProductSpec, ProductStatus, product_identity
from avcd.recipes import Recipe, checked_parameters, load_recipes
from avcd.stages import HeldMasters, run_stage
from avcd.standalone.inputs import FrameFile
from avcd.standalone.outputs import Task, Writer
from avcd.work import Claim, JobInput

# What one pixel needs while a single frame is worked on: pixels, mask, uncertainty, masters, and what is between them.
_BYTES_PER_PIXEL = 80


def memory_bytes(text: str) -> int:
    """The memory that ``--mem-limit`` allows.

    Raises
    ------
    UsageError
        It is not written as in ``512 MiB``.
    """
    try:
        return Workers(memory=text).memory_bytes
    except ValidationError:
        raise UsageError(f"--mem-limit {text!r}: write a number and MiB or GiB, as in '512 MiB'") from None


def check_memory(frame: Frame, limit_bytes: int) -> None:
    """Refuse a frame that cannot be worked on in so much memory.

    Raises
    ------
    ProcessingError
        With what it would need.
    """
    needed = (frame.naxis1 or 0) * (frame.naxis2 or 0) * _BYTES_PER_PIXEL
    if needed > limit_bytes:
        raise ProcessingError(
            f"a frame of {frame.naxis1} x {frame.naxis2} pixels needs about {-(-needed // 2**20)} MiB; "
            "raise --mem-limit"
        )


def recipe_of(kind: ProductKind, changes: Iterable[str], known: Mapping[str, Any] | None = None) -> Recipe:
    """The shipped recipe of a kind, with the parameters that ``--set NAME=VALUE`` changes.

    Raises
    ------
    UsageError
        There is no such parameter, or its value cannot be read.
    """
    recipe = load_recipes()[kind]
    parameters = changed({**recipe.parameters, **(known or {})}, changes)
    return recipe.model_copy(update={"parameters": parameters})


def changed(parameters: Mapping[str, Any], changes: Iterable[str]) -> dict[str, Any]:
    """Parameters with what ``--set NAME=VALUE`` changes.

    Raises
    ------
    UsageError
        There is no such parameter, or its value cannot be read.
    """
    found = dict(parameters)
    for text in changes:
        name, equals, value = text.partition("=")
        if not equals or name.strip() not in found:
            raise UsageError(f"--set {text!r}: write NAME=VALUE, with a NAME of {', '.join(sorted(found))}")
        try:
            found = checked_parameters({name.strip(): _value_of(value)}, found)
        except ValueError as error:
            raise UsageError(f"--set {text!r}: {error}") from None
    return found


def _value_of(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def stage_task(
    recipe: Recipe,
    inputs: Sequence[JobInput],
    path: Path,
    like: Frame,
    limit_bytes: int,
    missing: Sequence[str] = (),
    held: HeldMasters | None = None,
    **about: Any,
) -> Task:
    """The task that runs one of the daemon's stages on files; its product has the daemon's identity.

    Parameters
    ----------
    like
        A frame that says telescope, camera and night.
    missing
        The calibrations that are missing, by which the product is provisional.
    held
        Masters that are kept from one task to the next.
    about
        Further values of the spec.
    """
    ordered = tuple(sorted(inputs, key=lambda one: (one.role, one.id)))
    refs = tuple(InputRef(one.role, one.id, one.origin) for one in ordered)
    identity = product_identity(recipe.kind, recipe.name, recipe.version, recipe.parameters, refs)
    spec = ProductSpec(
        id=identity,
        kind=recipe.kind,
        slot=f"{recipe.kind}:{path.name}",
        recipe=recipe.name,
        recipe_version=recipe.version,
        parameters=recipe.parameters,
        inputs=refs,
        status=ProductStatus.PROVISIONAL if missing else ProductStatus.FINAL,
        path=path.name,
        reason="; ".join(missing),
        telescope=like.telescope,
        instrument=like.instrument,
        night=like.night,
        **{"calib_level": CalibLevel.CALIBRATED, **about},
    )
    sources = tuple(Path(one.relative_path) for one in ordered)
    return Task(identity, str(recipe.kind), path, sources, partial(_run, spec, ordered, limit_bytes, held))


def _run(
    spec: ProductSpec, inputs: tuple[JobInput, ...], limit_bytes: int, held: HeldMasters | None
) -> tuple[Writer, Sequence[str]]:
    claim = Claim(job_id=spec.id, token="", attempt=1, spec=spec, inputs=inputs)
    output = run_stage(claim, open_path, limit_bytes, held, figures=False)
    return output.files[0].write, output.warnings


def open_path(one: JobInput) -> Path:
    """Where an input lies."""
    return Path(one.relative_path)


def check_fits(master: FrameFile, role: str, frame: Frame) -> None:
    """Refuse a master of another size than the frame's.

    Raises
    ------
    ProcessingError
        With both sizes.
    """
    mine, its = (frame.naxis1, frame.naxis2), (master.frame.naxis1, master.frame.naxis2)
    if mine != its:
        raise ProcessingError(
            f"it has {mine[0]} x {mine[1]} pixels, the {role} {master.name} {its[0]} x {its[1]}; "
            "take one of the same size, or trim both alike"
        )
