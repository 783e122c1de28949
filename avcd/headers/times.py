"""When a frame was exposed, in UTC, and which night that was."""

from __future__ import annotations

from avcd.errors import HeaderError
from avcd.headers.gathering import Gathered
from avcd.headers.values import iso_of_mjd, night_of, to_mjd, to_number


def read_times(gathered: Gathered) -> None:
    """Start and end of the exposure, and the night by the site's longitude, else by Greenwich."""
    found = _moment(gathered)
    if found is None:
        return
    mjd, keyword = found
    exposure = gathered.values.get("exposure_s")
    meaning = gathered.profile.date_obs
    if meaning != "start":
        if exposure is None:
            gathered.warnings.append(f"{keyword} is the {meaning} of an exposure of unknown length")
            return
        mjd -= exposure / 86400 * (0.5 if meaning == "middle" else 1.0)
    source = f"card {keyword}"
    gathered.put("t_min", mjd, source)
    gathered.put("t_max", mjd + exposure / 86400 if exposure is not None else None, source)
    gathered.put("date_obs", iso_of_mjd(mjd), source)
    longitude = gathered.values.get("site_longitude_deg")
    rule = "utc" if longitude is None else "site"
    gathered.put("night", night_of(mjd, longitude), f"t_min, {rule} noon to noon")
    gathered.put("night_rule", rule, "site_longitude_deg")


def _moment(gathered: Gathered) -> tuple[float, str] | None:
    """The first date that means a moment, and its card; what is wrong with the others is a warning."""
    scale = str(gathered.cards["TIMESYS"].value).strip().lower() if "TIMESYS" in gathered.cards else "utc"
    clock = gathered.card("time_obs")
    wrong: list[str] = []
    for card, _ in gathered.found_cards("date_obs"):
        number = to_number(card.value)
        try:
            text = f"MJD {number!r}" if number is not None else str(card.value)
            return to_mjd(text, str(clock[0].value) if clock else None, scale), card.keyword
        except HeaderError as error:
            wrong.append(f"{card.keyword}: {error}")
    gathered.warnings += wrong
    return None
