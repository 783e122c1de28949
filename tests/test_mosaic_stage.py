"""A mosaic as the daemon makes it: of solved stacks, published whole, the same bytes each time; and planned again for a late panel."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from avcd.catalog import Catalog
from avcd.errors import ProcessingError
from avcd.frame import ImageType, ProductKind, Wcs
from avcd.products import ImageContent, verify_fits, write_image_fits
from avcd.runner.worker import work as do_job
from avcd.stages import run_stage
from avcd.work import JobInput
from exposures import make_panels
from homes import make_home
from planned_home import bring_up_to_date, deliver, frame, serving
from test_stages import Bench


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path)


def tiles(bench: Bench, tmp_path) -> list[JobInput]:
    """Two stacks of adjoining fields, as products in the archive."""
    made = []
    (tmp_path / "raw").mkdir()
    make_panels(tmp_path / "raw")
    for number in (1, 2):
        data, header = fits.getdata(tmp_path / "raw" / f"panel-{number}.fits", header=True)
        kept = fits.Header([card for card in header.cards if card.keyword not in ("BZERO", "BSCALE")])
        name = f"stack-{number}.fits"
        with (bench.place.archive / name).open("xb") as stream:
            mask = np.zeros(data.shape, np.uint16)
            write_image_fits(ImageContent(data.astype(np.float32), "adu", mask, np.full(data.shape, 9.0), kept), stream)
        made.append(
            JobInput(
                role="tile", id=str(number) * 64, origin="product", root="archive", relative_path=name, wcs=Wcs.SOLVED
            )
        )
    return made


def test_solved_stacks_become_a_mosaic_with_its_figures(bench, tmp_path):
    claim = bench.claim(ProductKind.MOSAIC, *tiles(bench, tmp_path))
    published = do_job(claim, bench.place)
    path = bench.place.archive / published.files[0].path
    verify_fits(path)
    assert published.wcs is Wcs.REFINED
    assert published.metrics["frames_used"] == 2
    assert published.metrics["overlaps"] == 1
    assert published.metrics["seam"] < 0.1 * published.metrics["seam_before"]
    assert published.metrics["hole_fraction"] < 0.01
    header = fits.getheader(path)
    assert header["IMAGETYP"] == "MOSAIC"
    assert header["AVCDID"] == claim.spec.id
    again = io.BytesIO()
    run_stage(claim, lambda one: bench.place.archive / one.relative_path, bench.place.memory_bytes).files[0].write(
        again
    )
    assert again.getvalue() == path.read_bytes()


def test_a_stack_that_is_not_solved_is_left_out_by_name(bench, tmp_path):
    one, two = tiles(bench, tmp_path)
    lost = replace(two, id="3" * 64, relative_path="stack-2.fits", wcs=Wcs.REFUSED)
    published = do_job(bench.claim(ProductKind.MOSAIC, one, two, lost), bench.place)
    assert any("stack-2.fits: not solved" in text for text in published.warnings)
    with pytest.raises(ProcessingError, match="1 of 2 stacks have world coordinates"):
        do_job(bench.claim(ProductKind.MOSAIC, one, lost), bench.place)


def test_a_late_panel_is_planned_with_those_that_were_there(tmp_path):
    home = make_home(tmp_path / "home")
    catalog = Catalog(home.database_url)
    done = frozenset({"bias", "dark", "flat"})

    def panel(x: int):
        target = f"M31_x{x}_y1"
        return frame(f"p{x}", ImageType.SCIENCE, 100 + x, filter="Red", target_name=target,
                     obs_id=f"t20/2026-01-15/{target}", calibration=done)  # fmt: skip

    deliver(catalog, [panel(1), panel(2)])
    bring_up_to_date(catalog, home)
    (slot,) = [one for one in serving(catalog) if one.startswith("mosaic:")]
    first = serving(catalog)[slot]
    deliver(catalog, [panel(3)], now=3000.0)
    assert slot in bring_up_to_date(catalog, home, now=4000.0)
    second = serving(catalog)[slot]
    assert second != first
    made = {one["id"]: one for one in catalog.products()}
    assert made[first]["status"] == "superseded"
    assert len(made[second]["observations"]) == 3
    assert bring_up_to_date(catalog, home, now=5000.0) == []
