"""What becomes of local models where they arrive: trust, weights, one mixture, a gate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._aggregation import Aggregate, aggregate, implied_family, pooled_components
from .._em import EMFit, em
from .._experts import Experts
from .._gates import ConstantGate, fit_gaussian_gate, fit_softmax_gate
from .._robust import log_distances, select_models
from .._stacking import OutOfFold, stacking_weights
from ._sites import nbytes

__all__ = ["Rounds", "combined", "fitted_gate", "refined", "stacked_shares", "trusted"]


@dataclass
class Rounds:
    """Counts the rounds in which shards are heard, and the bytes that they send."""

    over_shards: object  # a map_reduce
    number: int = 0
    bytes: int = 0

    def map_reduce(self, function, shards, *args, **kwargs):
        """As ``Workers.map_reduce``; each shard is taken to send one sum."""
        total = self.over_shards(function, shards, *args, **kwargs)
        self.number += 1
        self.bytes += nbytes(total) * len(shards)
        return total

    def heard(self, values: list) -> None:
        """Count a round in which each shard sent one of these values."""
        self.number += 1
        self.bytes += nbytes(values)


def trusted(family, models: list, weights: np.ndarray, robust: bool, exponent: float) -> np.ndarray:
    """Indices of the models to combine.

    Parameters
    ----------
    family : Family
        Of any of them.
    models : list of params or None
        None where a model was sent that is none.
    weights : ndarray of shape (n_models,)

    Raises
    ------
    ValueError
        If a model is not finite and `robust` is false, or trust cannot be decided.
    """
    components = [None if params is None else family.components(params) for params in models]
    if robust:
        distances = log_distances(family, components)
        return np.flatnonzero(select_models(distances, weights, exponent).kept)
    bad = [i for i, c in enumerate(components) if c is None or not c.is_finite]
    if bad:
        raise ValueError(
            f"Local model(s) {bad[:10]} hold NaN, infinities, or covariances that are not positive "
            "definite. Leave them out, or use robust=True, which takes them for corrupt."
        )
    return np.arange(len(models))


def stacked_shares(map_reduce, shards, family, sites: list, seeds: list) -> np.ndarray:
    """Weights of the local models for a mixture of them side by side."""
    models = [family.components(site.params) for site in sites]
    experts = Experts.of(family, models, np.zeros(sum(map(len, models)), dtype=int))
    halves = [
        tuple(family.components_kernel(family.components(half)) for half in site.halves)
        for site in sites
    ]
    return stacking_weights(map_reduce, shards, OutOfFold(experts, halves, seeds, shards.offsets))


def combined(family, models: list, shares: np.ndarray, weight: float, **options) -> tuple:
    """The one mixture: its family, an :class:`Aggregate`, and labels of each model's components."""
    family = implied_family(family, models, shares, weight)
    found: Aggregate = aggregate(family, models, shares, **options)
    ends = np.cumsum([len(params.weights) for params in models])
    return family, found, np.split(found.targets, ends[:-1])


def refined(map_reduce, shards, family, params, sites: list, n_iter: int) -> EMFit:
    """Exact EM over shards that goes on from the one mixture."""
    moments = sites[0].moments
    for site in sites[1:]:
        moments = moments + site.moments
    return em(map_reduce, shards, family.prepare(moments), params, 0.0, n_iter)


def fitted_gate(kind: str, map_reduce, shards, family, models, shares, columns):
    """The gate of a kind over experts with these shares.

    Parameters
    ----------
    shards : Shards
        With the side information beside the features for ``kind="context"``.
    columns : list of ndarray or None
        This side information.
    """
    prior = ConstantGate(shares)
    if kind == "bayes":
        return prior
    components = [family.components(params) for params in models]
    experts = Experts.of(family, components, np.zeros(sum(map(len, components)), dtype=int))
    moments = pooled_components(family, models, shares).moments(shards.total_weight)
    if kind == "gaussian":
        return fit_gaussian_gate(map_reduce, shards, experts, prior, moments)
    center, scale = moments.mean, np.sqrt(moments.variance)
    if kind == "context":
        U = np.concatenate(columns)
        center, scale = U.mean(axis=0), U.std(axis=0)
    n_features = len(moments.mean)
    return fit_softmax_gate(
        map_reduce, shards, experts, prior, center, scale, n_features, kind == "context"
    )
