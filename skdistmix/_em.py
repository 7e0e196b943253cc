"""One EM loop, for every family, over shards.

Functions here receive ``map_reduce`` and shards, or ask for sweeps over them; they know neither how
work runs nor which family they fit. The likelihood of parameters is known one pass after they were
made, so a fit ends with one closing pass and reports the likelihood of the parameters it returns.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from ._acceleration import ACCELERATIONS, MAX_MOVE
from ._stopping import StoppingRule
from ._sweeps import Sweep, run_together
from .families import DegenerateComponentError, Family, Moments
from .families._array_api import log_sums
from .families._base import IMPOSSIBLE
from .families._checks import checked_m_step
from .families._kernels import LOWEST_EXP

__all__ = [
    "EMFit",
    "EMRun",
    "Score",
    "attempted",
    "em",
    "em_together",
    "first_of_the_best",
    "first_pass",
    "maximise",
    "score_pass",
    "score_sweep",
]

# A run rests when, in this many iterations in a row, its gains shrank and the best run was ahead by
# this many times what was still to be gained.
HOPELESS_ITER = 20
HOPELESS_FACTOR = 30.0


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
    objectives : list of float
        The same with the log-prior of the family, over the weight of all rows, added.
    converged : bool
    gap : float
        Estimate of the total objective that EM would still gain.
    score : Score
        Of `params`, from the closing pass.
    """

    params: object
    values: list
    objectives: list
    converged: bool
    gap: float
    score: Score = field(repr=False)

    @property
    def n_iter(self) -> int:
        """Number of M-steps."""
        return len(self.values) - 1


def first_pass(map_reduce: Callable, shards, full: bool, limit: int) -> Moments | None:
    """Moments of all rows, checking every row as it is read; None if there is no row."""
    return map_reduce(partial(_moments, full=full, limit=limit), shards, check=True)


def _moments(blocks, full, limit):
    total = None
    for block in blocks:
        part = Moments.of_rows(block.X, block.weight, full, limit)
        total = part if total is None else total + part
    return total


def score_pass(map_reduce: Callable, shards, kernel, check=False) -> Score | None:
    """Log-likelihood and entropy of rows under the density of a kernel; None if there is no row."""
    sweep = score_sweep(kernel)
    return map_reduce(sweep.function, shards, sweep.block_rows, check)


def score_sweep(kernel) -> Sweep:
    """What :func:`score_pass` sums."""
    return Sweep(partial(_score, kernel), kernel.block_rows)


def _score(kernel, blocks):
    total, density = None, np.empty((0, 0))
    for block in blocks:
        log_joint = kernel.log_joint(block.X)  # (n_components, n_rows)
        if not isinstance(log_joint, np.ndarray):
            part = Score(*log_sums(log_joint, block.weight))
            total = part if total is None else total + part
            continue
        if density.shape != log_joint.shape:
            density = np.empty_like(log_joint)
        top = log_joint.max(axis=0)
        log_joint -= top
        np.maximum(log_joint, LOWEST_EXP, out=log_joint)  # 0 log 0 = 0, and no slow tiny numbers
        np.exp(log_joint, out=density)
        norm = density.sum(axis=0)
        density *= log_joint
        log_norm = np.log(norm)
        entropy = log_norm - density.sum(axis=0) / norm
        w = np.ones(len(norm)) if block.weight is None else block.weight
        # A sum of -1e300 would look like a number.
        value = -np.inf if (top < IMPOSSIBLE).any() else float(w @ (log_norm + top))
        part = Score(float(w.sum()), value, float(w @ entropy))
        total = part if total is None else total + part
    return total


def attempted(start: Callable, *args):
    """What a function of a start returns, or the error if a component of it degenerates."""
    try:
        return start(*args)
    except DegenerateComponentError as error:
        return error


def maximise(family: Family, sweep_about: Callable, stats, previous=None) -> Generator:
    """M-step; statistics are collected again where they were not accurate enough for it.

    ``sweep_about(anchors)`` sums the statistics for the same responsibilities about other anchors.
    Sums about distant anchors lose the digits of a tight component's covariance; this happens
    when a component shrinks a lot in one step.
    """
    try:
        params = checked_m_step(family, stats, previous)
        anchors = family.better_anchors(stats, params)
    except DegenerateComponentError:
        anchors = family.centers(stats)
        if anchors is None:  # sums that are not taken about points would be the same again
            raise
    if anchors is None:
        return params
    return checked_m_step(family, (yield sweep_about(anchors)), previous)


@dataclass(frozen=True)
class Point:
    """Parameters, and what a sweep told of them."""

    params: object
    stats: object
    value: float  # mean log-likelihood
    objective: float  # mean log-likelihood and log-prior
    prolonged: bool = False  # not reached by a plain step of EM


@dataclass
class EMRun:
    """One run of expectation-maximisation (Dempster, Laird and Rubin 1977).

    Parameters
    ----------
    family : Family
        Prepared with the first-pass summary of the shards it will be run on.
    params : object
        Where to start; the error of a start that degenerated (see :func:`attempted`).
    tol : float or "likelihood"
        Stop when the mean objective changes by less; or when the estimated total objective still
        to gain is small, see :class:`~skdistmix._stopping.StoppingRule`.
    max_iter : int
        Largest number of M-steps.
    on_iteration : callable, optional
        Called as ``on_iteration(n_iter, objective, change)`` after each pass.
    acceleration : {"squarem", "anderson"} or None
        Whether steps are prolonged. A prolonged step that gains less than twice what EM's own step
        is sure to gain costs another pass: the better of the two is taken.
    watch : callable, optional
        Called as ``watch(run, point)`` after each pass, with the :class:`Point` that was looked at:
        true calls the run off, which then ends as at `max_iter`.

    Attributes
    ----------
    values, objectives : list of float
        Of the best point so far, an entry a pass. The last objective is minus infinity if a
        component degenerated.
    """

    family: Family
    params: object
    tol: float | str
    max_iter: int
    on_iteration: Callable | None = None
    acceleration: str | None = None
    watch: Callable | None = None
    values: list = field(default_factory=list)
    objectives: list = field(default_factory=list)

    def steps(self) -> Generator[Sweep, object, EMFit | DegenerateComponentError]:
        """The sweeps of the run, until it has converged or a component degenerates."""
        try:
            if isinstance(self.params, DegenerateComponentError):
                raise self.params
            return (yield from self._until_converged())
        except DegenerateComponentError as error:
            # Likelihoods soar before a component degenerates; no other run is measured by them.
            self.objectives.append(-np.inf)
            return error

    def _until_converged(self) -> Generator[Sweep, object, EMFit]:
        params, rule = self.params, StoppingRule(self.tol, self.acceleration is not None)
        prolong = ACCELERATIONS[self.acceleration]() if self.acceleration else None
        here = (yield from self._visit(params)) if self.max_iter > 0 else None
        while here is not None:
            rule.add(here.objective, here.stats.weight, here.prolonged)
            params = yield from self._m_step(here)
            called_off = self.watch is not None and self.watch(self, here)
            if rule.is_over or called_off or len(self.values) >= self.max_iter:
                break
            here = yield from self._next(here, params, None if rule.wants_plain_steps else prolong)
        converged = here is not None and rule.is_over
        kernel = self.family.kernel(params)
        score = yield score_sweep(kernel)
        objective = (score.log_likelihood + self.family.log_prior(params)) / score.weight
        rule.add(objective, score.weight, False)
        self._note(score.mean, objective)
        return EMFit(params, self.values, self.objectives, converged, rule.gap, score)

    def _next(self, here: Point, image, prolong) -> Generator[Sweep, object, Point]:
        """The next point: the image of this one under EM, or beyond it."""
        ahead = None if prolong is None else _ahead(self.family, here.params, image, prolong)
        gain = 0.0 if ahead is None else self._sure_gain(here, image)
        if (
            gain <= 0
        ):  # with reg_covar a step may lose: then the objective does not say who is ahead
            return (yield from self._visit(image))
        there = replace((yield from self._visit(ahead, here)), prolonged=True)
        if there.objective >= here.objective + 2 * gain:
            return there
        prolong.rejected()
        if len(self.values) >= self.max_iter:  # no pass is left to look at the image
            return there if there.objective > here.objective else here
        plain = yield from self._visit(image, there)
        return there if there.objective > plain.objective else plain

    def _sure_gain(self, here: Point, image) -> float:
        """What the objective gains at least in a step of EM.

        That is the gain of the expected log-likelihood. Near the fixed point the gain itself is
        up to twice as large: 1 + r times, with r the rate of convergence.
        """
        before, after = (
            self.family.expected(here.stats, params) + self.family.log_prior(params)
            for params in (here.params, image)
        )
        return (after - before) / here.stats.weight

    def _visit(self, params, rival: Point | None = None) -> Generator[Sweep, object, Point]:
        """One pass; what is noted is the better of this point and a rival."""
        stats = yield self._sweep(None, params)
        value = stats.log_likelihood / stats.weight
        point = Point(params, stats, value, value + self.family.log_prior(params) / stats.weight)
        best = point if rival is None or point.objective > rival.objective else rival
        self._note(best.value, best.objective)
        return point

    def _m_step(self, here: Point) -> Generator:
        about = partial(self._sweep, params=here.params)
        return (yield from maximise(self.family, about, here.stats, here.params))

    def _sweep(self, anchors, params) -> Sweep:
        kernel = self.family.kernel(params, anchors)
        return Sweep(kernel.statistics, kernel.block_rows)

    def _note(self, value: float, objective: float) -> None:
        """Keep the values of the point that the run goes on from."""
        change = objective - self.objectives[-1] if self.objectives else np.inf
        self.values.append(value)
        self.objectives.append(objective)
        if self.on_iteration is not None:
            self.on_iteration(len(self.values), objective, change)


def _ahead(family: Family, params, image, prolong):
    """Parameters beyond the image of some parameters under EM; None if they are not to be found."""
    x, y = family.coordinates(params), family.coordinates(image)
    if x is None or y is None:
        return None
    proposed = prolong.propose(x, y)
    if proposed is None or not np.abs(proposed - y).max() < MAX_MOVE:
        return None
    return family.params_of_coordinates(proposed, like=image)


def em(map_reduce: Callable, shards, *run, **options) -> EMFit:
    """The fit of one :class:`EMRun`, whose arguments follow, over shards."""
    return em_together(map_reduce, shards, [EMRun(*run, **options)])[0]


def em_together(
    map_reduce: Callable, shards, runs: list[EMRun], give_up: bool = False
) -> list[EMFit | DegenerateComponentError | None]:
    """Fits of several runs that share their sweeps.

    In place of the fit of a run in which a component degenerates there is the error; the other runs
    go on. With `give_up`, a run rests when it is far behind the best and its gains shrink so fast
    that it would not come near (see :func:`hopeless`). It goes on if the run ahead degenerates;
    otherwise None takes the place of its fit.

    Raises
    ------
    DegenerateComponentError
        That of the first run, if a component degenerates in all.
    """
    steps = [run.steps() for run in runs]
    resting = partial(hopeless, runs) if give_up else None
    fits = run_together(map_reduce, shards, steps, resting)
    if all(isinstance(fit, DegenerateComponentError) for fit in fits):
        raise fits[0]
    return fits


def first_of_the_best(fits: list[EMFit]) -> EMFit:
    """The fit of highest objective; of those that are equal but for rounding, the first.

    Starts often lead to the same optimum; rounding, and so the way rows are cut, must not choose.
    """
    best = max(fit.objectives[-1] for fit in fits)
    enough = best - 1e-12 * max(1.0, abs(best))
    return next(fit for fit in fits if fit.objectives[-1] >= enough)


def hopeless(runs: list[EMRun]) -> list[int]:
    """Indices of the runs that are too far behind the best to be worth a sweep.

    The rule looks at many iterations because EM rests on plateaus: there gains are small for a
    while, and then grow again.
    """
    best = max((run.objectives[-1] for run in runs if run.objectives), default=-np.inf)
    return [
        index
        for index, run in enumerate(runs)
        if len(run.objectives) >= HOPELESS_ITER + 10 and _cannot_reach(best, run.objectives)
    ]


def _cannot_reach(aim: float, values: list) -> bool:
    gains = np.diff(values[-HOPELESS_ITER - 2 :])
    if not np.all((gains[:-1] > gains[1:]) & (gains[1:] > 0)):
        return False
    rates = gains[1:] / gains[:-1]
    return bool(np.all(aim - values[-1] > HOPELESS_FACTOR * gains[1:] * rates / (1 - rates)))
