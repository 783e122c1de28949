"""Where the pixels are: on the detector, and on the sky."""

from __future__ import annotations

import math
import re

from avcd.frame import Card, ImageType
from avcd.headers.gathering import Gathered
from avcd.headers.profiles import Profiles
from avcd.headers.values import to_degrees, to_number

_ARCSEC_IN_RADIAN = 206264.806
_MOST_BINNED = 64
_BINNING = re.compile(r"^\s*(\d{1,2})\s*(?:[x*, ]\s*(\d{1,2}))?\s*$")


def read_detector(gathered: Gathered, shape: tuple[int, ...], is_table: bool) -> None:
    """Size, binning and window. A cube is no image: its type is unknown, and a warning says why."""
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) == 2:
        gathered.put("naxis2", shape[0], "structure")
        gathered.put("naxis1", shape[1], "structure")
    elif not is_table:
        size = "x".join(map(str, reversed(shape)))
        axes = "axis" if len(shape) == 1 else "axes"
        kind = "cube" if len(shape) > 2 else "spectrum"
        gathered.warnings.append(f"{kind}: {len(shape)} {axes}, {size}; not processed as an image")
        gathered.replace("image_type", ImageType.UNKNOWN, "structure")
    _read_binning(gathered)
    window = [gathered.number(key) for key in ("XORGSUBF", "YORGSUBF")]
    if window[0] is not None and window[1] is not None:
        gathered.put("window", f"{int(window[0])},{int(window[1])}", "cards XORGSUBF, YORGSUBF")
    bayer = gathered.card("bayer_pattern")
    if bayer:
        gathered.warnings.append(f"{bayer[0].keyword}={bayer[0].value!r}: a colour camera's mosaic of filters")


def _read_binning(gathered: Gathered) -> None:
    across, along = gathered.number("XBINNING"), gathered.number("YBINNING")
    if across is not None and 1 <= across <= _MOST_BINNED and (along is None or 1 <= along <= _MOST_BINNED):
        gathered.put("binning", f"{int(across)}x{int(along or across)}", "cards XBINNING, YBINNING")
    for card, _ in gathered.found_cards("binning"):
        found = _BINNING.match(str(card.value))
        if found and int(found.group(1)) > 0:
            gathered.put("binning", f"{found.group(1)}x{found.group(2) or found.group(1)}", f"card {card.keyword}")


def read_site(gathered: Gathered, profiles: Profiles, site: str | None) -> None:
    """The site and its longitude, by which the night is named; the header's longitude wins over the site's."""
    name = gathered.values.get("site") or site
    known = profiles.site(name) if name else profiles.site_of(gathered.values.get("telescope"))
    found = gathered.card("site_longitude")
    longitude = to_degrees(found[0].value, found[1] or "deg") if found else None
    if found and longitude is not None and -360 <= longitude <= 360:
        longitude -= 360 * round(longitude / 360)
        keyword = found[0].keyword
        if known and abs(longitude + known.longitude_deg) < 1 < abs(longitude - known.longitude_deg):
            gathered.warnings.append(f"{keyword}={found[0].value!r} counts west as positive; {known.name}'s is taken")
        else:
            gathered.put("site_longitude_deg", longitude, f"card {keyword}")
    if known:
        source = "telescope" if not name else "profile" if gathered.values.get("site") else "drop directory"
        gathered.put("site", known.name, source)
        gathered.put("site_longitude_deg", known.longitude_deg, f"site {known.name}")


def read_position(gathered: Gathered) -> None:
    """Where the telescope pointed, and whether world coordinates came with the frame."""
    cards = gathered.cards
    world = str(cards["CTYPE1"].value).upper() if "CTYPE1" in cards else ""
    # Sequence Generator Pro writes CTYPE and CRVAL without any scale: that is no world coordinate system.
    scaled = any(gathered.number(key) for key in ("CD1_1", "CD1_2", "CDELT1"))
    gathered.put("has_wcs", world.startswith(("RA", "DEC")) and "CRVAL1" in cards and scaled, "cards CTYPE1, CRVAL1")
    right, up = gathered.card("s_ra"), gathered.card("s_dec")
    if right and up:
        _put_position(gathered, right, up)
    if "s_ra" not in gathered.values and gathered.values.get("has_wcs") and world.startswith("RA"):
        ra, dec = gathered.number("CRVAL1"), gathered.number("CRVAL2")
        if ra is not None and dec is not None:
            gathered.put("s_ra", ra % 360, "card CRVAL1")
            gathered.put("s_dec", dec, "card CRVAL2")


def _put_position(gathered: Gathered, right: tuple[Card, str], up: tuple[Card, str]) -> None:
    keys = f"{right[0].keyword}, {up[0].keyword}"
    unit = right[1] or "hour_or_deg"
    if unit == "hour_or_deg" and re.match(r"\s*\[?(h|hours?|HH)\b", right[0].comment):
        unit = "hour"
    ra, dec = to_degrees(right[0].value, unit), to_degrees(up[0].value, up[1] or "deg")
    if ra is None or dec is None or not (0 <= ra <= 360 and -90 <= dec <= 90):
        gathered.warnings.append(f"{keys}: no position: {right[0].value!r}, {up[0].value!r}")
    elif ra == 0 and dec == 0:
        gathered.warnings.append(f"{keys} are both zero: taken as unknown")
    else:
        gathered.put("s_ra", ra % 360, f"card {right[0].keyword}")
        gathered.put("s_dec", dec, f"card {up[0].keyword}")


def read_scale(gathered: Gathered) -> None:
    """Arc seconds a pixel: by a card, the world coordinates, or pixel size over focal length."""
    found = gathered.card("pixel_scale_arcsec")
    number = to_number(found[0].value) if found else None
    if found and number and number > 0:
        gathered.put("pixel_scale_arcsec", number, f"card {found[0].keyword}")
    if gathered.values.get("has_wcs"):
        first, second = gathered.number("CD1_1"), gathered.number("CD2_1")
        if first is not None or second is not None:
            scale = math.hypot(first or 0.0, second or 0.0) * 3600
            gathered.put("pixel_scale_arcsec", scale or None, "cards CD1_1, CD2_1")
        gathered.put("pixel_scale_arcsec", abs(gathered.number("CDELT1") or 0.0) * 3600 or None, "card CDELT1")
    pixel, length = gathered.card("pixel_size_um"), gathered.card("focal_length_mm")
    size, focal = (to_number(one[0].value) if one else None for one in (pixel, length))
    if pixel and length and size and focal and size > 0 and focal > 0:
        # The pixel's size counts binning already (SBFITSEXT, XPIXSZ: "after binning").
        scale = _ARCSEC_IN_RADIAN * size / 1000 / focal
        gathered.put("pixel_scale_arcsec", scale, f"cards {pixel[0].keyword}, {length[0].keyword}")
