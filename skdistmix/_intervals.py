"""Standard errors, intervals, and when more resamples would not change them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["EPSILON", "bounds", "fewest_draws", "is_settled", "quantiles", "spreads"]

EPSILON = 0.05  # mean relative change below which values have settled


def quantiles(values: np.ndarray, level: float) -> np.ndarray:
    """Lower and upper end of the middle `level` of draws, along the first axis; shape (2, ...).

    The k-th smallest of r draws is taken for the quantile of k / (r + 1), so that another draw
    falls between the ends with the probability `level` (Hyndman and Fan 1996, type 6) as soon as
    there are enough of them; the usual interpolation makes intervals of few draws too short.
    """
    tail = (1.0 - level) / 2
    return np.quantile(values, [tail, 1.0 - tail], axis=0, method="weibull")


def fewest_draws(level: float) -> int:
    """Draws of which the outermost are the ends of an interval; with fewer, ends are too near."""
    return int(np.ceil(2.0 / (1.0 - level) - 1e-9)) - 1


def spreads(values: np.ndarray) -> np.ndarray:
    """Standard deviations of draws, along the first axis."""
    return np.std(values, axis=0, ddof=1)


def bounds(draws: Sequence[np.ndarray], level: float) -> np.ndarray:
    """Quantiles of the draws of several subsets, averaged over subsets; shape (2, ...)."""
    return np.mean([quantiles(values, level) for values in draws], axis=0)


def is_settled(values: Sequence[np.ndarray], window: int) -> bool:
    """Whether the last value hardly differs from each of the `window` before it.

    The rule of Kleiner et al. (2014, section 4.4): the mean of |last - earlier| / |last| over
    entries is at most 0.05 for all of them.
    """
    if len(values) <= window:
        return False
    last = values[-1]
    size = np.where(last == 0, 1.0, np.abs(last))
    changes = [np.mean(np.abs(last - value) / size) for value in values[-window - 1 : -1]]
    return max(changes) <= EPSILON
