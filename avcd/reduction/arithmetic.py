"""Image arithmetic: frame with frame, or frame with number; masks and uncertainties carried."""

from __future__ import annotations

import operator
from collections.abc import Callable

import astropy.units as u
import numpy as np
from astropy import nddata
from astropy.nddata import StdDevUncertainty

from avcd.errors import ProcessingError
from avcd.frame import MaskBit
from avcd.reduction.planes import CCDData

OPERATIONS: dict[str, Callable[..., np.ndarray]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
}


def calculate(first: CCDData, operation: str, second: CCDData | float) -> CCDData:
    """One frame with another, or with a number.

    Parameters
    ----------
    first : CCDData, shape (ny, nx)
        Not changed.
    operation
        "add", "subtract", "multiply" or "divide".
    second : CCDData of the same shape, or float
        A frame is taken to be independent of the first. A number is exact; in sums it is of the first frame's unit, in
        products and quotients without unit.

    Returns
    -------
    CCDData
        float32; masks OR-ed; uncertainties of independent values, None where a frame's is not known. Pixels that come
        out as no finite number (division by zero) are zero and masked NON_FINITE. Units multiply and divide.

    Raises
    ------
    ProcessingError
        The shapes differ, or units that do not add up.
    ValueError
        Unknown operation.
    """
    if operation not in OPERATIONS:
        raise ValueError(f"{operation!r} is none of {tuple(OPERATIONS)}")
    a = np.asarray(first.data, dtype=np.float64)
    b: np.ndarray | float
    if isinstance(second, nddata.CCDData):
        if first.data.shape != second.data.shape:
            raise ProcessingError(f"frames of different sizes: {first.data.shape} and {second.data.shape}")
        b = np.asarray(second.data, dtype=np.float64)
    else:
        b = float(second)
    unit = _unit(first, operation, second)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        data = OPERATIONS[operation](a, b)
        sigma = _uncertainty(first, operation, second, a, b)
    mask = _masks(first, second)
    limit = np.finfo(np.float32).max
    broken = ~(np.abs(data) <= limit)
    if sigma is not None:
        broken |= ~(sigma <= limit)
        sigma = np.where(broken, 0, sigma)
    if broken.any():
        mask = np.zeros(data.shape, np.uint16) if mask is None else mask
        mask[broken] |= np.uint16(MaskBit.NON_FINITE)
    return CCDData(
        np.where(broken, 0, data).astype(np.float32),
        unit=unit,
        mask=mask,
        uncertainty=None if sigma is None else StdDevUncertainty(sigma.astype(np.float32)),
        meta=first.meta,
        wcs=first.wcs,
    )


def _unit(first: CCDData, operation: str, second: CCDData | float) -> u.UnitBase:
    if not isinstance(second, nddata.CCDData):
        return first.unit
    if operation == "multiply":
        return first.unit * second.unit
    if operation == "divide":
        return first.unit / second.unit
    if first.unit != second.unit:
        raise ProcessingError(
            f"a frame in {first.unit or 'no unit'} and one in {second.unit or 'no unit'} cannot be {operation}ed"
        )
    return first.unit


def _masks(first: CCDData, second: CCDData | float) -> np.ndarray | None:
    planes = [one.mask for one in (first, second) if isinstance(one, nddata.CCDData) and one.mask is not None]
    return np.bitwise_or.reduce([np.asarray(one, dtype=np.uint16) for one in planes]) if planes else None


def _uncertainty(
    first: CCDData, operation: str, second: CCDData | float, a: np.ndarray, b: np.ndarray | float
) -> np.ndarray | None:
    """One standard deviation of the result."""
    if first.uncertainty is None:
        return None
    mine = np.asarray(first.uncertainty.array, dtype=np.float64)
    theirs: np.ndarray | float = 0.0
    if isinstance(second, nddata.CCDData):
        if second.uncertainty is None:
            return None
        theirs = np.asarray(second.uncertainty.array, dtype=np.float64)
    if operation == "multiply":
        return np.asarray(np.hypot(b * mine, a * theirs))
    if operation == "divide":
        return np.asarray(np.hypot(mine / b, a * theirs / np.square(b)))
    return np.asarray(np.hypot(mine, theirs))
