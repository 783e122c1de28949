"""A picture's place on the sky and what it shows, as an XMP packet in the Astronomy Visualization Metadata 1.2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

import numpy as np
from astropy.wcs import WCS
from astropy.wcs.utils import wcs_to_celestial_frame

_PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
    ' <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
    '  <rdf:Description rdf:about="" xmlns:avm="http://www.communicatingastronomy.org/avm/1.0/" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/">\n'
    "{body}"
    "  </rdf:Description>\n"
    " </rdf:RDF>\n"
    "</x:xmpmeta>\n"
    '<?xpacket end="r"?>'
)
_FRAMES = {"icrs": "ICRS", "fk5": "FK5", "fk4": "FK4", "galactic": "GAL", "ecliptic": "ECL"}


def sky_tags(wcs: WCS | None, shape: tuple[int, int], offset: tuple[int, int] = (0, 0)) -> dict[str, object]:
    """The tags that place a picture on the sky; none without world coordinates.

    Parameters
    ----------
    wcs
        Of the image, celestial; its distortions cannot be told and are left out.
    shape
        Of the picture, (ny, nx), with a caption if it has one.
    offset
        By how many pixels the image lies right of and above the picture's lower left corner.
    """
    if wcs is None:
        return {}
    matrix = np.asarray(wcs.pixel_scale_matrix)
    hand = 1.0 if np.linalg.det(matrix) > 0 else -1.0
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0])) * hand, float(np.hypot(matrix[0, 1], matrix[1, 1]))
    rotation = float(np.degrees(np.arctan2(-matrix[0, 1], matrix[1, 1])))
    x, y = (float(one) for one in wcs.wcs.crpix)
    frame = _FRAMES.get(wcs_to_celestial_frame(wcs).name, "ICRS")
    return {
        "Spatial.CoordinateFrame": frame,
        "Spatial.Equinox": f"{wcs.wcs.equinox:g}" if np.isfinite(wcs.wcs.equinox) else "2000",
        "Spatial.ReferenceValue": [_number(one) for one in wcs.wcs.crval],
        "Spatial.ReferenceDimension": [str(shape[1]), str(shape[0])],
        "Spatial.ReferencePixel": [_number(x + offset[0]), _number(y + offset[1])],
        "Spatial.Scale": [_number(one) for one in scale],
        "Spatial.Rotation": _number(rotation),
        "Spatial.CoordsystemProjection": str(wcs.wcs.ctype[0])[5:8],
        "Spatial.Quality": "Full",
    }


def content_tags(
    target: str | None, telescope: str | None, bands: Sequence[str], colours: Sequence[str], nm: Sequence[float | None]
) -> dict[str, object]:
    """The tags that say what a picture shows: its target, telescope, and each filter with its colour and wavelength."""
    return {
        "MetadataVersion": "1.2",
        "Type": "Observation",
        "Subject.Name": [target] if target else [],
        "Facility": [telescope or "-"] * len(bands),
        "Spectral.Band": ["-"] * len(bands),
        "Spectral.Bandpass": list(bands),
        "Spectral.ColorAssignment": [one.capitalize() for one in colours],
        "Spectral.CentralWavelength": ["-" if one is None else _number(one) for one in nm],
    }


def packet(tags: Mapping[str, object]) -> str:
    """Tags as an XMP packet; empty ones are left out."""
    lines = []
    for name, value in tags.items():
        if not value:
            continue
        if isinstance(value, list):
            kind = "Bag" if name == "Subject.Name" else "Seq"
            key = "dc:subject" if name == "Subject.Name" else f"avm:{name}"
            items = "".join(f"<rdf:li>{escape(str(one))}</rdf:li>" for one in value)
            lines.append(f"   <{key}><rdf:{kind}>{items}</rdf:{kind}></{key}>\n")
        else:
            lines.append(f"   <avm:{name}>{escape(str(value))}</avm:{name}>\n")
    return _PACKET.format(body="".join(lines))


def _number(value: float) -> str:
    return f"{float(value):.12g}"
