"""Resamples of subsets of rows, and the mixtures that EM finds for them.

The bag of little bootstraps (Kleiner, Talwalkar, Sarkar and Jordan 2014): a resample has the weight
of all n rows but at most the b distinct rows of a subset, so that it costs b rows a pass. With one
subset of all rows it is the ordinary bootstrap (Efron 1979).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import pdtr

from ._alignment import matching
from ._fixed_points import EMMap, Outline, outlined
from ._intervals import is_settled, spreads
from ._shards import Shards
from .families import Family

__all__ = [
    "FEWEST_ROWS",
    "SUBSET_REMAINING",
    "Optimum",
    "Replicates",
    "Resampling",
    "multinomial_weights",
    "resampled",
]

N_TRIALS = 16  # resamples that tell how large steps and standard errors are
SUBSET_REMAINING = 1e-3  # all resamples of a subset are compared with its fit: that is exact
MOVED, FEW_STEPS = 1.0, 6  # standard errors from the point of a Jacobian, steps that were needed
CHUNK, MIN_CHUNK, CHUNK_ELEMENTS = 20, 4, 2**23  # resamples done at once, and their weights
WINDOW = 20  # resamples in which errors must not change any more
ROUND = {False: 40, True: 200}  # resamples at first, by whether there is one subset only
FURTHER = {False: 10, True: 100}  # and after that
MAX_RESAMPLES = 1000
GUIDE_CELLS = 2**14  # a table of 256 kB
FEW_DRAWS = 10  # a row, for which it is faster to draw row numbers one by one
FEWEST_ROWS = 2  # that a component must stand for in a subset, and on average in a resample


@dataclass(frozen=True)
class Optimum:
    """The fit of a subset, and how EM behaves near it."""

    at: np.ndarray
    outline: Outline


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

    def outlined(self, subset: Shards, index: int) -> Outline | None:
        """How EM behaves at the fit of all rows, learnt from a subset; None if it breaks down."""
        X, base = self._rows(subset)
        trials = self._weights(base, index, range(N_TRIALS))
        return outlined(self._map(X), self.family.coordinates(self.params), base, trials)

    def prepare(self, subset: Shards, job: tuple) -> Optimum | None:
        """The fit of a subset, found from that of all rows; None if there is none.

        `job` is (index of the subset, outline at the fit of all rows, resamples to come). A
        Jacobian at the subset's own fit costs a pass for each coordinate, and saves about one a
        resample.
        """
        index, outline, n_resamples = job
        start = self.family.coordinates(self.params)
        if self.scheme == "parametric":
            return Optimum(start, outline)
        X, base = self._rows(subset)
        em_map = self._map(X)
        points, n_steps = outline.fixed_points(em_map, base[None], start, SUBSET_REMAINING)
        at = self._kept(points[0], self.params, len(X))
        if at is None:
            return None
        moved = (np.abs(at - start) / outline.scale).max() > MOVED
        if moved and (n_steps > FEW_STEPS or len(at) < n_resamples):
            outline = outlined(em_map, at, base, self._weights(base, index, range(N_TRIALS)))
        return None if outline is None else Optimum(at, outline)

    def run(self, subset: Shards, job: tuple) -> np.ndarray:
        """Fits of some resamples, those that failed left out: (n_good, n_coordinates).

        `job` is (index of the subset, its optimum, first resample, one beyond the last).
        """
        index, optimum, *bounds = job
        X, base = self._rows(subset)
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
        at, outline = optimum.at, optimum.outline
        if self.scheme != "parametric":
            return outline.fixed_points(self._map(X), self._weights(base, index, chunk), at)[0]
        fits = []
        for replicate in chunk:
            drawn = self._drawn(index, replicate)
            weights = np.full((1, len(drawn)), self.weight / len(drawn))
            fits.append(outline.fixed_points(self._map(drawn), weights, at)[0][0])
        return np.array(fits)

    def _rows(self, subset: Shards) -> tuple[np.ndarray, np.ndarray]:
        """Rows of a subset, and their weights, with the sum of those of all rows."""
        n_rows = subset.n_rows
        parts = [(X, w) for _, X, w in subset[0].weighted_reads(0, n_rows, n_rows)]
        X = parts[0][0] if len(parts) == 1 else np.concatenate([X for X, _ in parts])
        weights = [np.ones(len(X)) if w is None else np.reshape(w, -1) for X, w in parts]
        base = np.concatenate(weights).astype(np.float64)
        return np.asarray(X, dtype=np.float64), base * (self.weight / base.sum())

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
    visit: Callable,
    resampling: Resampling,
    outline,
    subsets: list[int],
    n_resamples,
    only: bool,
    least: int = 0,
) -> list[Replicates]:
    """Resamples of some subsets, as many as asked for or until standard errors settle.

    These are averages over the subsets: each alone would need many more resamples.

    Parameters
    ----------
    visit : callable
        ``visit(function, arguments, which)`` gives ``function(subset, argument)`` for the subsets
        of the indices `which`, wherever they are.
    resampling : Resampling
    outline : Outline or None
        At the fit of all rows.
    subsets : list of int
    n_resamples : int or "auto"
    only : bool
        Whether there are no other subsets, over which errors would be averaged.
    least : int
        Resamples of a subset, at least, where their number is "auto".
    """
    enough = min(max(ROUND[only], least), MAX_RESAMPLES)
    wanted = enough if n_resamples == "auto" else n_resamples
    optima: dict = dict.fromkeys(subsets)
    if outline is not None:
        expected = wanted + FURTHER[only] * (n_resamples == "auto")
        jobs = [(j, outline, expected) for j in subsets]
        optima = dict(zip(subsets, visit(resampling.prepare, jobs, subsets), strict=True))
    found = {j: _none_yet(optimum, wanted) for j, optimum in optima.items()}
    going, first = [j for j in subsets if optima[j] is not None], 0
    while going:
        chunks = [(i, min(i + CHUNK, wanted)) for i in range(first, wanted, CHUNK)]
        jobs = [(j, optima[j], *chunk) for j in going for chunk in chunks]
        parts = iter(visit(resampling.run, jobs, [job[0] for job in jobs]))
        for j in going:
            points = np.concatenate([found[j].points, *(next(parts) for _ in chunks)])
            found[j] = Replicates(found[j].at, points, wanted)
        draws = [found[j].points for j in going]
        if n_resamples != "auto" or wanted >= MAX_RESAMPLES or _have_settled(draws):
            break
        first, wanted = wanted, wanted + FURTHER[only]
    return [found[j] for j in subsets]


def _none_yet(optimum: Optimum | None, wanted: int) -> Replicates:
    """No resamples; all failed if there is nothing to compare them with."""
    if optimum is None:
        return Replicates(None, np.empty((0, 0)), wanted)
    return Replicates(optimum.at, np.empty((0, len(optimum.at))), 0)


def _have_settled(draws: list[np.ndarray]) -> bool:
    """Whether errors, averaged over subsets, would hardly change by more resamples of each."""
    draws = [points for points in draws if len(points) >= 2 + WINDOW]
    fewer = range(WINDOW, -1, -1)
    means = [np.mean([spreads(x[: len(x) - n]) for x in draws], axis=0) for n in fewer if draws]
    return is_settled(means, WINDOW)


def multinomial_weights(rng, base: np.ndarray) -> np.ndarray:
    """Counts of as many draws as the weights of some rows sum to, in proportion to these weights.

    The sum is rounded for the draws, and restored.

    Notes
    -----
    Poisson counts are, given their sum m, multinomial of m draws; together with n - m further draws
    they are multinomial of n draws. That is many times faster than drawing one binomial count after
    the other.
    """
    total, is_even = base.sum(), base.min() == base.max()
    n = max(round(total), 1)
    if is_even and n < FEW_DRAWS * len(base):
        draws = rng.integers(len(base), size=n)
        return np.bincount(draws, minlength=len(base)) * (total / n)
    rate = max(n - 5.0 * np.sqrt(n), 0.0) / total
    m = n + 1
    while m > n:
        counts = (
            poisson_counts(rng, rate * base[0], len(base)) if is_even else rng.poisson(rate * base)
        )
        m = int(counts.sum())
    if is_even:
        further = rng.integers(len(base), size=n - m)
    else:
        further = np.searchsorted(np.cumsum(base), rng.random(n - m) * total, side="right")
    counts += np.bincount(np.minimum(further, len(base) - 1), minlength=len(base))
    return counts * (total / n)


def poisson_counts(rng, rate: float, size: int) -> np.ndarray:
    """Poisson numbers of one rate, by inversion: the first of the running sums above a uniform one.

    A guide table (Chen and Asau 1974) tells it for all uniform numbers of a cell that no running
    sum falls into. That takes half the time of numbers of a rate each.
    """
    sums, least, most = _guide(rate)
    uniform = rng.random(size)
    cells = (uniform * len(least)).astype(np.intp)
    counts = least[cells]
    unsure = np.flatnonzero(counts < most[cells])
    counts[unsure] = np.searchsorted(sums, uniform[unsure], side="right")
    return counts


@lru_cache(maxsize=4)
def _guide(rate: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sums = pdtr(np.arange(int(rate + 12 * np.sqrt(rate)) + 40), rate)
    ends = np.searchsorted(sums, np.arange(GUIDE_CELLS + 1) / GUIDE_CELLS, side="right")
    return sums, ends[:-1], ends[1:]


def dirichlet_weights(rng, base: np.ndarray) -> np.ndarray:
    """Weights that are to :func:`multinomial_weights` what exponential numbers are to Poisson's."""
    weights = rng.standard_gamma(base)
    return weights * (base.sum() / weights.sum())
