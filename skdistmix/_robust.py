"""Which local models can be trusted when some may say anything.

Distances are those of densities as square-integrable functions, in closed form, and in logarithms
throughout: in high dimension, or with one absurd model, they leave the range of numbers. There are
two of them. The L2 distance of the densities hardly sees components that are wide: the squared
density of one twice as wide in ten features has a thousandth of the integral. So the same is asked
of mixtures whose components are all scaled to integrate to one when squared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from .families import Family
from .families._base import logsumexp0

__all__ = ["RobustSelection", "log_distances", "select_models"]

SECOND_GROUP = 0.4  # share of the models or of their weight that makes a group a rival
TIGHT = 0.5  # inner distances of such a group, in units of its distance to the first
CHANCE = 0.01  # that one of the models is rejected, if all are honest
LEAST_FREEDOM = 4.0  # of squared distances, with whatever scatter
SMALLEST, LARGEST = 0.1, 4.0  # sizes that shards are believed, in units of the median
EQUAL = 64 * np.finfo(float).eps  # squared distances below are rounding


@dataclass(frozen=True)
class RobustSelection:
    """Attributes: which models are kept, shape (n_models,), and the model in the middle."""

    kept: np.ndarray
    center: int


def log_distances(family: Family, models: Sequence, equal_components: bool = False) -> np.ndarray:
    """Logarithms of the L2 distances between the densities of mixtures.

    Parameters
    ----------
    models : sequence of components
        A model that is not finite is infinitely far from all others.
    equal_components : bool
        Scale the density of every component to have norm one, so that wide ones count as much as
        narrow ones, by their weights.

    Returns
    -------
    ndarray of shape (n_models, n_models)
    """
    usable = [m for m, model in enumerate(models) if model is not None and model.is_finite]
    products = _log_products(family, [models[m] for m in usable], equal_components)
    own = np.diag(products)
    scale = np.maximum(own[:, None], own[None, :])
    squares = np.exp(own[:, None] - scale) + np.exp(own[None, :] - scale)
    squares = squares - 2.0 * np.exp(products - scale)
    with np.errstate(divide="ignore"):
        logs = 0.5 * (np.log(np.where(squares > EQUAL, squares, 0.0)) + scale)
    distances = np.full((len(models), len(models)), np.inf)
    distances[np.ix_(usable, usable)] = logs
    np.fill_diagonal(distances, -np.inf)
    return distances


def _log_products(family: Family, models: Sequence, equal_components: bool) -> np.ndarray:
    """Logarithms of the integrals of products of mixture densities, shape (n, n)."""
    n = len(models)
    products, masses = np.empty((n, n)), []
    for model in models:
        with np.errstate(divide="ignore"):  # weights of zero
            log_weights = np.log(model.weights)
        own = np.diag(family.log_overlaps(model, model)) if equal_components else 0.0
        masses.append(log_weights - 0.5 * own)
    for m, model in enumerate(models):
        pooled = type(model).join(models[m:])
        logs = family.log_overlaps(pooled, model) + masses[m]
        logs = logsumexp0(logs.T) + np.concatenate(masses[m:])
        ends = np.cumsum([len(other) for other in models[m:]])
        parts = np.split(logs, ends[:-1])
        products[m, m:] = products[m:, m] = [logsumexp0(part[:, None])[0] for part in parts]
    return products


def select_models(
    distances: np.ndarray, sizes: np.ndarray, exponent: float = 0.1, numbers=None
) -> RobustSelection:
    """The models within a radius of the one in the middle (Zhang, Tan and Chen 2026).

    The middle is the model whose median distance to all is least, and the radius this median times
    ``n_models ** exponent``; less than half of the models may be corrupt. Beyond the source,
    distances are put in proportion to what the sizes of the shards lead to expect, equal models
    count once where there are three different ones, and the radius is not less than what all of
    many honest models would keep to, as the scatter of the distances around the middle tells.

    Parameters
    ----------
    distances : ndarray of shape (n_models, n_models)
        Logarithms of distances.
    sizes : ndarray of shape (n_models,)
        Rows, or any measure of what the models stand for.
    numbers : sequence of int, optional
        How messages call the models.

    Raises
    ------
    ValueError
        If there are fewer than three models, or a second group of models agrees with itself as
        well as the kept ones, so that nothing says which group is right.
    """
    n = len(distances)
    if n < 3:
        raise ValueError(
            f"robust=True needs at least 3 shards to tell honest ones from others, got {n}: give "
            "more shards, or robust=False."
        )
    # A shard may claim any size; what it claims beyond a few times the others' is not believed.
    shares = np.minimum(sizes, LARGEST * np.median(sizes[sizes > 0])) if sizes.any() else np.ones(n)
    numbers = np.arange(n) if numbers is None else np.array(numbers)
    distances = _for_equal_sizes(distances, sizes)
    first = (distances == -np.inf).argmax(axis=1)  # the first model that each is equal to
    different, same = np.unique(first, return_inverse=True)
    if len(different) < 3:
        different = same = np.arange(n)
    distances = distances[np.ix_(different, different)]
    shares = np.bincount(same, shares) / shares.sum()
    kept, center = _around_middle(distances, exponent)
    usable, apart = (distances < np.inf).sum(axis=1) > 1, np.arange(len(kept)) != center
    for others in (~kept & usable, kept & apart):
        _refuse_rivals(distances, shares, kept & ~others, others, numbers[different])
    return RobustSelection(kept[same], int(different[center]))


def _for_equal_sizes(distances: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Distances in units of what sampling two honest shards of these sizes leads to expect.

    A shard may claim to be small to be allowed more, therefore the sizes have a lower limit.
    """
    positive = sizes[sizes > 0]
    sizes = np.maximum(sizes / np.median(positive), SMALLEST) if len(positive) else sizes + 1.0
    return distances - 0.5 * np.log(1.0 / sizes[:, None] + 1.0 / sizes[None, :])


def _around_middle(distances: np.ndarray, exponent: float) -> tuple[np.ndarray, int]:
    """Which models are near the one in the middle, and which is that."""
    n = len(distances)
    # The upper median, the model itself included: with a majority of honest models it is the
    # distance to one of them.
    medians = np.sort(distances, axis=1)[:, n // 2]
    middle = int(np.argmin(medians))
    if medians[middle] == np.inf:
        raise ValueError(
            f"{int((medians == np.inf).sum())} of {n} local models hold NaN, infinities or "
            "covariances that are none; robust=True can bear with less than half of them."
        )
    row = distances[middle]
    core = np.argsort(row, kind="stable")[: n // 2 + 1]
    factor = max(exponent * np.log(n), _sampling_factor(distances[np.ix_(core, core)], n))
    return (row <= medians[middle] + factor) & (row < np.inf), middle


def _sampling_factor(distances: np.ndarray, n_models: int) -> float:
    """Logarithm of largest over median distance that honest models would have by chance.

    Squared distances of honest estimates are nearly a multiple of a chi-squared variable; how far
    those of the models around the middle scatter tells its degrees of freedom.
    """
    logs = 2.0 * distances[np.triu_indices(len(distances), 1)]
    if len(logs) == 0 or not np.isfinite(logs).all():  # models that are equal have no scatter
        return 0.0
    squares = np.exp(logs - logs.max())
    # Half of it, because the nearest models scatter less than all do; few distances say little.
    freedom = squares.mean() ** 2 / max(squares.var(), np.finfo(float).tiny)
    freedom = max(min(freedom, len(logs)), LEAST_FREEDOM)
    last, middle = chi2.ppf([1.0 - CHANCE / n_models, 0.5], freedom)
    return 0.5 * float(np.log(last / middle))


def _refuse_rivals(distances, shares, first, others, numbers) -> None:
    """Raise if some of the others form a large group of their own, far from the first."""
    if others.sum() < 2 or not first.any():
        return
    among = np.flatnonzero(others)
    # The model that most of them are nearest to, and what is much nearer to it than the first.
    apart = np.median(distances[np.ix_(among, first)], axis=1) + np.log(TIGHT)
    companions = (distances[np.ix_(among, among)] < apart[:, None]).sum(axis=1)
    best = int(np.argmax(companions))
    second = others & (distances[among[best]] < apart[best])
    if first.sum() == 1:  # the middle of what was kept: all but the second group stand against it
        first = ~second & (distances < np.inf).any(axis=1)
    weight = max(shares[second].sum(), second.mean())
    if weight <= SECOND_GROUP or second.sum() < 2:
        return
    pairs = distances[np.ix_(second, second)][np.triu_indices(second.sum(), 1)]
    if np.median(pairs) < np.median(distances[np.ix_(second, first)]) + np.log(TIGHT):
        one, other = _listed(numbers[first]), _listed(numbers[second])
        raise ValueError(
            f"The shards fall into two groups that each agree within themselves: {one} and "
            f"{other}, the second with {weight:.0%} of the shards or of their weight. Nothing says "
            "which of them is right: fit with robust=False and look at ShardDisplay, fit each "
            "group on its own, or stay with robust=False if sites may honestly differ."
        )


def _listed(numbers: np.ndarray) -> str:
    return f"{numbers[:10].tolist()}{' and more' if len(numbers) > 10 else ''}"
