"""A straight line through points some of which may be far off."""

from __future__ import annotations

import numpy as np

__all__ = ["LINES", "slope_of"]

MAX_ITER, ACCURACY = 20, 1e-4  # those of rlm in R's MASS
NORMAL_MAD = 0.6745  # median absolute deviation of a standard normal variable, as rlm rounds it


def _huber(u: np.ndarray) -> np.ndarray:
    """Weights of Huber (1964), with 95 % efficiency at the normal distribution."""
    return 1.345 / np.maximum(np.abs(u), 1.345)


def _bisquare(u: np.ndarray) -> np.ndarray:
    """Weights of Beaton and Tukey (1974), with 95 % efficiency at the normal distribution."""
    return (1 - np.minimum(1, np.abs(u) / 4.685) ** 2) ** 2


#: Weights of standardised residuals by the name of the regression.
LINES = {"bisquare": _bisquare, "huber": _huber, "least-squares": None}


def slope_of(x: np.ndarray, y: np.ndarray, regression: str) -> float:
    """Slope of an M-estimate of a line, by iteratively reweighted least squares.

    It starts from least squares; in each iteration the scale is the median absolute residual. This
    and when it ends are as in ``rlm`` of R's MASS (Venables and Ripley 2002, section 6.5).
    """
    weights_of = LINES[regression]
    slope, residuals = _weighted_line(x, y, np.ones(len(x)))
    if weights_of is None or len(x) == 2:
        return slope
    for _ in range(MAX_ITER):
        scale = np.median(np.abs(residuals)) / NORMAL_MAD
        # More than half of the points lie on the line: what is left is rounding.
        if scale <= 1e-14 * np.abs(y).max():
            return slope
        before = residuals
        slope, residuals = _weighted_line(x, y, weights_of(residuals / scale))
        change = ((before - residuals) ** 2).sum() / max(1e-20, (before**2).sum())
        if change <= ACCURACY**2:
            break
    return slope


def _weighted_line(x, y, w) -> tuple[float, np.ndarray]:
    """Slope of the line of weighted least squares, and the residuals."""
    total = w.sum()
    x, y = x - w @ x / total, y - w @ y / total
    slope = float((w * x) @ y / ((w * x) @ x))
    return slope, y - slope * x
