"""The preview of a frame or product."""

from __future__ import annotations

import numpy as np

from avcd.compose.preview import preview_pngs, shrunk_pngs
from avcd.frame import ProductStatus
from avcd.stages.inputs import read_product, read_raw
from avcd.stages.output import Output, Work
from avcd.stages.writing import picture_output


def draw_preview(work: Work) -> Output:
    """Preview PNGs, ``.png`` the first of the recipe's sizes, ``.256.png`` and so on the others.

    A provisional product's say so in the picture; a composite is made smaller as it is.
    """
    one = work.inputs("image")[0]
    params = work.claim.spec.parameters
    if one.relative_path.endswith(".png"):
        found = shrunk_pngs(work.open(one).read_bytes(), params["sizes_px"])
        return picture_output(work, _by_suffix(found), {})
    provisional = work.claim.spec.status is ProductStatus.PROVISIONAL
    mask: np.ndarray | None = None
    if one.origin == "frame":
        data = read_raw(work, one)[0]
    else:
        ccd = read_product(work, one)
        data, mask = ccd.data, ccd.mask
    found = preview_pngs(data, mask, params, caption="provisional" if provisional else None)
    return picture_output(work, _by_suffix(found), {"height": data.shape[0], "width": data.shape[1]})


def _by_suffix(pictures: dict[int, bytes]) -> dict[str, bytes]:
    return {".png" if number == 0 else f".{size}.png": pictures[size] for number, size in enumerate(pictures)}
