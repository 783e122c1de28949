"""One solved frame of an observation solves those that could not be solved alone: planned, made by the daemon, and settled."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from pictures import faint_stars, picture, write_picture
from scenes import world

from avcd.frame import ImageType, ProductFact, ProductKind, Wcs
from avcd.sky.reference import Tycho2
from homes import make_home, rows, run_until_idle
from test_planner import made, make_frame, of_kind, snapshot

SHAPE = (400, 500)
SCALE = 12.0


def facts(found, states):
    """What the catalogue knows once every planned product was made, reduced frames with these world coordinates."""
    wcs = {f"reduced:{frame}": state for frame, state in states.items()}
    return {
        one.id: ProductFact(one.id, one.kind, one.slot, one.status, wcs.get(one.slot, Wcs.NONE)) for one in found.specs
    }


@pytest.fixture
def frames():
    """Three lights ten minutes apart, delivered as calibrated."""
    return [
        make_frame(f"s{n}", ImageType.SCIENCE, 10.0 * n, filter="Red", calib_level=2, s_ra=10.0, s_dec=20.0,
                   pixel_scale_arcsec=1.0)
        for n in range(3)
    ]  # fmt: skip


def states_of(frames, *states):
    return dict(zip((one.id for one in frames), states, strict=True))


def borrowed(found) -> dict[str, str]:
    """Slot of each reduced frame that borrows stars, to the slot that it borrows them from."""
    slots = {one.id: one.slot for one in found.specs}
    return {
        one.slot: slots[ref.id]
        for one in of_kind(found, ProductKind.REDUCED)
        for ref in one.inputs
        if ref.role == "astrometry"
    }


def test_the_nearest_solved_frame_lends_its_stars_once_all_were_tried(frames):
    alone = made(snapshot(frames))
    known = facts(alone, states_of(frames, Wcs.SOLVED, Wcs.REFUSED, Wcs.SOLVED))
    frames[2] = make_frame("s2", ImageType.SCIENCE, 13.0, filter="Red", calib_level=2, s_ra=10.0, s_dec=20.0,
                           pixel_scale_arcsec=1.0)  # fmt: skip
    again = made(snapshot(frames, products=known))
    assert borrowed(again) == {f"reduced:{frames[1].id}": f"sources:{frames[2].id}"}
    assert len(again.specs) == len(alone.specs)
    stack = of_kind(again, ProductKind.STACK)[0]
    assert {ref.id for ref in stack.inputs} == {one.id for one in of_kind(again, ProductKind.REDUCED)}
    first = next(one for one in known.values() if one.slot == f"reduced:{frames[0].id}")
    assert not borrowed(made(snapshot(frames, products={k: v for k, v in known.items() if k != first.id})))


def test_what_comes_of_it_changes_the_plan_no_more(frames):
    states = states_of(frames, Wcs.SOLVED, Wcs.REFUSED, Wcs.NONE)
    known = facts(made(snapshot(frames)), states)
    again = made(snapshot(frames, products=known))
    assert len(borrowed(again)) == 2
    for outcome in (Wcs.SOLVED, Wcs.REFUSED):
        after = facts(again, states_of(frames, Wcs.SOLVED, outcome, outcome))
        assert made(snapshot(frames, products={**after, **known})) == again
    rejected = {one.id for one in of_kind(again, ProductKind.REDUCED)} - set(known)
    assert made(snapshot(frames, products=known, rejected=frozenset(rejected))).specs == made(snapshot(frames)).specs


@pytest.mark.parametrize("change", [{"s_ra": 40.0}, {"s_dec": -20.0}])
def test_a_frame_that_looks_elsewhere_lends_nothing(frames, change):
    frames[0] = make_frame("s0", ImageType.SCIENCE, 0.0, filter="Red", calib_level=2, pixel_scale_arcsec=1.0,
                           **{"s_ra": 10.0, "s_dec": 20.0, **change})  # fmt: skip
    known = facts(made(snapshot(frames)), states_of(frames, Wcs.SOLVED, Wcs.REFUSED, Wcs.REFUSED))
    assert not borrowed(made(snapshot(frames, products=known)))


def night_of(name: str, day: int, number: int = 2, **changes):
    """Lights of one night, delivered as calibrated."""
    return [
        make_frame(f"{name}{n}", ImageType.SCIENCE, 1440.0 * day + 10 * n, calib_level=2, pixel_scale_arcsec=1.0,
                   **{"filter": "Red", "s_ra": 10.0, "s_dec": 20.0, "obs_id": f"T20/{day}/m42", "night": f"2026-01-{15 + day}", **changes})
        for n in range(number)
    ]  # fmt: skip


def lent_by(nights, *states, **changes) -> dict[str, str]:
    """Who borrows from whom once every frame was tried alone."""
    frames = [one for some in nights for one in some]
    known = facts(made(snapshot(frames)), states_of(frames, *states))
    return borrowed(made(snapshot(frames, products=known, **changes)))


S, R = Wcs.SOLVED, Wcs.REFUSED


def test_a_night_without_a_solved_frame_borrows_from_the_nearest_night_before():
    nights = [night_of(name, day) for name, day in (("a", 0), ("b", 2), ("c", 5), ("d", 6))]
    found = lent_by(nights, S, S, S, S, R, R, S, S)
    assert found == {f"reduced:{one.id}": f"sources:{nights[1][0].id}" for one in nights[2]}
    # Only what came later is there: the first of it.
    found = lent_by(nights, R, R, R, R, S, S, S, S)
    assert set(found.values()) == {f"sources:{nights[2][0].id}"}
    assert len(found) == 4


def test_the_deepest_frame_of_a_night_lends_whatever_its_filter():
    nights = [night_of("a", 0, 3), night_of("b", 1, 1)]
    nights[0][1] = night_of("a", 0, 2, exposure_s=300.0, filter="Blue")[1]
    assert list(lent_by(nights, S, S, S, R).values()) == [f"sources:{nights[0][1].id}"]


def test_nights_that_look_elsewhere_or_at_who_knows_what_lend_nothing():
    unsolved = night_of("b", 1, 1)
    assert not lent_by([night_of("a", 0, s_ra=14.0), unsolved], S, S, R)
    nowhere = {"s_ra": None, "s_dec": None}
    assert lent_by([night_of("a", 0, **nowhere), unsolved], S, S, R)
    assert not lent_by([night_of("a", 0, target_name="M1", **nowhere), unsolved], S, S, R)


def test_the_next_lender_is_tried_where_the_first_is_of_no_help_and_then_no_more():
    nights = [night_of(name, day) for name, day in (("a", 0), ("b", 1), ("c", 2), ("d", 3))]
    nights.append(night_of("e", 4, 1))
    frames = [one for some in nights for one in some]
    states = states_of(frames, *[S] * 8, R)
    known = facts(made(snapshot(frames)), states)
    tried = []
    for _ in range(5):
        found = made(snapshot(frames, products=known))
        tried.append(borrowed(found)[f"reduced:{frames[-1].id}"])
        known |= facts(found, {**states, frames[-1].id: R})
    by = [f"sources:{nights[n][0].id}" for n in (3, 2, 1)]
    assert tried == [*by, by[0], by[0]]


def test_a_frame_of_its_own_night_comes_first_and_others_where_it_is_of_no_help():
    nights = [night_of("a", 0), night_of("b", 1)]
    frames = [one for some in nights for one in some]
    states = states_of(frames, S, S, S, R)
    known = facts(made(snapshot(frames)), states)
    found = made(snapshot(frames, products=known))
    assert borrowed(found) == {f"reduced:{frames[3].id}": f"sources:{frames[2].id}"}
    known |= facts(found, states)
    assert set(borrowed(made(snapshot(frames, products=known))).values()) == {f"sources:{frames[0].id}"}


def test_what_is_rejected_lends_nothing_and_what_borrowed_is_no_lender():
    nights = [night_of("a", 0, 1), night_of("b", 1, 1), night_of("c", 2, 1)]
    a, b, c = (one[0] for one in nights)
    assert lent_by(nights, S, R, R, rejected=frozenset({a.id})) == {}
    frames = [a, b, c]
    states = states_of(frames, S, R, R)
    known = facts(made(snapshot(frames)), states)
    known |= facts(made(snapshot(frames, products=known)), states_of(frames, S, S, R))
    found = borrowed(made(snapshot(frames, products=known)))
    assert set(found.values()) == {f"sources:{a.id}"}  # not b's, which is nearer in time


def test_the_daemon_solves_a_frame_by_its_sibling_and_comes_to_rest(tmp_path):
    home = make_home(tmp_path / "home", processing={"previews": False})
    bright = Tycho2().cone(84.0, 30.0, 1.5)
    faint = faint_stars(5, 84.0, 30.0, 1.7, 150)
    both = [
        np.concatenate(pair)
        for pair in zip((bright.ra_deg, bright.dec_deg, 10 ** (-0.4 * (bright.mag - 23.0))), faint, strict=True)
    ]
    truth = [world(84.0 + 0.05 * number, 30.0, SCALE, SHAPE, 2.0 + number, -1) for number in range(2)]
    # The second shows none of the stars that the catalogue has.
    for number, stars in enumerate((both, faint)):
        write_picture(home.path / "drop" / f"{number}.fits", picture(truth[number], stars, SHAPE, number), number,
                      RA=84.1, DEC=30.1, PIXSCALE=SCALE, CALSTAT="BDF")  # fmt: skip
    code, said = run_until_idle(home)
    assert code == 0, said
    reduced = [one for one in rows(home, "products") if one["kind"] == "reduced" and one["status"] == "final"]
    assert [one["wcs"] for one in reduced] == ["solved", "solved"]
    lent = [one for one in reduced if any(ref["role"] == "astrometry" for ref in one["inputs"])]
    assert len(lent) == 1
    with fits.open(home.archive / lent[0]["path"]) as hdus:
        found = WCS(hdus[0].header)
    x, y = np.array([0, 250, 499.0]), np.array([0, 200, 399.0])
    back = truth[1].all_world2pix(*found.all_pix2world(x, y, 0), 0)
    assert np.abs(np.array(back) - [x, y]).max() < 2.0
    jobs = rows(home, "jobs")
    assert run_until_idle(home)[0] == 0
    assert rows(home, "jobs") == jobs
    assert {one["status"] for one in rows(home, "products") if one["kind"] == "reduced"} == {"final", "superseded"}


def test_the_daemon_solves_a_night_by_another_whichever_was_taken_first(tmp_path):
    """Two nights of a field, each a call of the daemon; the first shows too few of the stars that the catalogue has."""
    home = make_home(tmp_path / "home", processing={"previews": False, "stacks": False})
    bright = Tycho2().cone(84.0, 30.0, 1.5)
    faint = faint_stars(5, 84.0, 30.0, 1.7, 150)
    both = [
        np.concatenate(pair)
        for pair in zip((bright.ra_deg, bright.dec_deg, 10 ** (-0.4 * (bright.mag - 23.0))), faint, strict=True)
    ]
    truth = [world(84.0 + 0.05 * number, 30.0, SCALE, SHAPE, 2.0 + number, -1) for number in range(2)]
    outcome = []
    for number, (stars, band) in enumerate(((faint, "R"), (both, "V"))):
        write_picture(
            home.path / "drop" / f"{number}.fits", picture(truth[number], stars, SHAPE, number),
            **{"DATE-OBS": f"2026-01-{15 + 2 * number}T22:00:00", "FILTER": band, "RA": 84.1, "DEC": 30.1, "PIXSCALE": SCALE,
               "CALSTAT": "BDF"},
        )  # fmt: skip
        code, said = run_until_idle(home)
        assert code == 0, said
        outcome.append({one["filter"]: one for one in rows(home, "products")
                        if one["kind"] == "reduced" and one["status"] == "final"})  # fmt: skip
    assert outcome[0]["R"]["wcs"] == "refused"
    assert {one["wcs"] for one in outcome[1].values()} == {"solved"}
    lender = [ref["id"] for ref in outcome[1]["R"]["inputs"] if ref["role"] == "astrometry"]
    sources = {one["id"]: one["filter"] for one in rows(home, "products") if one["kind"] == "sources"}
    assert [sources[one] for one in lender] == ["V"]
    with fits.open(home.archive / outcome[1]["R"]["path"]) as hdus:
        found = WCS(hdus[0].header)
    x, y = np.array([0, 250, 499.0]), np.array([0, 200, 399.0])
    back = truth[0].all_world2pix(*found.all_pix2world(x, y, 0), 0)
    assert np.abs(np.array(back) - [x, y]).max() < 2.0
    jobs = rows(home, "jobs")
    assert run_until_idle(home)[0] == 0
    assert rows(home, "jobs") == jobs
