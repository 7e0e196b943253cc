"""Resamples of subsets of rows, and the mixtures that EM finds for them.

The bag of little bootstraps (Kleiner, Talwalkar, Sarkar and Jordan 2014): a resample has the weight
of all n rows but at most the b distinct rows of a subset, so that it costs b rows a pass. With one
subset of all rows it is the ordinary bootstrap (Efron 1979).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ._alignment import matching
from ._fixed_points import REMAINING, EMMap, fixed_points, newton_matrix
from ._intervals import is_settled, widths
from ._shards import Shards
from .families import Family

__all__ = ["Optimum", "Replicates", "Resampling", "multinomial_weights", "resampled"]

N_TRIALS = 16  # resamples that tell how large steps and standard errors are
SUBSET_REMAINING = 1e-3  # all resamples of a subset are compared with its fit, which is to be exact
MOVED = 1.0  # standard errors that a subset's fit is from the start: the Jacobian is another there
CHUNK, MIN_CHUNK, CHUNK_ELEMENTS = 20, 4, 2**23  # resamples done at once, and their weights
WINDOW = 20  # resamples in which intervals must not change any more
ROUND = {False: 40, True: 200}  # resamples at first, by whether there is one subset only
FURTHER = {False: 20, True: 100}  # and after that
MAX_RESAMPLES = 1000
FEWEST_ROWS = 2  # that a component must stand for in a subset


@dataclass(frozen=True)
class Optimum:
    """The fit of a subset, and what those of its resamples are found with.

    Attributes
    ----------
    at : ndarray of shape (n_coordinates,) or None
        None if EM did not converge, or a component was lost or changed its place.
    matrix : ndarray of shape (n_coordinates, n_coordinates) or None
        For chord-Newton steps.
    scale : ndarray of shape (n_coordinates,)
        Standard errors of the coordinates, or less.
    """

    at: np.ndarray | None
    matrix: np.ndarray | None = None
    scale: np.ndarray | None = None


@dataclass(frozen=True)
class Replicates:
    """Fits of the resamples of one subset.

    Attributes
    ----------
    at : ndarray of shape (n_coordinates,) or None
        The subset's own fit.
    points : ndarray of shape (n_good, n_coordinates)
        Fits of resamples in which each component kept its place.
    n_run : int
        Resamples that were drawn.
    """

    at: np.ndarray | None
    points: np.ndarray
    n_run: int

    @property
    def n_failed(self) -> int:
        """Resamples that did not converge, lost a component, or in which components changed."""
        return self.n_run - len(self.points)

    @property
    def deviations(self) -> np.ndarray:
        """What resamples are from their subset, shape (n_good, n_coordinates)."""
        return self.points - self.at


@dataclass(frozen=True)
class Resampling:
    """Draws resamples and fits them; what is sent to where subsets are.

    Attributes
    ----------
    family : Family
        Prepared with the first-pass summary of all rows. Its prior or penalty acts as in the fit
        of all rows, and is not drawn anew.
    params : object
        Fit of all rows.
    weight : float
        Sum of the weights of all rows, which every resample gets.
    scheme : {"multinomial", "dirichlet", "parametric"}
        Counts of drawn rows; continuous weights (Rubin 1981; Newton and Raftery 1994); or new rows
        drawn from the fitted mixture.
    seed : int
        Random numbers belong to (seed, subset, resample).
    """

    family: Family
    params: object
    weight: float
    scheme: str
    seed: int

    def prepare(self, subset: Shards, index: int) -> Optimum:
        """The fit of a subset (by itself: one shard), found from that of all rows."""
        X, base = _rows(subset)
        base = base * (self.weight / base.sum())
        em_map, x = self._map(X), self.family.coordinates(self.params)
        trials = self._weights(base, index, range(N_TRIALS))
        unit, matrix, scale = _sizes(em_map, x, base, trials)
        if unit is None:
            return Optimum(None)
        if self.scheme == "parametric":
            return Optimum(x, matrix, scale)
        at = fixed_points(em_map, base[None], x, matrix, scale, SUBSET_REMAINING)[0]
        at = self._kept(at, self.params, len(X))
        if at is None:
            return Optimum(None)
        if (np.abs(at - x) / scale).max() > MOVED:
            unit, matrix, scale = _sizes(em_map, at, base, trials)
        return Optimum(None) if unit is None else Optimum(at, matrix, scale)

    def run(self, subset: Shards, job: tuple) -> np.ndarray:
        """Fits of some resamples, those that failed left out: (n_good, n_coordinates).

        `job` is (index of the subset, its optimum, first resample, one beyond the last).
        """
        index, optimum, *bounds = job
        X, base = _rows(subset)
        base = base * (self.weight / base.sum())
        start = self.family.params_of_coordinates(optimum.at, self.params)
        size, kept = self.chunk(len(X)), []
        for first in range(bounds[0], bounds[1], size):
            chunk = range(first, min(first + size, bounds[1]))
            for x in self._fits(X, base, index, chunk, optimum):
                kept.append(self._kept(x, start, len(X)))
        good = [x for x in kept if x is not None]
        return np.array(good).reshape(len(good), len(optimum.at))

    def chunk(self, n_rows: int) -> int:
        """Resamples that are done together: their weights are in memory."""
        return min(max(CHUNK_ELEMENTS // n_rows, MIN_CHUNK), CHUNK)

    def _fits(self, X, base, index, chunk, optimum) -> np.ndarray:
        if self.scheme != "parametric":
            weights = self._weights(base, index, chunk)
            return fixed_points(self._map(X), weights, *_of(optimum))
        fits = []
        for replicate in chunk:
            drawn = self._drawn(index, replicate)
            weights = np.full((1, len(drawn)), self.weight / len(drawn))
            fits.append(fixed_points(self._map(drawn), weights, *_of(optimum))[0])
        return np.array(fits)

    def _map(self, X) -> EMMap:
        return EMMap(self.family, X, self.params)

    def _rng(self, index: int, replicate: int):
        return np.random.default_rng([self.seed, index, replicate])

    def _weights(self, base, index, replicates) -> np.ndarray:
        """Row weights of resamples, shape (n_resamples, n_rows)."""
        draw = dirichlet_weights if self.scheme == "dirichlet" else multinomial_weights
        return np.stack([draw(self._rng(index, r), base) for r in replicates])

    def _drawn(self, index: int, replicate: int) -> np.ndarray:
        rng, weights = self._rng(index, replicate), self.params.weights
        counts = rng.multinomial(max(round(self.weight), 1), weights / weights.sum())
        return self.family.sample(self.params, counts, rng)

    def _kept(self, x: np.ndarray, start, n_rows: int) -> np.ndarray | None:
        """Coordinates with normalised weights; None if a component is lost or not in its place."""
        if not np.isfinite(x).all():
            return None
        family = self.family
        params = family.params_of_coordinates(x, start)
        if family.n_components > 1:
            if params.weights.min() * n_rows < FEWEST_ROWS:
                return None
            if family.costs:
                components = [family.components(p) for p in (params, start)]
                order = matching(family.distance(*components, family.costs[0]))
                if (order != np.arange(len(order))).any():
                    return None
        return family.coordinates(params)


def resampled(
    visit: Callable, resampling: Resampling, subsets: list[int], n_resamples, level: float, only
) -> list[Replicates]:
    """Resamples of some subsets, as many as asked for or until their intervals settle.

    Parameters
    ----------
    visit : callable
        ``visit(function, arguments, which)`` gives ``function(subset, argument)`` for the subsets
        of the indices `which`, wherever they are.
    resampling : Resampling
    subsets : list of int
    n_resamples : int or "auto"
    level : float
        Of the intervals that must settle.
    only : bool
        Whether there are no other subsets, over which intervals would be averaged.
    """
    optima = dict(zip(subsets, visit(resampling.prepare, subsets, subsets), strict=True))
    wanted = ROUND[only] if n_resamples == "auto" else n_resamples
    found = {j: _none_yet(optimum, wanted) for j, optimum in optima.items()}
    going = [j for j in subsets if optima[j].at is not None]
    while going:
        jobs = [
            (j, optima[j], first, min(first + CHUNK, wanted))
            for j in going
            for first in range(found[j].n_run, wanted, CHUNK)
        ]
        parts = visit(resampling.run, jobs, [job[0] for job in jobs])
        for (j, _, first, last), part in zip(jobs, parts, strict=True):
            points = np.concatenate([found[j].points, part])
            found[j] = Replicates(found[j].at, points, found[j].n_run + last - first)
        if n_resamples != "auto" or wanted >= MAX_RESAMPLES:
            break
        going = [j for j in going if not _has_settled(found[j], level)]
        wanted += FURTHER[only]
    return [found[j] for j in subsets]


def _none_yet(optimum: Optimum, wanted: int) -> Replicates:
    """No resamples; all failed if there is nothing to compare them with."""
    if optimum.at is None:
        return Replicates(None, np.empty((0, 0)), wanted)
    return Replicates(optimum.at, np.empty((0, len(optimum.at))), 0)


def _has_settled(replicates: Replicates, level: float) -> bool:
    points = replicates.points
    if len(points) < 2 + WINDOW:
        return False
    sizes = range(len(points) - WINDOW, len(points) + 1)
    return is_settled([widths(points[:size], level) for size in sizes], WINDOW)


def multinomial_weights(rng, base: np.ndarray) -> np.ndarray:
    """Counts of as many draws as the weights of some rows sum to, in proportion to these weights.

    The sum is rounded for the draws, and restored.

    Notes
    -----
    Poisson counts are, given their sum m, multinomial of m draws; together with n - m further draws
    they are multinomial of n draws. That is many times faster than drawing one binomial count after
    the other.
    """
    total = base.sum()
    n = max(round(total), 1)
    rate = max(n - 5.0 * np.sqrt(n), 0.0) / total
    m = n + 1
    while m > n:
        counts = rng.poisson(rate * base)
        m = int(counts.sum())
    if base.min() == base.max():
        further = rng.integers(len(base), size=n - m)
    else:
        further = np.searchsorted(np.cumsum(base), rng.random(n - m) * total, side="right")
    counts += np.bincount(np.minimum(further, len(base) - 1), minlength=len(base))
    return counts * (total / n)


def dirichlet_weights(rng, base: np.ndarray) -> np.ndarray:
    """Weights that are to :func:`multinomial_weights` what exponential numbers are to Poisson's."""
    weights = rng.standard_gamma(base)
    return weights * (base.sum() / weights.sum())


def _of(optimum: Optimum) -> tuple:
    return optimum.at, optimum.matrix, optimum.scale, REMAINING


def _sizes(em_map: EMMap, x, base, trials) -> tuple:
    """Spread of EM's steps for resamples, the Newton matrix, and standard errors, at a point.

    The first chord-Newton step leads almost to the end: its spread is the standard error. That of
    EM's step is less. All None where EM breaks down.
    """
    images, _ = em_map(np.tile(x, (len(trials), 1)), trials)
    image, _ = em_map(x[None], base[None])
    images = images[np.isfinite(images).all(axis=1)]
    if not len(images) or not np.isfinite(image).all():
        return None, None, None
    moves, rounding = images - image, 1e-12 * (1 + np.abs(x))
    unit = np.maximum(_root_mean_square(moves), rounding)
    matrix = newton_matrix(em_map, x, base, unit)
    spread = unit if matrix is None else _root_mean_square(moves @ matrix.T)
    return unit, matrix, np.maximum(spread, rounding)


def _root_mean_square(values) -> np.ndarray:
    return np.sqrt((values**2).mean(axis=0))


def _rows(subset: Shards) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a shard, and their weights."""
    n_rows = subset.n_rows
    parts = [(X, w) for _, X, w in subset[0].weighted_reads(0, n_rows, n_rows)]
    X = parts[0][0] if len(parts) == 1 else np.concatenate([X for X, _ in parts])
    weights = [np.ones(len(X)) if w is None else np.reshape(w, -1) for X, w in parts]
    return np.asarray(X, dtype=np.float64), np.concatenate(weights).astype(np.float64)
