"""EM on a random sample of the rows, so that EM on all rows starts close to its end.

Passes over a sample cost a fraction of passes over all rows, and the optimum of a large sample lies
near that of all rows. It also pays to try several starts there and to go on from the best after a
short run of each (Biernacki, Celeux and Govaert 2003).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ._em import EMFit, EMRun, em_together, first_pass
from .families import DegenerateComponentError, Family, Moments

__all__ = ["fitted_on_sample", "sample_size"]

SAMPLE_ROWS = 100_000
SAMPLE_ELEMENTS = 2**24  # numbers in a sample: 128 MB
ROWS_PER_COMPONENT = 1000
WORTHWHILE = 5  # times the sample that the data must be at least, for "auto"
CANDIDATES = 4  # starts tried for each one wanted
SHORT_ITER = 20  # iterations after which the best of these is chosen
SAMPLE_ITER = 100
SAMPLE_TOL = 1e-6


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
    candidates: int = CANDIDATES,
) -> list | None:
    """Parameters that EM reaches on a sample, one value for each seed.

    Parameters
    ----------
    map_reduce : callable
    sample : Shards
    family : Family
        Is prepared here for the sample.
    begin : callable
        ``begin(sample, family, seed)`` gives parameters to start from.
    seeds : list of int
    candidates : int
        Starts tried for each seed.

    Returns
    -------
    list or None
        None if the sample is too poor for the model: it has fewer distinct rows than components,
        or a component degenerates.
    """
    moments = first_pass(map_reduce, sample, family.full_scatter, family.n_components)
    if len(moments.distinct) < family.n_components:
        return None
    family = family.prepare(moments)

    def fits_from(starts, max_iter):
        runs = [EMRun(family, params, SAMPLE_TOL, max_iter) for params in starts]
        return em_together(map_reduce, sample, runs)

    try:
        starts = [
            begin(sample, family, int(candidate))
            for seed in seeds
            for candidate in np.random.RandomState(seed).randint(2**31 - 1, size=candidates)
        ]
        short = fits_from(starts, SHORT_ITER)
        groups = [short[i : i + candidates] for i in range(0, len(short), candidates)]
        best = [max(group, key=lambda fit: _merit(fit, moments)).params for group in groups]
        return [fit.params for fit in fits_from(best, SAMPLE_ITER)]
    except DegenerateComponentError:
        return None


def _merit(fit: EMFit, moments: Moments) -> tuple[bool, float]:
    """Likelihood, after not having a component of so few rows that it may be a spike on them."""
    rows = fit.params.weights.min() * moments.n_rows
    return rows >= 2 * (len(moments.mean) + 1), fit.score.mean
