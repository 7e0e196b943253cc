"""EM on a random sample of the rows, so that EM on all rows starts close to its end.

Passes over a sample cost a fraction of passes over all rows, and the optimum of a large sample lies
near that of all rows. It also pays to try several starts there and to go on from the best after
short runs (Biernacki, Celeux and Govaert 2003), which a part of the sample is enough for.
"""

from __future__ import annotations

from collections.abc import Callable

from ._em import EMFit, EMRun, attempted, em_together, first_pass
from ._sampling import bounded_sample
from .families import DegenerateComponentError, Family, Moments

__all__ = ["fitted_on_sample", "sample_size"]

SAMPLE_ROWS = 100_000
SAMPLE_ELEMENTS = 2**24  # numbers in a sample: 128 MB
ROWS_PER_COMPONENT = 1000
WORTHWHILE = 5  # times the sample that the data must be at least, for "auto"
CANDIDATES = 4  # starts tried for each one wanted
RACE = ((2, 5), (1, 15))  # how many of them are kept after so many more iterations
RACE_SHARE = 0.25  # of the sample, on which they race
SAMPLE_ITER = 100
# Mean log-likelihoods of the optima of a sample of n rows and of all rows differ by about p / 2n.
# EM on a sample ends when an iteration gains this share of that.
NEGLIGIBLE_SHARE = 0.01


def sample_size(subsample: str | int | None, moments: Moments, n_components: int) -> int | None:
    """Rows of the sample that EM should run on first; None if it should see all rows at once.

    "auto" wants 100,000 rows and at least 1,000 a component, no more than 128 MB, at least ten
    times as many a component as there are features, and five times as many in the data.
    """
    if subsample is None:
        return None
    if subsample != "auto":
        return subsample if moments.n_rows > 2 * subsample else None
    d = len(moments.mean)
    size = max(ROWS_PER_COMPONENT * n_components, min(SAMPLE_ROWS, SAMPLE_ELEMENTS // d))
    enough = size >= 10 * n_components * (d + 1) and size * d <= SAMPLE_ELEMENTS
    return size if enough and moments.n_rows >= WORTHWHILE * size else None


def fitted_on_sample(
    map_reduce: Callable,
    sample,
    family: Family,
    begin: Callable,
    seeds: list[int],
    watch: Callable | None = None,
) -> list | None:
    """Parameters that EM reaches on a sample, or the error of a start that degenerates, a seed.

    Parameters
    ----------
    map_reduce : callable
    sample : Shards
    family : Family
        Is prepared here for the sample and the part of it.
    begin : callable
        ``begin(sample, family, seed, number)`` gives parameters to start from, at most
        so many, or errors of starts that degenerated.
    seeds : list of int
    watch : callable, optional
        May call off EM on the sample, see :class:`~skdistmix._em.EMRun`.

    Returns
    -------
    list or None
        None if the sample is too poor for the model: it has fewer distinct rows than components,
        or a component degenerates from all seeds.
    """
    prepared = _prepared(map_reduce, sample, family)
    size = max(int(RACE_SHARE * sample.n_rows), 1)
    small = bounded_sample(map_reduce, sample, prepared.moments, size, seeds[0])
    racing = _prepared(map_reduce, small, family)
    if len(racing.moments.distinct) < family.n_components:
        return None

    def winner(seed):
        starts = begin(sample, prepared, seed, CANDIDATES)
        for keep, max_iter in RACE:
            fits = _fits(map_reduce, small, racing, starts, max_iter)
            fits = [fit for fit in fits if isinstance(fit, EMFit)]
            fits.sort(key=lambda fit: _merit(fit, prepared.moments), reverse=True)
            starts = [fit.params for fit in fits[:keep]]
        return starts[0]

    best = [attempted(winner, seed) for seed in seeds]
    fits = attempted(_fits, map_reduce, sample, prepared, best, SAMPLE_ITER, watch)
    if isinstance(fits, DegenerateComponentError):
        return None
    return [fit.params if isinstance(fit, EMFit) else fit for fit in fits]


def _prepared(map_reduce, shards, family: Family) -> Family:
    moments = first_pass(map_reduce, shards, family.full_scatter, family.n_components)
    return family.prepare(moments)


def _fits(map_reduce, shards, family, starts, max_iter, watch=None) -> list:
    tol = NEGLIGIBLE_SHARE * family.n_parameters() / (2 * shards.n_rows)
    runs = [EMRun(family, params, tol, max_iter, watch=watch) for params in starts]
    return em_together(map_reduce, shards, runs)


def _merit(fit: EMFit, moments: Moments) -> tuple[bool, float]:
    """Likelihood, after not having a component of so few rows that it may be a spike on them."""
    rows = fit.params.weights.min() * moments.n_rows
    return rows >= 2 * (len(moments.mean) + 1), fit.objectives[-1]
