"""Image arithmetic: frame with frame, or frame with number; masks and uncertainties carried."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from avcd.errors import ProcessingError
from avcd.frame import MaskBit
from avcd.reduction.planes import MaskedImage

OPERATIONS: dict[str, Callable[..., np.ndarray]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
}


def calculate(first: MaskedImage, operation: str, second: MaskedImage | float) -> MaskedImage:
    """One frame with another, or with a number.

    Parameters
    ----------
    first : MaskedImage, shape (ny, nx)
        Not changed.
    operation
        "add", "subtract", "multiply" or "divide".
    second : MaskedImage of the same shape, or float
        A frame is taken to be independent of the first. A number is exact; in sums it is of the first frame's unit, in
        products and quotients without unit.

    Returns
    -------
    MaskedImage
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
    if isinstance(second, MaskedImage):
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
    return replace(
        first,
        data=np.where(broken, 0, data).astype(np.float32),
        unit=unit,
        mask=mask,
        uncertainty=None if sigma is None else sigma.astype(np.float32),
    )


def _unit(first: MaskedImage, operation: str, second: MaskedImage | float) -> str:
    if not isinstance(second, MaskedImage):
        return first.unit
    if operation in ("multiply", "divide"):
        if not second.unit:
            return first.unit
        import astropy.units as u  # longer in loading than frames in multiplying

        one, other = (u.Unit(text, parse_strict="silent") for text in (first.unit, second.unit))
        return str(one * other if operation == "multiply" else one / other)
    if first.unit != second.unit:
        raise ProcessingError(
            f"a frame in {first.unit or 'no unit'} and one in {second.unit or 'no unit'} cannot be {operation}ed"
        )
    return first.unit


def _masks(first: MaskedImage, second: MaskedImage | float) -> np.ndarray | None:
    planes = [one.mask for one in (first, second) if isinstance(one, MaskedImage) and one.mask is not None]
    return np.bitwise_or.reduce([np.asarray(one, dtype=np.uint16) for one in planes]) if planes else None


def _uncertainty(
    first: MaskedImage, operation: str, second: MaskedImage | float, a: np.ndarray, b: np.ndarray | float
) -> np.ndarray | None:
    """One standard deviation of the result."""
    if first.uncertainty is None:
        return None
    mine = np.asarray(first.uncertainty, dtype=np.float64)
    theirs: np.ndarray | float = 0.0
    if isinstance(second, MaskedImage):
        if second.uncertainty is None:
            return None
        theirs = np.asarray(second.uncertainty, dtype=np.float64)
    if operation == "multiply":
        return np.asarray(np.hypot(b * mine, a * theirs))
    if operation == "divide":
        return np.asarray(np.hypot(mine / b, a * theirs / np.square(b)))
    return np.asarray(np.hypot(mine, theirs))
