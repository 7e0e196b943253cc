"""Standard errors, intervals, and when more resamples would not change them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["EPSILON", "bounds", "fewest_draws", "is_settled", "quantiles", "spreads"]

EPSILON = 0.05  # mean relative change below which values have settled


UNBIASED = 0.375  # plotting position of unbiased quantiles of normal draws (Blom 1958)


def quantiles(values: np.ndarray, level: float, n_averaged: int = 1) -> np.ndarray:
    """Lower and upper end of the middle `level` of draws, along the first axis; shape (2, ...).

    The k-th smallest of r draws is taken for the quantile of k / (r + 1), so that another draw
    falls between the ends with the probability `level` (Hyndman and Fan 1996, type 6) as soon as
    there are enough of them; the usual interpolation makes intervals of few draws too short.

    That is wider than the true quantiles, to make up for the chance in the ends. Of ends that are
    averaged over several sets of draws there is less chance, so that these come nearer to unbiased
    quantiles (type 9), the more sets there are: the k-th smallest is the quantile of
    (k - a) / (r + 1 - 2 a) with a = 3/8 (1 - 1 / n_averaged).
    """
    n, tail = len(values), (1.0 - level) / 2
    a = UNBIASED * (1.0 - 1.0 / n_averaged)
    rank = tail * (n + 1 - 2 * a) + a
    low = min(max((rank - 1) / max(n - 1, 1), 0.0), 0.5)
    return np.quantile(values, [low, 1.0 - low], axis=0)


def fewest_draws(level: float) -> int:
    """Draws of which the outermost are the ends of an interval; with fewer, ends are too near."""
    return int(np.ceil(2.0 / (1.0 - level) - 1e-9)) - 1


def spreads(values: np.ndarray) -> np.ndarray:
    """Standard deviations of draws, along the first axis."""
    return np.std(values, axis=0, ddof=1)


def bounds(draws: Sequence[np.ndarray], level: float) -> np.ndarray:
    """Quantiles of the draws of several subsets, averaged over subsets; shape (2, ...)."""
    return np.mean([quantiles(values, level, len(draws)) for values in draws], axis=0)


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
