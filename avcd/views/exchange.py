"""Rows as VOTable or FITS, for other astronomers' programs: columns with units, UCDs and descriptions."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO

Row = Mapping[str, Any]
# key: unit, UCD (IVOA UCD1+ 1.5), description. ObsCore's names and UCDs where it has the column.
_ABOUT: dict[str, tuple[str, str, str]] = {
    "id": ("", "meta.id;meta.main", "identity: a hash of the content"),
    "obs_id": ("", "meta.id", "observation"),
    "image_type": ("", "meta.code.class", "kind of frame"),
    "calib_level": ("", "meta.code;obs.calib", "ObsCore: 1 raw, 2 calibrated, 3 combined"),
    "telescope": ("", "meta.id;instr.tel", "telescope"),
    "instrument": ("", "meta.id;instr", "camera"),
    "detector": ("", "meta.id;instr.det", "detector of a camera of several"),
    "exposure_id": ("", "meta.id.assoc", "first frame of an exposure of several"),
    "target_name": ("", "meta.id;src", "target"),
    "filter": ("", "meta.id;instr.filter", "filter"),
    "exposure_s": ("s", "time.duration;obs.exposure", "exposure"),
    "t_min": ("d", "time.start;obs.exposure", "start of the exposure, MJD UTC"),
    "t_max": ("d", "time.end;obs.exposure", "end of the exposure, MJD UTC"),
    "date_obs": ("", "time.start", "start of the exposure, ISO 8601 UTC"),
    "night": ("", "time.epoch", "evening date of the night"),
    "s_ra": ("deg", "pos.eq.ra;meta.main", "right ascension of the centre, ICRS"),
    "s_dec": ("deg", "pos.eq.dec;meta.main", "declination of the centre, ICRS"),
    "ccd_temperature_c": ("deg_C", "phys.temperature", "temperature of the sensor"),
    "set_temperature_c": ("deg_C", "phys.temperature", "set-point of the cooling"),
    "gain_e_per_adu": ("electron / adu", "arith.factor;instr.det", "conversion"),
    "read_noise_e": ("electron", "instr.det.noise", "read noise"),
    "saturation_adu": ("adu", "instr.saturation", "saturation level"),
    "pixel_scale_arcsec": ("arcsec", "phys.angSize;instr.pixel", "scale of a pixel"),
    "airmass": ("", "obs.airMass", "airmass"),
    "fwhm_px": ("pix", "instr.obsty.seeing", "median width of star images"),
    "fwhm_arcsec": ("arcsec", "instr.obsty.seeing", "median width of star images"),
    "naxis1": ("pix", "pos.wcs.naxis", "width"),
    "naxis2": ("pix", "pos.wcs.naxis", "height"),
    "size": ("byte", "phys.size;meta.file", "size of the file"),
    "path": ("", "meta.id;meta.file", "path below the root"),
    "sha256": ("", "meta.checksum", "SHA-256 of the bytes"),
    "status": ("", "meta.code.status", "status"),
    "warnings": ("", "meta.note", "what was noticed, as JSON"),
}


def write_votable(rows: Iterable[Row], stream: BinaryIO, every: Sequence[str], chosen: Sequence[str] | None) -> int:
    """Write rows as VOTable 1.4 (IVOA); returns how many. All rows are held in memory.

    Parameters
    ----------
    every
        The keys of these rows, which an empty table has too.
    chosen
        The keys to write, in this order; None: all.

    Raises
    ------
    KeyError
        A chosen key is in no row; nothing was written.
    """
    from astropy.io.votable import from_table

    table, ucds = _table(rows, every, chosen)
    votable = from_table(table)
    for field in votable.get_first_table().fields:
        if ucds.get(field.name):
            field.ucd = ucds[field.name]
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # units that VOTable's old list does not know are written all the same
        votable.to_xml(content)
    stream.write(content.getvalue())
    return len(table)


def write_fits(rows: Iterable[Row], stream: BinaryIO, every: Sequence[str], chosen: Sequence[str] | None) -> int:
    """Write rows as a FITS binary table, text beyond ASCII as escapes; see `write_votable`."""
    from astropy.io import fits

    table, ucds = _table(rows, every, chosen, ascii_only=True)
    for name in table.colnames:
        unit = table[name].unit
        if unit is not None and "electron" in str(unit):  # which FITS does not list as a unit
            table[name].description += f" [{unit}]"
            table[name].unit = None
    hdu = fits.table_to_hdu(table)
    for number, name in enumerate(table.colnames, 1):
        hdu.header[f"TCOMM{number}"] = table[name].description
        if ucds.get(name):
            hdu.header[f"TUCD{number}"] = ucds[name]
    content = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(content, checksum=True)
    stream.write(content.getvalue())
    return len(table)


def _table(
    rows: Iterable[Row], every: Sequence[str], chosen: Sequence[str] | None, *, ascii_only: bool = False
) -> tuple[Any, dict[str, str]]:
    """An astropy table, and the columns' UCDs."""
    from astropy.table import Table

    held = list(rows)
    keys = list(chosen or (held[0] if held else every))
    if held:
        for key in keys:
            held[0][key]
    table = Table()
    for key in keys:
        unit, _, description = _ABOUT.get(key, ("", "", ""))
        column = _column([row[key] for row in held], ascii_only)
        table[key] = column
        table[key].description = description or key.replace("_", " ")
        if unit and column.dtype.kind in "fiu":
            table[key].unit = unit
    return table, {key: _ABOUT[key][1] for key in keys if key in _ABOUT}


def _column(values: list[Any], ascii_only: bool) -> Any:
    """One column: numbers where all are numbers, else text; what is not known is masked (text: empty)."""
    import numpy as np
    from astropy.table import MaskedColumn

    known = [one for one in values if one is not None]
    missing = np.array([one is None for one in values], bool)
    if known and all(isinstance(one, bool) for one in known) and len(known) == len(values):
        return MaskedColumn(np.array(values, bool))
    if known and all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in known):
        whole = all(isinstance(one, int) for one in known)
        filler: Any = 0 if whole else np.nan
        filled = np.array([filler if one is None else one for one in values], np.int64 if whole else np.float64)
        return MaskedColumn(filled, mask=missing)
    texts = ["" if one is None else one if isinstance(one, str) else json.dumps(one) for one in values]
    if ascii_only:
        texts = [one.encode("ascii", "backslashreplace").decode() for one in texts]
    return MaskedColumn(np.array(texts or [], dtype=f"U{max([1, *map(len, texts)])}"))
