"""What a stage hands to the runner: files yet to be written, and what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from avcd.frame import Wcs
from avcd.sky.services import SkyServices
from avcd.stages.held import HeldMasters
from avcd.work import Claim, JobInput

Opener = Callable[[JobInput], Path]


@dataclass(frozen=True)
class OutputFile:
    """One file of a product: where below the archive, how to write it, how to check what was written."""

    path: str
    write: Callable[[BinaryIO], None]
    verify: Callable[[Path], str | None]  # as `avcd.products.publish` has it


@dataclass(frozen=True)
class Output:
    """A product's content, not yet on disk; the main file first.

    What is made while it is written may add to ``metrics`` and ``warnings`` until the last file is there.
    """

    files: tuple[OutputFile, ...]
    metrics: Mapping[str, float | int | str | bool | None] = field(default_factory=dict)
    wcs: Wcs = Wcs.NONE
    warnings: Sequence[str] = ()
    s_ra: float | None = None
    s_dec: float | None = None
    # What was measured on the inputs, one against the others, by their ids; it replaces what was said before.
    input_metrics: Mapping[str, Mapping[str, float | int | str | bool | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class Work:
    """A stage's argument: the claimed job, how to open its inputs, and the memory it may use.

    ``held`` is kept from job to job. ``figures``: whether what is measured for the catalogue alone is asked for.
    ``services``: the catalogues and engines that a recipe may name.
    """

    claim: Claim
    open: Opener
    memory_bytes: int
    held: HeldMasters = field(default_factory=HeldMasters)
    figures: bool = True
    services: SkyServices = field(default_factory=SkyServices)

    def inputs(self, role: str) -> list[JobInput]:
        """The inputs of a role, in the order of the recipe's identity."""
        return [one for one in self.claim.inputs if one.role == role]

    def input(self, role: str) -> JobInput | None:
        """The one input of a role, or None."""
        found = self.inputs(role)
        return found[0] if found else None
