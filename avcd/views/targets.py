"""Names of targets with their places, as rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from avcd.headers.targets import Target, key_of

Ask = Callable[[str], tuple[float, float] | None]


def look_up(
    names: Iterable[str], known: Mapping[str, Target], ask: Ask | None
) -> tuple[list[dict[str, Any]], dict[str, Target]]:
    """Where targets are.

    Parameters
    ----------
    known
        By `key_of` their names.
    ask
        For those that are not known; None: nobody is asked.

    Returns
    -------
    rows, new
        ``target_name``, ``s_ra``, ``s_dec``, ``source`` of every name; and the targets that were asked for.
    """
    rows: list[dict[str, Any]] = []
    new: dict[str, Target] = {}
    for name in dict.fromkeys(names):
        target = known.get(key_of(name)) or new.get(key_of(name))
        if target is None and ask is not None and (place := ask(name)) is not None:
            target = new[key_of(name)] = Target(name, *place, "Sesame")
        rows.append(
            {
                "target_name": name,
                "s_ra": None if target is None else target.ra_deg,
                "s_dec": None if target is None else target.dec_deg,
                "source": "" if target is None else target.source,
            }
        )
    return rows, new
