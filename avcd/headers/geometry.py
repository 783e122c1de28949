"""Where the pixels are: on the detector, and on the sky."""

from __future__ import annotations

import math
import re
from functools import lru_cache

from avcd.errors import ProcessingError
from avcd.frame import Card, ImageType
from avcd.headers.gathering import Found, Gathered
from avcd.headers.sites import Site
from avcd.headers.values import to_degrees, to_number
from avcd.pointing import Place, airmass
from avcd.sections import Section

_ARCSEC_IN_RADIAN = 206264.806
_MOST_BINNED = 64
_NO_MOSAIC = ("no", "none", "mono", "monochrome", "0", "false")
_HOURS = re.compile(r"\bh(?:ou)?rs?\b|\bhms\b|\bHH\b|[\[(]h\b", re.IGNORECASE)
_DEGREES = re.compile(r"\bdeg(?:rees?)?\b|°", re.IGNORECASE)
_RADIANS = re.compile(r"\brad(?:ians?)?\b", re.IGNORECASE)
_DIGIT = re.compile("[1-9]")
_BINNING = re.compile(r"^\s*(\d{1,2})\s*(?:[x*, ]\s*(\d{1,2}))?\s*$")


def read_detector(gathered: Gathered) -> None:
    """Size, binning and window. Cubes and spectra are catalogued as such, and a warning says that they are left alone."""
    gathered.put("detector", gathered.hdu.detector, "structure")
    shape = gathered.hdu.shape
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) == 2:
        gathered.put("naxis2", shape[0], "structure")
        gathered.put("naxis1", shape[1], "structure")
    elif not gathered.hdu.is_table:
        size = "x".join(map(str, reversed(shape)))
        axes = "axis" if len(shape) == 1 else "axes"
        kind = "cube" if len(shape) > 2 else "spectrum"
        gathered.warnings.append(f"{kind}: {len(shape)} {axes}, {size}; not processed as an image")
        gathered.replace("image_type", ImageType.CUBE if len(shape) > 2 else ImageType.SPECTRUM, "structure")
    _read_binning(gathered)
    window = [gathered.number(key) for key in ("XORGSUBF", "YORGSUBF")]
    if window[0] is not None and window[1] is not None:
        gathered.put("window", f"{int(window[0])},{int(window[1])}", "cards XORGSUBF, YORGSUBF")
    bayer = gathered.card("bayer_pattern")
    if bayer and str(bayer[0].value).strip().lower() not in _NO_MOSAIC:
        gathered.warnings.append(f"{bayer[0].keyword}={bayer[0].value!r}: a colour camera's mosaic of filters")


def _read_binning(gathered: Gathered) -> None:
    for first, second in (("XBINNING", "YBINNING"), ("CCDBIN1", "CCDBIN2")):
        across, along = gathered.number(first), gathered.number(second)
        if across is not None and 1 <= across <= _MOST_BINNED and (along is None or 1 <= along <= _MOST_BINNED):
            gathered.put("binning", f"{int(across)}x{int(along or across)}", f"cards {first}, {second}")
            return
    for card, _ in gathered.found_cards("binning"):
        found = _BINNING.match(str(card.value))
        if found and int(found.group(1)) > 0:
            gathered.put("binning", f"{found.group(1)}x{found.group(2) or found.group(1)}", f"card {card.keyword}")


def read_sections(gathered: Gathered) -> None:
    """Where the overscan is, and the part to keep: what is no part of this image is passed over, with a warning.

    Cameras write sections of zeros or words where they know none, and of unbinned pixels beside binned ones.
    """
    naxis1, naxis2 = gathered.values.get("naxis1"), gathered.values.get("naxis2")
    if naxis1 is None or naxis2 is None:
        return
    for name in ("overscan_section", "trim_section"):
        for card, reading in gathered.found_cards(name):
            text = str(card.value).strip()
            if not _DIGIT.search(text):
                continue
            try:
                section = Section.parse(text)
            except ProcessingError:
                gathered.warnings.append(f"{card.keyword}={text!r} is no part of an image: it is not used")
                continue
            if section.fits(naxis1, naxis2):
                if section.shape != (naxis2, naxis1):
                    gathered.put(name, str(section), reading.source)
                break
            size = f"{naxis1} x {naxis2}"
            gathered.warnings.append(f"{card.keyword}={text!r} reaches beyond these {size} pixels: it is not used")


def read_site(gathered: Gathered) -> None:
    """The site and its longitude, by which the night is named; the header's longitude wins over the site's.

    The site is the profile's, else the drop directory's, else the one the header names, else where the telescope is
    known to stand, unless the header's longitude says that it was moved.
    """
    known, source = _known_site(gathered)
    found = gathered.card("site_longitude")
    longitude = to_degrees(found[0].value, _angle_unit(found, "deg")) if found else None
    if found and longitude is not None and -360 <= longitude <= 360:
        longitude -= 360 * round(longitude / 360)
        keyword = found[0].keyword
        apart = abs(longitude - known.longitude_deg) if known else 0.0
        if known and abs(longitude + known.longitude_deg) < 1 < apart:
            gathered.warnings.append(f"{keyword}={found[0].value!r} counts west as positive; {known.name}'s is taken")
        else:
            gathered.put("site_longitude_deg", longitude, f"card {keyword}")
            if known and 1 < apart < 359:
                by_name = "the telescope is known to stand" if source == "telescope" else f"the {source} puts it"
                gathered.warnings.append(f"{keyword}={found[0].value!r} is not at {known.name}, where {by_name}")
                if source == "telescope":
                    known, source = gathered.profiles.site_near(longitude), found[1].source
    if known:
        gathered.put("site", known.name, source)
        gathered.put("site_longitude_deg", known.longitude_deg, f"site {known.name}")
    gathered.place = _place(gathered, known)


def _place(gathered: Gathered, known: Site | None) -> Place | None:
    """Where the telescope stands: as the header says, where it gives both angles, else as the site does."""
    longitude = gathered.values.get("site_longitude_deg")
    if known and longitude == known.longitude_deg:
        return Place(known.longitude_deg, known.latitude_deg)
    found = gathered.card("site_latitude")
    latitude = to_degrees(found[0].value, _angle_unit(found, "deg")) if found else None
    if latitude is None and known:
        latitude = known.latitude_deg
    if longitude is None or latitude is None or not -90 <= latitude <= 90:
        return None
    return Place(longitude, latitude)


def _known_site(gathered: Gathered) -> tuple[Site | None, str]:
    profiles = gathered.profiles
    named = gathered.values.get("site")
    if named:
        return profiles.site(named), gathered.sources["site"]
    if gathered.site:
        return profiles.site(gathered.site), "drop directory"
    for card, _ in gathered.found_cards("site"):
        called = profiles.site_called(str(card.value))
        if called:
            return called, f"card {card.keyword}"
    return profiles.site_of(gathered.values.get("telescope")), "telescope"


def _angle_unit(found: Found, default: str) -> str:
    """The unit of an angle: the profile's, unless the comment says hours, degrees or radians."""
    return _unit_said(found[0].comment, found[1].unit or default)


@lru_cache(maxsize=256)
def _unit_said(comment: str, unit: str) -> str:
    if unit not in ("deg", "hour_or_deg"):
        return unit
    if _RADIANS.search(comment):
        return "rad"
    return "hour" if unit == "hour_or_deg" and _HOURS.search(comment) else unit


def read_position(gathered: Gathered) -> None:
    """Where the telescope pointed, and whether world coordinates came with the frame."""
    cards = gathered.cards
    world = str(cards["CTYPE1"].value).upper() if "CTYPE1" in cards else ""
    # Sequence Generator Pro writes CTYPE and CRVAL without any scale: that is no world coordinate system.
    scaled = bool(world) and any(gathered.number(key) for key in ("CD1_1", "CD1_2", "CDELT1"))
    gathered.put("has_wcs", scaled and world.startswith(("RA", "DEC")) and "CRVAL1" in cards, "cards CTYPE1, CRVAL1")
    for right, up in _pairs(gathered):
        if _put_position(gathered, right, up):
            break
    if "s_ra" not in gathered.values and gathered.values.get("has_wcs") and world.startswith("RA"):
        ra, dec = gathered.number("CRVAL1"), gathered.number("CRVAL2")
        if ra is not None and dec is not None:
            gathered.put("s_ra", ra % 360, "card CRVAL1")
            gathered.put("s_dec", dec, "card CRVAL2")


def read_target(gathered: Gathered) -> None:
    """Where the home says that a target is, for a science frame that does not say where it points."""
    if "s_ra" in gathered.values or gathered.values.get("image_type") is not ImageType.SCIENCE:
        return
    target = gathered.profiles.target(gathered.values.get("target_name"))
    if target is not None:
        source = f"{target.source}, by its name"
        gathered.put("s_ra", target.ra_deg, source)
        gathered.put("s_dec", target.dec_deg, source)


def read_airmass(gathered: Gathered) -> None:
    """The airmass in the middle of a science frame's exposure, where its header does not say it."""
    values = gathered.values
    known = all(values.get(name) is not None for name in ("s_ra", "s_dec", "t_min"))
    if "airmass" in values or gathered.place is None or not known or values.get("image_type") is not ImageType.SCIENCE:
        return
    middle = (values["t_min"] + values.get("t_max", values["t_min"])) / 2
    found = airmass(values["s_ra"], values["s_dec"], middle, gathered.place)
    gathered.put("airmass", None if found is None else round(found, 4), "pointing, site and time")


def _pairs(gathered: Gathered) -> list[tuple[Found, Found]]:
    """Right ascension and declination of the same rank in the profile; failing that, the best of each."""
    rights, ups = gathered.found_cards("s_ra"), gathered.found_cards("s_dec")
    if not rights or not ups:
        return []
    of_rank = {up[1].rank: up for up in ups}
    pairs = [(right, of_rank[right[1].rank]) for right in rights if right[1].rank in of_rank]
    return pairs or [(rights[0], ups[0])]


def _put_position(gathered: Gathered, right: Found, up: Found) -> bool:
    ra_card, dec_card = right[0], up[0]
    keys = f"{ra_card.keyword}, {dec_card.keyword}"
    unit = _angle_unit(right, "hour_or_deg")
    ra, dec = to_degrees(ra_card.value, unit), to_degrees(dec_card.value, _angle_unit(up, "deg"))
    if ra is None or dec is None or not (0 <= ra <= 360 and -90 <= dec <= 90):
        gathered.warnings.append(f"{keys}: no position: {ra_card.value!r}, {dec_card.value!r}")
        return False
    if ra == 0 and dec == 0:
        gathered.warnings.append(f"{keys} are both zero: taken as unknown")
        return False
    if unit == "hour_or_deg" and ra < 24 and not _DEGREES.search(ra_card.comment):
        ra = _hours_or_degrees(gathered, ra_card, ra)
        if ra is None:
            return False
    gathered.put("s_ra", ra % 360, f"card {ra_card.keyword}")
    gathered.put("s_dec", dec, f"card {dec_card.keyword}")
    return True


def _hours_or_degrees(gathered: Gathered, card: Card, ra: float) -> float | None:
    """A plain right ascension below 24 whose unit nothing says: what the world coordinates bear out, else unknown."""
    if to_number(card.value) is None:
        return ra
    world = gathered.number("CRVAL1") if gathered.values.get("has_wcs") else None
    for degrees in (ra, ra * 15):
        if world is not None and abs((degrees - world + 180) % 360 - 180) < 2:
            return degrees
    gathered.warnings.append(f"{card.keyword}={card.value!r}: hours or degrees? Taken as unknown")
    return None


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
