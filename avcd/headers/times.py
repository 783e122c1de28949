"""When a frame was exposed, in UTC, and which night that was."""

from __future__ import annotations

from avcd.errors import HeaderError
from avcd.headers.gathering import Gathered
from avcd.headers.values import iso_of_mjd, night_of, to_mjd, to_number

# Beyond the exposure, what two clocks of one header may differ by.
_CLOCKS_AGREE_S = 60.0


def read_times(gathered: Gathered) -> None:
    """Start and end of the exposure, and the night by the site's longitude, else by Greenwich."""
    found = _moment(gathered)
    if found is None:
        return
    mjd, keyword, moment = found
    exposure = gathered.values.get("exposure_s")
    if moment != "start":
        if exposure is None:
            gathered.warnings.append(f"{keyword} is the {moment} of an exposure of unknown length")
            return
        mjd -= exposure / 86400 * (0.5 if moment == "middle" else 1.0)
    _compare(gathered, mjd, keyword, exposure or 0.0)
    source = f"card {keyword}"
    gathered.put("t_min", mjd, source)
    gathered.put("t_max", mjd + exposure / 86400 if exposure is not None else None, source)
    gathered.put("date_obs", iso_of_mjd(mjd), source)
    longitude = gathered.values.get("site_longitude_deg")
    rule = "utc" if longitude is None else "site"
    gathered.put("night", night_of(mjd, longitude), f"t_min, {rule} noon to noon")
    gathered.put("night_rule", rule, "site_longitude_deg")


def _moment(gathered: Gathered) -> tuple[float, str, str] | None:
    """The first date that means a moment, its card, and which moment; what is wrong with the others is a warning."""
    cards = gathered.cards
    scale = str(cards["TIMESYS"].value).strip().lower() if "TIMESYS" in cards else "utc"
    clock = gathered.card("time_obs")
    wrong: list[str] = []
    for card, reading in gathered.found_cards("date_obs"):
        moment = reading.moment or gathered.profile.date_obs
        number = to_number(card.value)
        try:
            if number is None:
                text, time_text = str(card.value), str(clock[0].value) if clock else None
                said = f"{card.comment}; {clock[0].keyword} {clock[0].comment}" if clock else card.comment
                return to_mjd(text, time_text, scale, said), card.keyword, moment
            # A Julian date, or a modified one.
            mjd = number - 2400000.5 if number > 2400000.5 else number
            return to_mjd(f"MJD {mjd!r}", None, scale), card.keyword, moment
        except HeaderError as error:
            wrong.append(f"{card.keyword}: {error}")
    if "DATE-LOC" in cards and not wrong:
        wrong.append("DATE-LOC is local time, in a zone that is not said; no card gives UTC")
    gathered.warnings += wrong
    return None


def _compare(gathered: Gathered, mjd: float, keyword: str, exposure_s: float) -> None:
    """Notice a second clock of the header that says something else, such as local time."""
    other = gathered.number("MJD-OBS")
    second = "MJD-OBS"
    if other is None:
        other, second = gathered.number("JD"), "JD"
        other = None if other is None else other - 2400000.5
    if other is None or second == keyword or not 0 < other < 1e6:
        return
    apart = abs(other - mjd) * 86400
    if apart > exposure_s + _CLOCKS_AGREE_S:
        hours = f"{apart / 3600:.2f} h" if apart > 600 else f"{apart:.0f} s"
        gathered.warnings.append(f"{keyword} and {second} are {hours} apart; {keyword} is taken")
