"""When EM has come far enough: by the change of the mean, or by the total still to gain."""

from __future__ import annotations

import numpy as np

__all__ = ["LIKELIHOOD_TOL", "StoppingRule", "remaining_gain"]

LIKELIHOOD_TOL = 0.03  # total log-likelihood still to gain at which tol="likelihood" stops
IN_A_ROW = 5  # times that the estimate must be below: early in a fit gains dip and rise again
CYCLE = 3  # accelerated steps that all must be small: a step after a bold one may be so by chance
WINDOW = 6  # accelerated iterations that together gain less than this: time to check
PLAIN_STEPS = 20  # iterations of a check: the fast part of what accelerated steps left dies out


class StoppingRule:
    """Follows the objective of a run of EM.

    With ``tol="likelihood"`` the estimate of what is still to gain is taken from plain steps of EM
    only, whose gains shrink regularly. An accelerated run therefore makes some plain steps when its
    own gain little, and goes on if these promise more.

    Parameters
    ----------
    tol : float or "likelihood"
    accelerated : bool
    """

    def __init__(self, tol: float | str, accelerated: bool):
        self.tol, self.accelerated = tol, accelerated
        self.path: list[float] = []  # mean objectives of the points that EM went on from
        self._plain_from = 0  # where in it the last plain steps began
        self._prolonged_from = 0  # where the accelerated ones began
        self._checking = False

    def add(self, objective: float, weight: float, prolonged: bool) -> None:
        """The mean objective of the next point, and how it was reached."""
        self.weight = weight
        self.path.append(objective)
        if prolonged:
            self._plain_from = len(self.path) - 1
        if self.tol != "likelihood" or not self.accelerated:
            return
        if self._checking and self._n_plain > PLAIN_STEPS + IN_A_ROW and not self.is_over:
            self._checking, self._prolonged_from = False, len(self.path)
        elif not self._checking and len(self.path) - self._prolonged_from > WINDOW:
            gain = self.path[-1] - self.path[-1 - WINDOW]
            self._checking = gain * weight < LIKELIHOOD_TOL

    @property
    def wants_plain_steps(self) -> bool:
        """Whether the next step should be one of plain EM."""
        return self._checking

    @property
    def is_over(self) -> bool:
        """Whether the run is to end."""
        if self.tol != "likelihood":
            last = np.diff(self.path[-CYCLE - 1 :] if self.accelerated else self.path[-2:])
            enough = len(last) == (CYCLE if self.accelerated else 1)
            return enough and bool(np.all(np.abs(last) < self.tol))
        if self._plain_from > 0 and self._n_plain < PLAIN_STEPS:  # there was a prolonged step
            return False
        return all(self._estimate(back) < LIKELIHOOD_TOL for back in range(IN_A_ROW))

    @property
    def gap(self) -> float:
        """Estimate of the total objective that is still to gain."""
        estimate = self._estimate(0)
        if self.accelerated and np.isinf(estimate):  # too few plain steps at the end to tell
            estimate = remaining_gain(self.path[-3:], self.weight)
        return estimate

    @property
    def _n_plain(self) -> int:
        return len(self.path) - self._plain_from

    def _estimate(self, back: int) -> float:
        return remaining_gain(self.path[self._plain_from : len(self.path) - back], self.weight)


def remaining_gain(values: list, weight: float) -> float:
    """Total log-likelihood that a linearly converging sequence of means is still to gain.

    Aitken's extrapolation, used for EM by Boehning et al. (1994): with the last two gains
    g1 and g2 and the rate r = g2 / g1, what remains is g2 r / (1 - r).

    Parameters
    ----------
    values : list of float
        Mean log-likelihoods of successive iterations.
    weight : float
        Sum of row weights, turns means into totals.

    Returns
    -------
    float
        Infinity while gains are not shrinking or fewer than two are known.
    """
    if len(values) < 2:
        return np.inf
    rounding = 1e-12 * max(1.0, abs(values[-1]))  # sums of many rows carry more than one ulp
    last = values[-1] - values[-2]
    if abs(last) <= rounding:
        return 0.0
    if len(values) < 3:
        return np.inf
    before = values[-2] - values[-3]
    if last <= 0 or before <= 0:  # with reg_covar EM may step down a little at the end
        return abs(last) * weight
    rate = last / before
    return float(weight * last * rate / (1 - rate)) if rate < 1 else np.inf
