"""Corrections in the catalogue, on both databases: the header stays, all that follows moves, readings do not undo them."""

from __future__ import annotations

import pytest

from avcd.association import load_rules
from avcd.catalog import Catalog
from avcd.catalog.models import frames
from avcd.config import Processing
from avcd.errors import UsageError
from avcd.frame import Card, Frame, ImageType, ProductKind
from avcd.headers.again import Translator
from avcd.headers.corrections import parse_correction
from avcd.headers.gathering import Hdu
from avcd.headers.profiles import load_profiles
from avcd.headers.translation import translate
from avcd.planner import plan
from avcd.recipes import load_recipes
from catalogue import digest, make_reading

TRANSLATOR = Translator(load_profiles(), {"drop": (None, None)})
CAMERA = "T1/FLI"


def a_frame(name: str, minute: int, path: str = "", profiles=TRANSLATOR.profiles, **cards: object) -> Frame:
    """A frame as it is read: its header says what ``cards`` say."""
    start = f"2026-01-15T{20 + minute // 60:02d}:{minute % 60:02d}:00"
    values = {
        "SIMPLE": True, "NAXIS": 2, "NAXIS1": 64, "NAXIS2": 48, "TELESCOP": "T1", "INSTRUME": "FLI", "EXPTIME": 5.0,
        "SET-TEMP": -20.0, "CCD-TEMP": -20.0, "XBINNING": 1, "YBINNING": 1, "DATE-OBS": start, "NAME": name, **cards,
    }  # fmt: skip
    listed = tuple(Card(key, value) for key, value in values.items() if value is not None)
    hdu = Hdu(digest(name), digest("pixels " + name), listed, (48, 64), is_table=False)
    return translate(hdu, path or f"{name}.fits", "", profiles)


def record(catalog: Catalog, *found: Frame) -> None:
    for one in found:
        name = next(card.value for card in one.cards if card.keyword == "NAME")
        catalog.record_reading("drop", make_reading(f"{name}.fits", one), 2880, 1, 1000.0)


def correct(catalog: Catalog, *found: Frame, who: str = "ada", withdraw: tuple[str, ...] = (), **values: str) -> int:
    parsed = dict(parse_correction(key.replace("_", "-"), text, TRANSLATOR.profiles) for key, text in values.items())
    ids = [one.id for one in found]
    return catalog.correct(ids, parsed, "the wheel stuck", who, 2000.0, TRANSLATOR, withdrawn=withdraw)


def whole(catalog: Catalog, frame: Frame) -> dict[str, object]:
    """Every column of a frame."""
    with catalog.read() as connection:
        return dict(connection.execute(frames.select().where(frames.c.id == frame.id)).mappings().one())


def planned(catalog: Catalog, camera: str = CAMERA):
    for group in catalog.open_groups():
        catalog.close_group(group.subject, group.members, "idle", 3000.0)
    found = plan(catalog.snapshot(camera), load_recipes(), load_rules(), Processing())
    catalog.apply_plan(found, "digest", catalog.unplanned(camera, "digest"))
    return found


def flats_of(found) -> dict[str, set[str]]:
    """The master flats planned: filter to the raw frames in each."""
    return {
        one.filter: {ref.id for ref in one.inputs if ref.role == "raw"}
        for one in found.specs
        if one.kind is ProductKind.MASTER_FLAT
    }


@pytest.fixture
def night(catalog):
    """Three flats in Ha whose header says R, three that are in R, biases, and a science frame in Ha."""
    made = {
        "bias": [a_frame(f"bias{one}", one, IMAGETYP="BIAS", EXPTIME=0.0) for one in range(3)],
        "wrong": [a_frame(f"wrong{one}", 10 + one, IMAGETYP="FLAT", FILTER="R") for one in range(3)],
        "red": [a_frame(f"red{one}", 20 + one, IMAGETYP="FLAT", FILTER="R") for one in range(3)],
        "light": [a_frame("light", 60, IMAGETYP="LIGHT", FILTER="Ha", OBJECT="M 42", EXPTIME=60.0)],
    }
    record(catalog, *(one for some in made.values() for one in some))
    return made


def ids(found) -> set[str]:
    return {one.id for one in found}


def test_flats_with_a_wrong_filter_are_corrected_and_the_right_master_flat_is_planned(catalog, night):
    before = planned(catalog)
    assert flats_of(before) == {"R": ids(night["wrong"]) | ids(night["red"])}
    assert catalog.cameras_to_plan("digest") == []
    headers = {one.id: whole(catalog, one)["cards"] for one in night["wrong"]}

    assert correct(catalog, *night["wrong"], FILTER="Ha") == 3
    assert catalog.cameras_to_plan("digest") == [CAMERA], "it is planned again at once"
    after = planned(catalog)
    assert flats_of(after) == {"R": ids(night["red"]), "Ha": ids(night["wrong"])}
    (reduced,) = [one for one in after.specs if one.kind is ProductKind.REDUCED]
    flat = next(one for one in after.specs if one.kind is ProductKind.MASTER_FLAT and one.filter == "Ha")
    assert {ref.role: ref.id for ref in reduced.inputs}["flat"] == flat.id
    assert "flat-ha" in flat.path
    assert {whole(catalog, one)["filter"] for one in night["wrong"]} == {"Ha"}
    assert {one.id: whole(catalog, one)["cards"] for one in night["wrong"]} == headers
    assert {whole(catalog, one)["header"]["FILTER"] for one in night["wrong"]} == {"R"}

    assert correct(catalog, *night["wrong"], withdraw=("filter",)) == 3
    assert planned(catalog) == before


def test_a_product_of_the_same_frames_is_made_again_when_only_its_label_was_wrong(catalog):
    """Every flat of the session was mislabelled: the frames of the master are the same, the master is not."""
    flats = [a_frame(f"flat{one}", one, IMAGETYP="FLAT", FILTER="R") for one in range(3)]
    record(catalog, *flats, *(a_frame(f"b{one}", 10 + one, IMAGETYP="BIAS", EXPTIME=0.0) for one in range(3)))
    (before,) = [one for one in planned(catalog).specs if one.kind is ProductKind.MASTER_FLAT]
    correct(catalog, *flats, FILTER="Ha")
    (after,) = [one for one in planned(catalog).specs if one.kind is ProductKind.MASTER_FLAT]
    assert {one.id for one in after.inputs} == {one.id for one in before.inputs}
    assert after.id != before.id
    assert f"{flats[0].id[:12]}: filter=Ha" in after.parameters["corrected"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"DATE_OBS": "2026-01-16T20:00:00"}, {"night": "2026-01-16", "obs_id": "t1/2026-01-16/m-42"}),
        ({"OBJECT": "M 43"}, {"target_name": "M 43", "obs_id": "t1/2026-01-15/m-43"}),
        ({"TELESCOP": "T2"}, {"camera": "T2/FLI", "obs_id": "t2/2026-01-15/m-42"}),
        ({"IMAGETYP": "dark"}, {"image_type": "dark", "obs_id": None, "filter": None}),
        ({"CALSTAT": "BDF"}, {"calib_level": 2, "calibration": ["bias", "dark", "flat"]}),
        ({"EXPTIME": "600", "FILTER": "g"}, {"exposure_s": 600.0, "filter": "g"}),
        ({"site": "concordia"}, {"site": "concordia", "night_rule": "site"}),
    ],
)
def test_what_follows_from_a_value_follows(catalog, night, values, expected):
    (light,) = night["light"]
    planned(catalog)
    correct(catalog, light, **values)
    row = whole(catalog, light)
    assert {name: row[name] for name in expected} == expected
    assert row["t_max"] - row["t_min"] == pytest.approx(row["exposure_s"] / 86400, abs=1e-9)
    assert CAMERA in catalog.cameras_to_plan("digest")
    assert row["camera"] in catalog.cameras_to_plan("digest")
    if row["obs_id"] != light.obs_id:
        open_now = {one.subject: one.members for one in catalog.open_groups()}
        assert open_now[light.obs_id] == (), "the observation it left is open again, without it"
        assert open_now[row["obs_id"] or row["session_id"]] == (light.id,)


def test_withdrawing_brings_every_value_back_and_the_history_stays(catalog, night):
    (light,) = night["light"]
    before = whole(catalog, light)
    correct(catalog, light, FILTER="R", OBJECT="M 43")
    assert correct(catalog, light, FILTER="g", who="grace") == 1
    assert correct(catalog, light, FILTER="g") == 0, "twice is once"
    row = catalog.frame_row(light.id)
    assert (row["filter"], row["sources"]["filter"]) == ("g", "correction by grace")
    correct(catalog, light, withdraw=("filter", "target_name"))
    assert whole(catalog, light) == before
    history = [
        (one["name"], one["before"], one["value"], one["who"], one["active"], one["withdrawn_by"])
        for one in catalog.frame_row(light.id)["corrections"]
    ]
    assert history == [
        ("filter", "Ha", "R", "ada", False, "grace"),
        ("target_name", "M 42", "M 43", "ada", False, "ada"),
        ("filter", "R", "g", "grace", False, "ada"),
    ]


def test_nothing_is_corrected_unless_all_is(catalog, night):
    before = [whole(catalog, one) for one in (*night["light"], *night["bias"])]
    with pytest.raises(UsageError, match="a bias has no filter"):
        correct(catalog, *night["light"], *night["bias"], FILTER="g")
    with pytest.raises(UsageError, match="no frame"):
        catalog.correct([night["light"][0].id, "f" * 64], {"filter": "g"}, "why", "ada", 1.0, TRANSLATOR)
    with pytest.raises(UsageError, match="is not corrected"):
        correct(catalog, *night["light"], OBJECT="M 1", withdraw=("filter",))
    assert [whole(catalog, one) for one in (*night["light"], *night["bias"])] == before
    assert catalog.frame_row(night["light"][0].id)["corrections"] == []


def test_a_frame_read_again_keeps_its_corrections(catalog, night):
    (light,) = night["light"]
    correct(catalog, light, FILTER="g")
    before = whole(catalog, light)
    record(catalog, light)
    catalog.record_reading("drop", make_reading("other/copy.fits", light, sha256=digest("copy")), 2880, 2, 1500.0)
    assert whole(catalog, light) == before
    assert catalog.translate_outdated(TRANSLATOR) == (0, 0)


def test_a_copy_whose_name_says_more_gives_what_was_not_corrected(catalog):
    """The header is blank; the first name says nothing, the second says target, filter and telescope."""
    telling = "raw-T20-ada-M45-20260115-190500-Red-BIN1-W-060-001.fit"
    poor = a_frame("poor", 60, TELESCOP=None, EXPTIME=60.0, IMAGETYP="LIGHT")
    rich = a_frame("poor", 60, telling, TELESCOP=None, EXPTIME=60.0, IMAGETYP="LIGHT")
    record(catalog, poor)
    correct(catalog, poor, FILTER="Blue")
    catalog.record_reading("drop", make_reading(telling, rich), 2880, 1, 1500.0)
    row = whole(catalog, poor)
    assert (row["filter"], row["target_name"]) == ("Blue", None), "never for a moment the header's filter"
    assert catalog.translate_outdated(TRANSLATOR) == (1, 1)
    assert catalog.translate_outdated(TRANSLATOR) == (0, 0)
    row = whole(catalog, poor)
    assert (row["filter"], row["target_name"], row["telescope"]) == ("Blue", "M45", "T20")
    record(catalog, poor)
    assert whole(catalog, poor) == row, "the poorer name changes nothing any more"
    correct(catalog, poor, withdraw=("filter",))
    catalog.record_reading("drop", make_reading(telling, rich), 2880, 1, 1500.0)
    expected = {"filter": "Red", "target_name": "M45", "telescope": "T20", "image_type": ImageType.SCIENCE}
    assert {name: whole(catalog, poor)[name] for name in expected} == expected


def test_a_product_that_came_back_is_not_corrected(catalog):
    product = a_frame("product", 1, IMAGETYP="LIGHT", AVCDID="abc")
    record(catalog, product)
    with pytest.raises(UsageError, match="the frames that it was made from"):
        correct(catalog, product, FILTER="g")


def home_with(path, text: str) -> Translator:
    (path / "instruments").mkdir(exist_ok=True)
    (path / "instruments" / "own.toml").write_text(text)
    return Translator(load_profiles(path), TRANSLATOR.drops)


OWN = 'inherits = "generic"\nversion = {version}\n[[match]]\ncards = {{ INSTRUME = "FLI" }}\n{more}'


def test_a_changed_profile_is_noticed_and_frames_come_out_as_if_read_anew(catalog, night, tmp_path):
    correct(catalog, *night["light"], OBJECT="M 43")
    planned(catalog)
    assert catalog.outdate(TRANSLATOR) == 10, "nothing is known of how they were read"
    assert catalog.outdate(TRANSLATOR) == 0
    assert catalog.translate_outdated(TRANSLATOR) == (10, 0), "and nothing came out otherwise"
    assert catalog.cameras_to_plan("digest") == []
    # Recognised by a profile that was not there; then the profile says something else, under the same version.
    for more, filter_name in (("", "R"), ('[filters]\n"R" = "Rc"\n', "Rc")):
        changed = home_with(tmp_path, OWN.format(version=1, more=more))
        assert catalog.outdate(changed) == 10
        assert catalog.outdate(changed) == 0
        looked = [catalog.translate_outdated(changed, 4)[0] for _ in range(4)]
        assert looked == [4, 4, 2, 0]
        assert catalog.cameras_to_plan("digest") == [CAMERA]
        expected = [
            a_frame(f"red{one}", 20 + one, profiles=changed.profiles, IMAGETYP="FLAT", FILTER="R") for one in range(3)
        ]
        found = {one.id: one for one in catalog.snapshot(CAMERA).frames}
        for one in expected:
            assert one.filter == filter_name
            assert found[one.id].profile == "own"
            assert found[one.id].session_id == one.session_id
            assert (found[one.id].filter, found[one.id].sources) == (one.filter, one.sources)
    assert found[night["light"][0].id].target_name == "M 43", "what was corrected stays so"
    assert catalog.outdate(TRANSLATOR) == 10, "the profile is gone"


def test_only_frames_of_the_changed_profile_are_translated_again(catalog, night, tmp_path):
    other = a_frame("other", 90, IMAGETYP="LIGHT", INSTRUME="SBIG", FILTER="R")
    record(catalog, other)
    first = home_with(tmp_path, OWN.format(version=1, more=""))
    catalog.outdate(first)
    while catalog.translate_outdated(first)[0]:
        pass
    second = home_with(tmp_path, OWN.format(version=2, more="[defaults]\nread_noise_e = 9.0\n"))
    assert catalog.outdate(second) == 10
    assert catalog.translate_outdated(second) == (10, 10)
    assert {one.read_noise_e for one in catalog.snapshot(CAMERA).frames} == {9.0}
    assert catalog.snapshot("T1/SBIG").frames[0].read_noise_e is None


def test_frames_of_another_home_are_left_to_it(catalog, night):
    elsewhere = Translator(TRANSLATOR.profiles, {"elsewhere": (None, None)})
    assert catalog.outdate(elsewhere, everything=True) == 0
    assert catalog.outdate(TRANSLATOR, everything=True) == 10
    assert catalog.translate_outdated(elsewhere) == (0, 0)
    assert catalog.translate_outdated(TRANSLATOR) == (10, 0)


def test_frames_of_an_older_catalogue_learn_their_name(catalog):
    telling = "raw-T20-ada-M45-20260115-190500-Red-BIN1-W-060-001.fit"
    rich = a_frame("poor", 60, telling, TELESCOP=None, EXPTIME=60.0, IMAGETYP="LIGHT")
    catalog.record_reading("drop", make_reading("a.fits", rich), 2880, 1, 1.0)
    catalog.record_reading("drop", make_reading(f"night/{telling}", rich), 2880, 1, 1.0)
    catalog.write(lambda connection: connection.execute(frames.update().values(read_root=None, read_path=None)))
    before = whole(catalog, rich)
    assert catalog.outdate(TRANSLATOR) == 1
    assert catalog.translate_outdated(TRANSLATOR) == (1, 0)
    after = whole(catalog, rich)
    assert (after["read_root"], after["read_path"]) == ("drop", f"night/{telling}")
    assert {**after, "read_root": None, "read_path": None} == before


def test_a_header_that_is_not_understood_leaves_the_frame_as_it_was(catalog, night, monkeypatch, caplog):
    def fails(*_arguments, **_options):
        raise ValueError("no")

    monkeypatch.setattr("avcd.headers.again.translate", fails)
    before = whole(catalog, night["light"][0])
    catalog.outdate(TRANSLATOR, everything=True)
    assert catalog.translate_outdated(TRANSLATOR) == (10, 0)
    assert "stays as it was" in caplog.text
    assert whole(catalog, night["light"][0]) == before
