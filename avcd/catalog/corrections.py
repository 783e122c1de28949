"""Values that observers correct: facts of their own beside the header, which stays as it was read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, and_, insert, select, update

from avcd.catalog.models import corrections, frames
from avcd.catalog.session import fetch
from avcd.catalog.translating import Translating, translate_frames
from avcd.errors import UsageError
from avcd.headers.again import Translator
from avcd.headers.corrections import check_effect


class Corrections(Translating):
    """The part of the catalogue that says what headers should have said."""

    def correct(
        self,
        ids: Sequence[str],
        values: Mapping[str, Any],
        reason: str,
        who: str,
        now: float,
        translator: Translator,
        *,
        withdrawn: Iterable[str] = (),
    ) -> int:
        """Correct values of some frames, all or none; all that follows from them is derived anew, and planned again.

        A value that stands corrected so already stays so, with its first reason.

        Parameters
        ----------
        ids
            Whole ids of frames.
        values
            By name, as `avcd.headers.corrections.parse_correction` gives them; None: not known.
        withdrawn
            Names of values whose corrections are withdrawn: the header counts again.

        Returns
        -------
        int
            How many corrections were made or withdrawn.

        Raises
        ------
        UsageError
            There is no such frame, a frame does not take such a value, or a value is not corrected that should be.
        """
        withdrawn = tuple(withdrawn)

        def work(connection: Connection) -> int:
            count = 0
            for id in sorted(set(ids)):
                row = _frame(connection, id, [*values, *withdrawn])
                for name in withdrawn:
                    if not _withdraw(connection, id, name, reason, who, now):
                        raise UsageError(f"{name} of frame {id[:12]} is not corrected")
                    count += 1
                for name, value in sorted(values.items()):
                    count += _correct(connection, row, name, value, reason, who, now)
            for frame in translate_frames(connection, ids, translator)[0].values():
                check_effect(frame, values)
            return count

        return self.write(work)


def corrections_of(connection: Connection, id: str) -> list[dict[str, Any]]:
    """Every correction of a frame that was ever made, in order."""
    rows = fetch(connection, select(corrections).where(corrections.c.frame == id).order_by(corrections.c.id))
    return [{key: value for key, value in row.items() if key not in ("id", "frame")} for row in rows]


def _frame(connection: Connection, id: str, names: Iterable[str]) -> dict[str, Any]:
    columns = [frames.c[name] for name in dict.fromkeys(("id", "product_id", *names))]
    rows = fetch(connection, select(*columns).where(frames.c.id == id).with_for_update())
    if not rows:
        raise UsageError(f"there is no frame {id}")
    if rows[0]["product_id"] is not None:
        raise UsageError(f"frame {id[:12]} is avcd's own product: correct the frames that it was made from")
    return rows[0]


def _correct(
    connection: Connection, row: Mapping[str, Any], name: str, value: Any, reason: str, who: str, now: float
) -> bool:
    """Write one correction, in the place of any before; returns whether it is another one."""
    holding = select(corrections.c.value).where(_active(row["id"], name))
    before = connection.execute(holding).first()
    if before is not None and before.value == value:
        return False
    if before is not None:
        _withdraw(connection, row["id"], name, reason, who, now)
    new = {"frame": row["id"], "name": name, "value": value, "before": row[name], "who": who, "corrected_at": now}
    connection.execute(insert(corrections).values(**new, reason=reason, active=True))
    return True


def _withdraw(connection: Connection, id: str, name: str, reason: str, who: str, now: float) -> bool:
    """Let the header count again; returns whether there was a correction."""
    values = {"active": False, "withdrawn_by": who, "withdrawn_at": now, "withdrawn_reason": reason}
    return connection.execute(update(corrections).where(_active(id, name)).values(**values)).rowcount > 0


def _active(id: str, name: str) -> Any:
    return and_(corrections.c.frame == id, corrections.c.name == name, corrections.c.active)
