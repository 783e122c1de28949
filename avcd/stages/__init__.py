"""What jobs do: from inputs to content, one module for each family of products. No catalogue, no publishing here."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from avcd.frame import ProductKind
from avcd.sky.services import SkyServices
from avcd.stages.held import HeldMasters
from avcd.stages.output import Opener, Output, OutputFile, Work
from avcd.work import Claim

__all__ = ["HeldMasters", "Opener", "Output", "OutputFile", "Work", "run_stage", "stage_of"]

# Module and function of each kind; a module is loaded with its first job, for a master needs nothing of what a stack does.
_STAGES: dict[ProductKind, tuple[str, str]] = {
    ProductKind.MASTER_BIAS: ("masters", "build_bias"),
    ProductKind.MASTER_DARK: ("masters", "build_dark"),
    ProductKind.MASTER_FLAT: ("masters", "build_flat"),
    ProductKind.BAD_PIXEL_MASK: ("masters", "build_bad_pixels"),
    ProductKind.REDUCED: ("science", "reduce_science"),
    ProductKind.SOURCES: ("science", "extract_sources"),
    ProductKind.STACK: ("stacks", "combine_observation"),
    ProductKind.MOSAIC: ("mosaics", "assemble_mosaic"),
    ProductKind.RGB: ("colour", "compose_colour"),
    ProductKind.PREVIEW: ("pictures", "draw_preview"),
}


def stage_of(kind: ProductKind) -> Callable[[Work], Output]:
    """The function that makes the content of a kind's products."""
    module, name = _STAGES[kind]
    found: Callable[[Work], Output] = getattr(import_module(f"avcd.stages.{module}"), name)
    return found


def run_stage(
    claim: Claim,
    open_input: Opener,
    memory_bytes: int,
    held: HeldMasters | None = None,
    *,
    figures: bool = True,
    services: SkyServices | None = None,
) -> Output:
    """Make the content of a claimed job's product.

    Parameters
    ----------
    held
        Masters of the jobs before, kept for the next.
    figures
        Whether figures that stand in the catalogue, and not in the product's file, are measured.
    services
        Of the home: how the catalogues and engines that a recipe may name are asked.

    Raises
    ------
    AvcdError
        ProcessingError when the inputs cannot give this product; FrameError when one cannot be read.
    """
    work = Work(claim, open_input, memory_bytes, held or HeldMasters(), figures, services or SkyServices())
    return stage_of(claim.spec.kind)(work)
