"""Rows by the hundred: what SQLAlchemy itself would have written, on both databases."""

from sqlalchemy import insert, select

from avcd.catalog.among import among
from avcd.catalog.bulk import execute_many, insert_many
from avcd.catalog.models import frames, job_inputs, jobs
from avcd.catalog.rows import frame_to_row
from avcd.catalog.types import JsonText
from catalogue import make_frame

ODD = "a\0b\udcff 'quoted' \"%(name)s\" {x} ümläut \\ \n"


def test_rows_are_those_that_sqlalchemy_writes(catalog):
    made = [make_frame("a", t_min=None, gain=float("nan")), make_frame("b", target_name=ODD, warnings=(ODD,))]
    rows = [{**frame_to_row(one), "first_seen": 1.5, "read_path": "d\udcff/x.fits"} for one in made]
    rows[0]["cards"] = JsonText('[["A", 1, ""]]')  # beside what is no text yet
    found = []
    for write in (
        lambda connection: connection.execute(insert(frames), rows),
        lambda connection: insert_many(connection, frames, rows),
        lambda connection: execute_many(connection, frames, BY_ROW, rows),
    ):
        catalog.write(write)
        with catalog.read() as connection:
            found.append([tuple(row) for row in connection.execute(select(frames).order_by(frames.c.id))])
        catalog.write(lambda connection: connection.execute(frames.delete()))
    assert len(found[0]) == 2
    assert found[1] == found[0]
    assert found[2] == found[0]


BY_ROW = insert(frames)


def test_columns_that_are_not_named_have_their_defaults(catalog):
    of_job = {"id": "j", "camera": "c", "subject": "s", "kind": "reduced", "state": "ready", "slot": "x", "digest": "d"}
    catalog.write(lambda connection: execute_many(connection, jobs, OF_JOBS, [of_job]))
    inputs = [{"job": "j", "position": one, "role": "light", "id": str(one), "origin": "frame"} for one in range(3)]
    catalog.write(lambda connection: insert_many(connection, job_inputs, inputs))
    with catalog.read() as connection:
        row = connection.execute(select(jobs)).one()
        assert (row.id, row.attempts, row.priority, row.reason) == ("j", 0, 0, "")
        assert [one.id for one in connection.execute(select(job_inputs.c.id).order_by(job_inputs.c.position))] == [
            "0",
            "1",
            "2",
        ]


OF_JOBS = insert(jobs)


def test_nothing_is_nothing(catalog):
    catalog.write(lambda connection: insert_many(connection, frames, []))
    assert list(catalog.frames()) == []


def test_one_of_many_values_is_what_a_list_would_find(catalog):
    names = ["a", "with 'quotes' and \"others\"", "{b,c}", "NULL", "\\", " ", ODD]
    made = [make_frame(str(number), target_name=one) for number, one in enumerate([*names, "none of them", None])]
    rows = [{**frame_to_row(one), "first_seen": 1.5} for one in made]
    catalog.write(lambda connection: insert_many(connection, frames, rows))
    named = select(frames.c.id).where(among(frames.c.target_name, "names"))
    with catalog.read() as connection:
        for some in (names, names[:3], names[-1:], []):
            expected = set(connection.execute(select(frames.c.id).where(frames.c.target_name.in_(some))).scalars())
            assert len(expected) == len(some)
            chosen = select(frames.c.id).where(among(frames.c.target_name, some))
            assert set(connection.execute(chosen).scalars()) == expected
            assert set(connection.execute(named, {"names": some}).scalars()) == expected
            others = select(frames.c.id).where(~among(frames.c.target_name, some))
            without_name = 0 if not some else 1  # of nothing, NULL is no part either
            found = set(connection.execute(others).scalars())
            assert len(found) == len(made) - len(some) - without_name
