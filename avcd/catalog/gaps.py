"""What lacks a calibration: the science frames and sessions for which planning found none, counted by what they need.

One statement for the frames and one for the sessions, each over the rows of `association` that lack something, which an
index holds; what is alike in everything that a calibration must agree on is put together.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Double, Numeric, and_, cast, func, literal_column, null, or_, select

from avcd.catalog.filters import Filters, frame_conditions
from avcd.catalog.models import associations, cameras, frames
from avcd.catalog.session import Database
from avcd.frame import ImageType

Row = dict[str, Any]
KINDS = ("bias", "dark", "flat")
# What the calibrations of one camera may have to agree on with a frame.
SETTINGS = (
    "telescope", "instrument", "detector", "naxis1", "naxis2", "window", "binning", "gain", "offset", "readout_mode",
)  # fmt: skip
ABOUT = ("image_type", *SETTINGS, "filter", "exposure_s", "temperature_c", "has_time", *KINDS)


class Gaps(Database):
    """The part of the catalogue that says which calibrations are missing."""

    def lacking(self, **filters: Any) -> list[Row]:
        """What lacks a calibration, as of the last plan.

        Parameters
        ----------
        filters
            Those of lists of frames: ``telescope``, ``target``, ``filter``, ``night``, ``since``, ``until``.

        Returns
        -------
        list of dict
            One for all that are alike: ``image_type`` is "science" for frames, "flat" for sessions of flats; the settings
            by name; ``filter``, ``exposure_s`` (of a session the median), ``temperature_c`` (set-point, else measured to
            1 °C), ``has_time``; ``bias``, ``dark``, ``flat``: whether there is none. ``members`` are triples of the
            observation or session, its night, and the number of frames.
        """
        chosen = Filters.parse(filters, default_sort="t_min")
        alike: dict[tuple[Any, ...], dict[tuple[Any, ...], int]] = {}
        with self.read() as connection:
            conditions = frame_conditions(connection, chosen)
            for statement in (_of_frames(conditions), _of_sessions(conditions)):
                # Counted here: a database sorts the rows by all of twenty columns for it.
                for row in connection.execute(statement):
                    of = alike.setdefault(row[:-3], {})
                    of[row[-3:-1]] = of.get(row[-3:-1], 0) + row[-1]
        return [
            {**dict(zip(ABOUT, key, strict=True)), "members": sorted(((*one, of[one]) for one in of), key=str)}
            for key, of in sorted(alike.items(), key=lambda item: str(item[0]))
        ]

    def cameras_behind(self) -> list[str]:
        """The cameras whose facts changed since they were planned: what is said of them is as of then."""
        behind = or_(cameras.c.planned_revision.is_(None), cameras.c.planned_revision != cameras.c.revision)
        with self.read() as connection:
            return sorted(connection.execute(select(cameras.c.name).where(behind)).scalars())


def _lacks(kind: str) -> Any:
    """Whether nothing was found; what was chosen and waits for another kind is no gap of its own."""
    missing = associations.c.missing[kind].as_string().is_not(None)
    return and_(missing, associations.c[kind].is_(None))


def _temperature() -> Any:
    # As a decimal number halves are rounded alike by both databases.
    measured = cast(func.round(cast(frames.c.ccd_temperature_c, Numeric(18, 6))), Double)
    return func.coalesce(frames.c.set_temperature_c, measured)


def _about() -> list[Any]:
    """What decides which calibrations serve a frame, in the order of `ABOUT`."""
    about = [frames.c[name].label(name) for name in ("image_type", *SETTINGS, "filter", "exposure_s")]
    about += [_temperature().label("temperature_c"), frames.c.t_min.is_not(None).label("has_time")]
    return about + [_lacks(kind).label(kind) for kind in KINDS]


def _of_frames(conditions: list[Any]) -> Any:
    # No condition on the image type, which might make SQLite begin with the frames: a session's id is no frame's.
    about = [*_about(), frames.c.obs_id, frames.c.night, literal_column("1")]
    found = select(*about).join(associations, associations.c.id == frames.c.id)
    return found.where(associations.c.missing.is_not(null()), *conditions)


def _of_sessions(conditions: list[Any]) -> Any:
    """Flats without a bias, each session by the frame of its median exposure.

    Darks without one keep their bias and are made; flats that have one are made, if not with the best there could be.
    """
    without = and_(associations.c.missing.is_not(null()), associations.c.bias.is_(None))
    lacking = select(associations.c.subject).where(without)
    size = func.count().over(partition_by=frames.c.session_id)
    place = func.row_number().over(partition_by=frames.c.session_id, order_by=(frames.c.exposure_s, frames.c.id))
    members = (
        select(frames.c.id, frames.c.session_id, size.label("size"), place.label("place"))
        .where(frames.c.session_id.in_(lacking), frames.c.image_type == ImageType.FLAT, *conditions)
        .subquery()
    )
    middle = (2 * members.c.place - members.c.size).in_((0, 1))
    about = [*_about(), frames.c.session_id, frames.c.night, members.c.size]
    joined = select(*about).join(members, members.c.id == frames.c.id)
    return joined.join(associations, associations.c.subject == members.c.session_id).where(middle, without)
