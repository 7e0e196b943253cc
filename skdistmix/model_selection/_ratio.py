"""Likelihood ratios of G against G + 1 components, of data and of rows drawn under G."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from sklearn.base import clone

from .._acceleration import usable_acceleration
from .._compute import Workers
from .._em import first_pass
from .._shards import GeneratedShard, Shards, cut_rows
from .._splits import best_fit, merged_start, split_starts
from ..families import DegenerateComponentError
from ..families._base import TooFewRowsError
from ..mixture import DistributedGMM
from ..mixture._start import Start, starts_of

__all__ = ["HELD_ELEMENTS", "NullResamples", "Ratio", "ratio_of"]

MAX_ITER = 2000  # what an estimator with less is given: a ratio of unfinished fits means nothing
BLOCK_ROWS = 8192  # drawn with one key
HELD_ELEMENTS = 2**22  # numbers of a resample that is held in memory: 32 MB


@dataclass(frozen=True)
class Ratio:
    """A likelihood ratio, and what the smaller mixture is.

    Attributes
    ----------
    statistic : float
        Twice the difference of the log-likelihoods, at least 0; infinite if a fit failed.
    converged : bool
    family, params : object
        The smaller mixture; None if a fit failed.
    """

    statistic: float
    converged: bool
    family: object = None
    params: object = None


def ratio_of(
    estimator: DistributedGMM, shards: Shards, n_components: int, seed: int, n_jobs
) -> Ratio:
    """The ratio of `n_components` against one more: one procedure, for data and for resamples.

    The larger mixture starts where the estimator says and from splits of the smaller one, which
    then has another chance from a merger of the larger.

    Raises
    ------
    DegenerateComponentError, TooFewRowsError
        If one of the two cannot be fitted.
    """
    sizes, d = (n_components, n_components + 1), shards.n_features
    models = [clone(estimator).set_params(n_components=K) for K in sizes]
    with Workers(n_jobs) as workers, np.errstate(over="ignore", invalid="ignore"):
        families = [model._family(d) for model in models]
        moments = first_pass(workers.map_reduce, shards, families[0].full_scatter, sizes[1])
        models[1]._check_moments(families[1], moments, shards, stacklevel=0)
        fewer = replace(moments, distinct=moments.distinct[:n_components], limit=n_components)
        small, large = families[0].prepare(fewer), families[1].prepare(moments)

        def fit(family, starts):
            acceleration = usable_acceleration(family, estimator.acceleration or "squarem")
            max_iter = max(estimator.max_iter, MAX_ITER)
            return best_fit(workers.map_reduce, shards, family, starts, max_iter, acceleration)

        own = [
            _own_starts(workers.map_reduce, shards, *one, seed)
            for one in zip(models, (small, large), strict=True)
        ]
        null = fit(small, own[0])
        rich = fit(large, own[1] + split_starts(small, null.params, large, seed))
        if n_components > 1:
            try:
                again = fit(small, [merged_start(large, rich.params, small)])
                null = max(null, again, key=lambda one: one.objectives[-1])
            except DegenerateComponentError:
                pass  # the first fit stands
    # The larger model holds the smaller one, so its maximum is no lower.
    gain = max(rich.score.log_likelihood - null.score.log_likelihood, 0.0)
    return Ratio(2 * gain, null.converged and rich.converged, small, null.params)


def _own_starts(map_reduce, shards, model, family, seed: int) -> list:
    start = Start.checked(model, family, shards)
    seeds = np.random.RandomState(seed).randint(2**31 - 1, size=model.n_init).tolist()
    return starts_of(map_reduce, shards, family, start, seeds, model.subsample, _silent)


def _silent(text):
    pass


@dataclass(frozen=True)
class NullResamples:
    """Ratios of rows drawn from the smaller mixture; what is sent to where they are worked out.

    Random numbers belong to (seed, number of components, resample, block of rows), so ratios depend
    neither on who draws the rows nor on whether they are held.

    Attributes
    ----------
    estimator : DistributedGMM
    null : Ratio
        Of the data.
    n_rows : int
        Of a resample: the sum of the weights of the data.
    seed : int
    """

    estimator: DistributedGMM
    null: Ratio
    n_rows: int
    seed: int

    def __call__(self, _, replicate: int) -> Ratio:
        """The ratio of a resample, in this thread; the first argument is a shard of no meaning."""
        return self.ratio(replicate, 1)

    def ratio(self, replicate: int, n_jobs) -> Ratio:
        """The ratio of a resample; of infinity if it cannot be fitted."""
        seed = int(self._rng(replicate, 0).integers(2**31 - 1))
        try:
            ratio = ratio_of(self.estimator, self.shards(replicate), self._size, seed, n_jobs)
        except (DegenerateComponentError, TooFewRowsError):
            return Ratio(np.inf, True)
        return Ratio(ratio.statistic, ratio.converged)

    def shards(self, replicate: int) -> Shards:
        """The rows of a resample."""
        d = self.null.params.means.shape[1]
        drawn = GeneratedShard(
            self.n_rows, d, f"resample {replicate}", None,
            make=_Drawn(self, replicate), block_rows=BLOCK_ROWS,
        )  # fmt: skip
        return cut_rows(drawn.read(0, self.n_rows), 1) if self.are_held else Shards([drawn])

    @property
    def are_held(self) -> bool:
        """Whether the rows of a resample fit in memory beside those of others."""
        return self.n_rows * self.null.params.means.shape[1] <= HELD_ELEMENTS

    @property
    def _size(self) -> int:
        return self.null.family.n_components

    def _rng(self, replicate: int, stage: int):
        return np.random.default_rng([self.seed, self._size, replicate, stage])

    def draw(self, replicate: int, block: int) -> np.ndarray:
        """The rows of a block of a resample."""
        rng, weights = self._rng(replicate, 1 + block), self.null.params.weights
        n_rows = min(BLOCK_ROWS, self.n_rows - block * BLOCK_ROWS)
        counts = rng.multinomial(n_rows, weights / weights.sum())
        return self.null.family.sample(self.null.params, counts, rng)


@dataclass(frozen=True)
class _Drawn:
    resamples: NullResamples
    replicate: int

    def __call__(self, block: int) -> np.ndarray:
        return self.resamples.draw(self.replicate, block)
