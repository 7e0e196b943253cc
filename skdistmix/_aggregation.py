"""From local mixtures to one: which can be trusted, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ._averaging import aligned_average, kl_average, medoid
from ._reduction import reduce_components, starts_for
from ._robust import log_distances
from .families import Family

__all__ = ["AGGREGATIONS", "aggregate", "implied_family", "pooled_components"]

#: Ways to one mixture of K components.
AGGREGATIONS = ("transport", "average", "kl-average", "medoid")


def aggregate(
    family: Family,
    models: Sequence,
    shares: np.ndarray,
    *,
    aggregation: str,
    cost: str,
    n_draws: int,
    map_reduce: Callable,
    rng,
) -> object:
    """Parameters of one mixture of ``family.n_components`` components.

    Parameters
    ----------
    family : Family
        Of the mixture; see :func:`implied_family`.
    models : sequence of params
    shares : ndarray of shape (n_models,)
        Of the models in all rows.
    aggregation : str
        One of `AGGREGATIONS`.
    cost : str
        One of ``family.costs``.
    n_draws : int
        Rows drawn from each model, for "kl-average".
    map_reduce : callable
        For k-means and EM on draws; see ``Workers``.
    rng : numpy.random.RandomState

    Raises
    ------
    ValueError
        If the numbers of components do not allow it.
    """
    fitting = [m for m in models if len(m.weights) == family.n_components]
    if aggregation == "average":
        _refuse_other_sizes(family, models)
        return aligned_average(family, models, shares, cost)
    if aggregation == "medoid":
        return _middle(family, models, fitting)
    pooled = pooled_components(family, models, shares)
    starts = starts_for(map_reduce, family, pooled, fitting, cost, rng)
    params = reduce_components(family, pooled, starts, cost).params
    if aggregation == "kl-average":
        params = kl_average(map_reduce, family, models, shares, params, n_draws, rng)
    return params


def pooled_components(family: Family, models: Sequence, shares: np.ndarray):
    """Components of all models, with masses that sum to one."""
    parts = [
        family.components(params).scaled(share / params.weights.sum())
        for params, share in zip(models, shares / shares.sum(), strict=True)
    ]
    return type(parts[0]).join(parts)


def implied_family(family: Family, models: Sequence, shares: np.ndarray, weight: float) -> Family:
    """The family prepared with the moments that the models imply for rows of so much weight."""
    pooled = pooled_components(family, models, shares)
    return family.prepare(pooled.moments(weight))


def _refuse_other_sizes(family: Family, models: Sequence) -> None:
    sizes = sorted({len(params.weights) for params in models})
    if sizes != [family.n_components]:
        raise ValueError(
            f"aggregation='average' matches components one by one, but local models have {sizes} "
            f"and n_components={family.n_components}: use aggregation='transport', which takes "
            "any numbers."
        )


def _middle(family: Family, models: Sequence, fitting: Sequence):
    if not fitting:
        raise ValueError(
            "aggregation='medoid' chooses one of the local models, but none of them has "
            f"n_components={family.n_components}: use aggregation='transport'."
        )
    distances = log_distances(family, [family.components(params) for params in models])
    which = [i for i, params in enumerate(models) if len(params.weights) == family.n_components]
    return fitting[medoid(distances[which])]
