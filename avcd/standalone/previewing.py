"""Previews of files that are named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from avcd.compose.preview import preview_pngs, sizes_of
from avcd.errors import UsageError
from avcd.frame import InputRef, ProductKind, product_identity
from avcd.recipes import Recipe
from avcd.standalone.inputs import FrameFile
from avcd.standalone.pictures import PictureTask
from avcd.standalone.planning import check_memory
from avcd.standalone.writing import Signed

_KIND = str(ProductKind.PREVIEW)


def plan_preview(file: FrameFile, out: Path, recipe: Recipe, limit_bytes: int) -> PictureTask:
    """The task that draws a file's previews: ``out`` for the first size, with the size in its name for the others."""
    check_memory(file.frame, limit_bytes)
    sizes = sizes_of(recipe.parameters["sizes_px"])
    paths = {str(size): out if number == 0 else out.with_suffix(f".{size}.png") for number, size in enumerate(sizes)}
    refs = (InputRef("image", file.id, "frame"),)
    identity = product_identity(_KIND, recipe.name, recipe.version, recipe.parameters, refs)
    signed = Signed(identity, _KIND, recipe.name, recipe.version, recipe.parameters, [("image", file)])
    return PictureTask(identity, _KIND, paths, out.with_suffix(".json"), (file.path,), partial(_make, file, signed))


def _make(file: FrameFile, signed: Signed) -> tuple[dict[str, bytes], Mapping[str, Any], Sequence[str]]:
    ccd = file.read()
    found = preview_pngs(ccd.data, ccd.mask, signed.parameters)
    record = {
        "id": signed.identity,
        "kind": signed.kind,
        "recipe": f"{signed.recipe} {signed.version}",
        "parameters": dict(signed.parameters),
        "inputs": signed.provenance,
    }
    return {str(size): data for size, data in found.items()}, record, ()


def place_previews(out: Path, files: Sequence[FrameFile], *, several: bool) -> list[Path]:
    """The path of each file's main preview.

    Raises
    ------
    UsageError
        A picture for several files, or several of one name.
    """
    if out.suffix.lower() == ".png" and not out.is_dir():
        if several or len(files) > 1:
            raise UsageError(f"-o {out}: several frames need a directory, as in: -o previews/")
        return [out for _ in files]
    if out.suffix and not out.is_dir():
        raise UsageError(f"-o {out}: a preview ends with .png; several go into a directory")
    paths = [out / f"{one.stem}.png" for one in files]
    twice = [path for path in paths if paths.count(path) > 1]
    if twice:
        raise UsageError(f"two of the files would both become {twice[0]}; give them in two calls, with two -o")
    return paths
