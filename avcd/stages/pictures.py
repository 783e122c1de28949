"""The preview of a frame or product."""

from __future__ import annotations

from avcd.compose.preview import preview_png
from avcd.frame import ProductStatus
from avcd.stages.inputs import read_product, read_raw
from avcd.stages.output import Output, Work
from avcd.stages.writing import picture_output


def draw_preview(work: Work) -> Output:
    """A preview PNG; a provisional product's says so in the picture."""
    one = work.inputs("image")[0]
    if one.origin == "frame":
        data, mask = read_raw(work, one)[0], None
    else:
        ccd = read_product(work, one)
        data, mask = ccd.data, ccd.mask
    provisional = work.claim.spec.status is ProductStatus.PROVISIONAL
    png = preview_png(data, mask, work.claim.spec.parameters, caption="provisional" if provisional else None)
    return picture_output(work, {".png": png}, {"height": data.shape[0], "width": data.shape[1]})
