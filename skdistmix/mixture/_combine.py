"""What becomes of local models where they arrive: trust, weights, one mixture, a gate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._aggregation import aggregate, implied_family, pooled_components
from .._em import EMFit, em
from .._experts import Experts
from .._gates import ConstantGate, column_moments, fit_gaussian_gate, fit_softmax_gate
from .._robust import log_distances, select_models
from .._stacking import OutOfFold, stacking_weights
from ._sites import nbytes

__all__ = [
    "Rounds",
    "check_options",
    "combined",
    "correspondence",
    "fitted_gate",
    "refined",
    "stacked_shares",
    "trusted",
    "trusted_sites",
]


def check_options(aggregation: str, gate: str, refine: int, has_context: bool) -> None:
    """Refuse options of an aggregator that do not go together."""
    if (gate == "context") != has_context:
        given = "one was given" if has_context else "none was given"
        raise ValueError(
            f"gate={gate!r} and a context of the rows: {given}. Call fit(X, context=U) with "
            "gate='context', or leave both."
        )
    if refine and (aggregation == "stacking" or gate != "bayes"):
        raise ValueError(
            f"refine={refine} improves the one mixture, but with aggregation={aggregation!r} and "
            f"gate={gate!r} rows are judged by the experts: use refine=0, or another aggregation "
            "with gate='bayes'."
        )


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


def trusted(
    family, models: list, weights: np.ndarray, robust: bool, exponent: float, numbers=None
) -> np.ndarray:
    """Indices of the models to combine.

    Parameters
    ----------
    family : Family
        Of any of them.
    models : list of params or None
        None where a model was sent that is none.
    weights : ndarray of shape (n_models,)
    numbers : sequence of int, optional
        How messages call the models.

    Raises
    ------
    ValueError
        If a model is not finite and `robust` is false, or trust cannot be decided.
    """
    components = [None if params is None else family.components(params) for params in models]
    if robust:
        kept = np.ones(len(models), dtype=bool)
        for equal in (False, True):  # a model must be near by both distances
            distances = log_distances(family, components, equal_components=equal)
            kept &= select_models(distances, weights, exponent, numbers).kept
        return np.flatnonzero(kept)
    bad = [i for i, c in enumerate(components) if c is None or not c.is_finite]
    if bad:
        called = bad if numbers is None else [int(numbers[i]) for i in bad]
        raise ValueError(
            f"Local model(s) {called[:10]} hold NaN, infinities, or covariances that are not "
            "positive definite. Leave them out, or use robust=True, which takes them for corrupt."
        )
    return np.arange(len(models))


def trusted_sites(family, sites: list, robust: bool, exponent: float) -> tuple:
    """Indices of the sites to combine, and of those that are rejected."""
    heard = np.flatnonzero([site.params is not None or site.is_corrupt for site in sites])
    weights = np.array([sites[s].weight for s in heard])
    models = [sites[s].params for s in heard]
    kept = heard[trusted(family, models, weights, robust, exponent, heard)]
    return kept, np.setdiff1d(heard, kept)


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
    """The family of the one mixture, prepared, and its parameters."""
    family = implied_family(family, models, shares, weight)
    return family, aggregate(family, models, shares, **options)


def correspondence(family, models: list, shares: np.ndarray, params, cost: str) -> tuple:
    """The component of the one mixture for those of each model, and the mean cost of going there.

    With components moved to their cheapest targets this is the composite transportation divergence.
    """
    pooled = pooled_components(family, models, shares)
    costs = family.distance(pooled, family.components(params), cost)
    ends = np.cumsum([len(params.weights) for params in models])
    labels = np.split(costs.argmin(axis=1), ends[:-1])
    return labels, float(pooled.weights @ costs.min(axis=1))


def refined(map_reduce, shards, family, params, sites: list, n_iter: int) -> EMFit:
    """Exact EM over shards that goes on from the one mixture."""
    moments = sites[0].moments
    for site in sites[1:]:
        moments = moments + site.moments
    return em(map_reduce, shards, family.prepare(moments), params, 0.0, n_iter)


def fitted_gate(kind: str, map_reduce, shards, family, models, shares):
    """The gate of a kind over experts with these shares.

    Parameters
    ----------
    shards : Shards
        With the side information beside the features for ``kind="context"``.
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
    n_features = len(moments.mean)
    if kind == "context":
        moments = column_moments(map_reduce, shards, n_features)
        center, scale = moments.mean, np.sqrt(moments.variance)
    return fit_softmax_gate(
        map_reduce, shards, experts, prior, center, scale, n_features, kind == "context"
    )
