"""Real frames: what is known of each observatory's comes out of its headers and names."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from avcd.frame import FrameStatus
from avcd.headers.pixels import read_pixels


@pytest.fixture
def frame_of(shared_data, read):
    def _frame(relative):
        (member,) = read(shared_data / relative, relative).members
        assert member.status is FrameStatus.OK
        ((_, frame),) = member.frames
        return frame

    return _frame


def values(frame, names):
    return tuple(getattr(frame, name) for name in names.split())


def test_arcsat(frame_of, shared_data):
    folder = shared_data / "arcsat-2025-06-01"
    frames = [frame_of(f"arcsat-2025-06-01/{path.name}") for path in sorted(folder.iterdir())]
    kinds = [str(one.image_type) for one in frames]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"bias": 5, "dark": 5, "flat": 12, "science": 4}
    assert {one.profile for one in frames} == {"arcsat"}
    assert {one.camera for one in frames} == {"ARCSAT 0.5-m/dcam-spare"}
    assert {one.set_temperature_c for one in frames} == {-25.0}
    assert len({one.session_id for one in frames if one.image_type == "bias"}) == 1
    assert len({one.session_id for one in frames if one.image_type == "flat"}) == 4
    lights = [one for one in frames if one.image_type == "science"]
    assert {one.obs_id for one in lights} == {"arcsat-0-5-m/2025-05-31/cats-eye-nebula"}
    assert {one.filter for one in lights} == {"g", "r", "z", "H-Alpha"}
    # 11.4' over 1024 pixels.
    assert lights[0].pixel_scale_arcsec == pytest.approx(11.4 * 60 / 1024, rel=0.01)
    assert (lights[0].site, lights[0].night_rule, lights[0].gain_e_per_adu) == ("apache-point", "site", None)
    assert not any(one.warnings for one in frames)


def test_prompt(frame_of):
    frame = frame_of("prompt5-m1/m1_r_raw (1).fits")
    names = "profile telescope target_name filter exposure_s gain gain_e_per_adu site has_wcs obs_id"
    assert values(frame, names) == (
        *("prompt", "Prompt5", "m1", "rprime", 36.6, None, 1.34967),
        *("cerro-tololo", True, "prompt5/2019-02-17/m1"),
    )
    assert frame.pixel_scale_arcsec == pytest.approx(0.587, abs=0.001)
    assert frame.site_longitude_deg == pytest.approx(-70.805389, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "image_type", "telescope", "filter_name", "exposure", "binning", "shape"),
    [
        ("coj1m011-fl08-20151216-0049-b00.fits.fz", "bias", "1m0-11", None, 0.0, "2x2", (1024, 1040)),
        ("coj1m011-fl08-20151216-0083-d00.fits.fz", "dark", "1m0-11", None, 900.0, "2x2", (1024, 1040)),
        ("coj1m011-fl08-20151216-0048-x00.fits.fz", "unknown", "1m0-11", "rp", 10.0, "1x1", (2048, 2080)),
        ("cpt1m012-fl10-20151216-0044-f00.fits.fz", "flat", "1m0-12", "Y", 2.212, "1x1", (2048, 2080)),
        ("cpt1m012-fl10-20151216-0073-e00.fits.fz", "science", "1m0-12", "ip", 15.0, "2x2", (1024, 1040)),
    ],
)
def test_lco(name, image_type, telescope, filter_name, exposure, binning, shape, frame_of, shared_data):
    frame = frame_of(f"lco/{name}")
    names = "profile image_type telescope filter exposure_s binning set_temperature_c site"
    site = {"coj": "lco-siding-spring", "cpt": "lco-sutherland"}[name[:3]]
    assert values(frame, names) == ("lco", image_type, telescope, filter_name, exposure, binning, -100.0, site)
    assert (frame.naxis2, frame.naxis1) == shape
    data, header = read_pixels(shared_data / "lco" / name, "", 1)
    assert data.shape == shape
    assert header["TELESCOP"] == telescope


def test_feder(shared_data, frame_of):
    assert values(frame_of("feder/flattest.fit"), "image_type telescope profile") == ("bias", "Feder", "feder")
    assert values(frame_of("feder/maximdl_6_18_header.fit"), "telescope site") == ("Feder", "feder")
    neon = frame_of("feder/neon-on-dome-10-sec-high-res-though-scope.fit")
    assert (neon.calibration, neon.sources["calibration"]) == ({"dark"}, "card HISTORY")
    reduced = frame_of("feder/maximdl_5_21_header.fit")
    assert (reduced.calibration, reduced.calib_level) == ({"bias", "dark", "flat"}, 2)
    assert values(neon, "image_type gain_e_per_adu pedestal_adu saturation_adu") == ("unknown", 1.74, -100, 65535)


def test_sdss_names_against_headers(frame_of):
    frame = frame_of("sdss-gri/reprojected_sdss_r.fits.bz2")
    names = "profile image_type calib_level filter telescope bunit night"
    assert values(frame, names) == ("sdss", "science", 2, "g", "SDSS 2.5m", "nanomaggy", "2000-09-26")
    # 02:50:45.01 TAI; TAI was 32 s ahead of UTC.
    assert frame.date_obs == "2000-09-27T02:50:13.010"
    assert frame.warnings == ("filter: the header says g, the name says r",)


def test_2mass_says_little_and_nothing_is_made_up(frame_of):
    frame = frame_of("2mass-jhk/gc_2mass_j.fits")
    assert values(frame, "image_type exposure_s filter telescope t_min has_wcs") == ("unknown", *(None,) * 4, True)


FOLDERS = ("2mass-jhk", "arcsat-2025-06-01", "feder", "lco", "prompt5-m1", "sdss-gri")


@pytest.mark.parametrize("folder", FOLDERS)
def test_pixels_agree_with_astropy(folder, shared_data, read):
    for path in sorted((shared_data / folder).iterdir())[::6]:
        for member in read(path, str(path.relative_to(shared_data))).members:
            for number, _ in member.frames:
                data, _ = read_pixels(path, "", number)
                with fits.open(path) as hdus:
                    wanted = np.squeeze(hdus[number].data).astype(np.float32)
                assert np.array_equal(data, wanted, equal_nan=True)
