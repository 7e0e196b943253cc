"""One mixture from many by averaging, and the mixture in the middle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ._alignment import matching
from ._em import em, first_pass
from ._shards import cut_rows
from .families import Family
from .families._base import logsumexp0

__all__ = ["aligned_average", "kl_average", "medoid"]

TOL, MAX_ITER = 1e-6, 1000  # of EM on draws


def aligned_average(family: Family, models: Sequence, shares, cost: str | None = "kl"):
    """Average of the parameters of mixtures whose components are matched beforehand.

    Components are matched with those of the mixture of largest share by the Hungarian method; with
    ``cost=None`` they are taken as they are numbered, which has no meaning for local fits and is
    here to be compared with. Means and covariances are averaged in proportion to what the
    components weigh.
    """
    middle = family.components(models[int(np.argmax(shares))])
    parts = []
    for params, share in zip(models, shares, strict=True):
        part = family.components(params)
        order = np.arange(len(part))
        if cost is not None:
            order = matching(family.distance(part, middle, cost))
        parts.append(part.pick(order).scaled(share))
    pooled = type(middle).join(parts)
    plan = np.tile(np.eye(len(middle)), (len(parts), 1)) * pooled.weights[:, None]
    return family.barycentre(pooled, plan, "average")


def kl_average(
    map_reduce: Callable, family: Family, models: Sequence, shares, start, n_draws: int, rng
):
    """The mixture nearest to draws from all mixtures, in the Kullback-Leibler divergence.

    Liu and Ihler (2014), with the weights of Han and Liu (2016): the draws of each mixture are
    weighted by its density over that of the mixture fitted to them, which takes away most of the
    noise of drawing. Components are sorted before drawing, so that labels do not matter.

    Parameters
    ----------
    family : Family
        Of the result; its penalty or prior holds for the draws.
    models : sequence of params
    start : params
        Where EM on all draws starts.
    n_draws : int
        Rows drawn from each mixture.
    """
    rows, weights = [], []
    for params, share in zip(models, shares, strict=True):
        own = replace(family, n_components=len(params.weights))
        params = own.permute(params, np.lexsort(family.components(params).means.T[::-1]))
        counts = rng.multinomial(n_draws, params.weights / params.weights.sum())
        X = own.sample(params, counts, rng)
        refit = _fit(map_reduce, own, X, None, params)
        log_ratio = _log_density(own, params, X) - _log_density(own, refit, X)
        weight = np.exp(log_ratio - log_ratio.max())
        rows.append(X)
        weights.append(weight * (share * n_draws * len(models) / weight.sum()))
    return _fit(map_reduce, family, np.concatenate(rows), np.concatenate(weights), start)


def medoid(log_distances: np.ndarray) -> int:
    """The mixture whose distances to the others have the least sum."""
    largest = log_distances[np.isfinite(log_distances)].max(initial=0.0)
    return int(np.argmin(np.exp(log_distances - largest).sum(axis=1)))


def _fit(map_reduce, family, X, weight, start):
    """Parameters fitted to rows in memory."""
    rows = cut_rows(X, 1).with_weights(weight)
    moments = first_pass(map_reduce, rows, family.full_scatter, 0)
    return em(map_reduce, rows, family.prepare(moments), start, TOL, MAX_ITER).params


def _log_density(family, params, X) -> np.ndarray:
    return logsumexp0(family.prepare(family.implied_moments(params)).kernel(params).log_joint(X))
