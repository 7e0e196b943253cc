"""One EM loop, for every family, over shards.

Functions here receive ``map_reduce`` and shards, or ask for sweeps over them; they know neither how
work runs nor which family they fit. The likelihood of parameters is known one pass after they were
made, so a fit ends with one closing pass and reports the likelihood of the parameters it returns.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from ._sweeps import Sweep, run_together
from .families import DegenerateComponentError, Family, Moments
from .families._array_api import log_sums
from .families._base import logsumexp0

__all__ = [
    "EMFit",
    "EMRun",
    "Score",
    "em",
    "em_together",
    "first_pass",
    "maximise",
    "remaining_gain",
    "score_pass",
]

# A run is given up when, in this many iterations in a row, its gains shrank and the best run was
# ahead by this many times what was still to be gained.
HOPELESS_ITER = 20
HOPELESS_FACTOR = 30.0
LIKELIHOOD_TOL = 0.1  # remaining total log-likelihood at which tol="likelihood" stops


@dataclass(frozen=True)
class Score:
    """Weighted sums over rows: weights, log-likelihood, and entropy of the posteriors."""

    weight: float
    log_likelihood: float
    entropy: float

    def __add__(self, other: Score) -> Score:
        return Score(
            self.weight + other.weight,
            self.log_likelihood + other.log_likelihood,
            self.entropy + other.entropy,
        )

    @property
    def mean(self) -> float:
        """Mean log-likelihood per unit of weight."""
        return self.log_likelihood / self.weight

    def aic(self, n_parameters: int) -> float:
        """Akaike's criterion, smaller is better."""
        return -2 * self.log_likelihood + 2 * n_parameters

    def bic(self, n_parameters: int) -> float:
        """Schwarz's criterion with n = sum of weights, smaller is better."""
        return -2 * self.log_likelihood + n_parameters * np.log(self.weight)

    def icl(self, n_parameters: int) -> float:
        """BIC plus twice the soft entropy, smaller is better."""
        return self.bic(n_parameters) + 2 * self.entropy


@dataclass(frozen=True)
class EMFit:
    """What a run of EM returns.

    Attributes
    ----------
    params : object
        Parameters of the family.
    values : list of float
        Mean log-likelihood of the start and after each M-step, ``n_iter + 1`` values.
    converged : bool
    score : Score
        Of `params`, from the closing pass.
    """

    params: object
    values: list
    converged: bool
    score: Score = field(repr=False)

    @property
    def n_iter(self) -> int:
        """Number of M-steps."""
        return len(self.values) - 1

    @property
    def gap(self) -> float:
        """Estimate of the total log-likelihood that EM would still gain."""
        return remaining_gain(self.values, self.score.weight)


def first_pass(map_reduce: Callable, shards, full: bool, limit: int) -> Moments | None:
    """Moments of all rows, checking every row as it is read; None if there is no row."""
    return map_reduce(partial(_moments, full=full, limit=limit), shards, check=True)


def _moments(blocks, full, limit):
    total = None
    for block in blocks:
        part = Moments.of_rows(block.X, block.weight, full, limit)
        total = part if total is None else total + part
    return total


def score_pass(map_reduce: Callable, shards, family: Family, params, check=False) -> Score | None:
    """Log-likelihood and entropy of rows under parameters; None if there is no row."""
    sweep = score_sweep(family, params)
    return map_reduce(sweep.function, shards, sweep.block_rows, check)


def score_sweep(family: Family, params) -> Sweep:
    """The sweep that sums a :class:`Score`."""
    kernel = family.kernel(params)
    return Sweep(partial(_score, kernel), kernel.block_rows)


def _score(kernel, blocks):
    total = None
    for block in blocks:
        log_joint = kernel.log_joint(block.X)
        if not isinstance(log_joint, np.ndarray):
            part = Score(*log_sums(log_joint, block.weight))
            total = part if total is None else total + part
            continue
        norm = logsumexp0(log_joint)
        log_joint -= norm
        resp = np.exp(log_joint)
        # 0 log 0 = 0: responsibilities that underflow add nothing
        entropy = -np.einsum("ki,ki->i", resp, np.maximum(log_joint, -1e300))
        w = np.ones(len(norm)) if block.weight is None else block.weight
        part = Score(float(w.sum()), float(w @ norm), float(w @ entropy))
        total = part if total is None else total + part
    return total


def maximise(family: Family, sweep_about: Callable, stats, previous=None) -> Generator:
    """M-step; statistics are collected again where they were not accurate enough for it.

    ``sweep_about(anchors)`` sums the statistics for the same responsibilities about other anchors.
    Sums about distant anchors lose the digits of a tight component's covariance; this happens
    when a component shrinks a lot in one step.
    """
    try:
        params = family.m_step(stats, previous)
        anchors = family.better_anchors(stats, params)
    except DegenerateComponentError:
        anchors = family.centers(stats)
    if anchors is None:
        return params
    return family.m_step((yield sweep_about(anchors)), previous)


@dataclass
class EMRun:
    """One run of expectation-maximisation (Dempster, Laird and Rubin 1977).

    Parameters
    ----------
    family : Family
        Prepared with the first-pass summary of the shards it will be run on.
    params : object
        Where to start.
    tol : float or "likelihood"
        Stop when the mean log-likelihood changes by less; or when the estimated total
        log-likelihood still to gain is below 0.1, twice in a row.
    max_iter : int
        Largest number of M-steps.
    on_iteration : callable, optional
        Called as ``on_iteration(n_iter, value, change)`` after each pass.

    Attributes
    ----------
    values : list of float
        Mean log-likelihoods so far.
    """

    family: Family
    params: object
    tol: float | str
    max_iter: int
    on_iteration: Callable | None = None
    values: list = field(default_factory=list)

    def steps(self) -> Generator[Sweep, object, EMFit]:
        """The sweeps of the run, until it has converged."""
        params, converged = self.params, False
        while len(self.values) < self.max_iter and not converged:
            stats = yield self._sweep(None, params)
            self.values.append(stats.log_likelihood / stats.weight)
            about = partial(self._sweep, params=params)
            params = yield from maximise(self.family, about, stats, params)
            converged = _should_stop(self.values, stats.weight, self.tol)
            self._report()
        score = yield score_sweep(self.family, params)
        self.values.append(score.mean)
        return EMFit(params, self.values, converged, score)

    def _sweep(self, anchors, params) -> Sweep:
        kernel = self.family.kernel(params, anchors)
        return Sweep(kernel.statistics, kernel.block_rows)

    def _report(self):
        if self.on_iteration is not None:
            change = self.values[-1] - self.values[-2] if len(self.values) > 1 else np.inf
            self.on_iteration(len(self.values), self.values[-1], change)


def em(map_reduce: Callable, shards, family: Family, params, tol, max_iter, on_iteration=None):
    """The :class:`EMFit` of one :class:`EMRun` over shards."""
    return em_together(map_reduce, shards, [EMRun(family, params, tol, max_iter, on_iteration)])[0]


def em_together(
    map_reduce: Callable, shards, runs: list[EMRun], give_up: bool = False
) -> list[EMFit | None]:
    """Fits of several runs that share their sweeps; None for a run that was given up.

    With `give_up`, a run ends early when it is far behind the best and its gains shrink so fast
    that it would not come near; see :func:`hopeless`.
    """
    steps = [run.steps() for run in runs]
    return run_together(map_reduce, shards, steps, partial(hopeless, runs) if give_up else None)


def hopeless(runs: list[EMRun]) -> list[int]:
    """Indices of the runs that are too far behind the best to be worth another sweep.

    The rule looks at many iterations because EM rests on plateaus: there gains are small for a
    while, and then grow again.
    """
    best = max((run.values[-1] for run in runs if run.values), default=-np.inf)
    return [
        index
        for index, run in enumerate(runs)
        if len(run.values) >= HOPELESS_ITER + 10 and _cannot_reach(best, run.values)
    ]


def _cannot_reach(aim: float, values: list) -> bool:
    gains = np.diff(values[-HOPELESS_ITER - 2 :])
    if not np.all((gains[:-1] > gains[1:]) & (gains[1:] > 0)):
        return False
    rates = gains[1:] / gains[:-1]
    return bool(np.all(aim - values[-1] > HOPELESS_FACTOR * gains[1:] * rates / (1 - rates)))


def _should_stop(values: list, weight: float, tol: float | str) -> bool:
    if len(values) < 2:
        return False
    if tol != "likelihood":
        return abs(values[-1] - values[-2]) < tol
    # Early in a fit the gains may dip and rise again, so one small estimate is not believed.
    return all(
        remaining_gain(values[: len(values) - back], weight) < LIKELIHOOD_TOL for back in (0, 1)
    )


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
