"""The start "hierarchical": parameters of the clusters of a tree over the rows or a sample."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .._em import attempted, em, first_pass
from .._hierarchical import CRITERIA, hierarchical_labels
from .._sampling import RowSample, bounded_sample
from .._seeding import (
    GivenResponsibilities,
    params_from_centers,
    params_from_responsibilities,
)
from .._shards import cut_rows
from ..families import DegenerateComponentError

__all__ = ["check_hierarchy", "is_hierarchical", "is_one_start", "params_from_hierarchy"]

TREE_ROWS = 1500  # rows of the sample; up to twice as many are taken as they are
MAX_COMPONENTS = TREE_ROWS // 5
TRIAL_ITER = 100  # of EM on these rows, to choose between the trees
TRIAL_TOL = 1e-6


def is_hierarchical(method) -> bool:
    """Whether a start (a name or responsibilities) is this one."""
    return isinstance(method, str) and method == "hierarchical"


def is_one_start(method, moments) -> bool:
    """Whether a start is the same for all seeds, because the tree is over all rows."""
    return is_hierarchical(method) and moments.n_rows <= 2 * TREE_ROWS


def check_hierarchy(method, n_components: int) -> None:
    """Refuse more components than the rows of a tree can show."""
    if is_hierarchical(method) and n_components > MAX_COMPONENTS:
        raise ValueError(
            f"init_params='hierarchical' is for at most {MAX_COMPONENTS} components, got "
            f"n_components={n_components}: use 'k-means||'."
        )


def params_from_hierarchy(map_reduce: Callable, shards, family, seed: int):
    """Parameters of the clusters that model-based hierarchical clustering finds.

    Of the partitions of several criteria, the one is taken from which EM on the clustered rows
    reaches the highest likelihood.

    Parameters
    ----------
    map_reduce : callable
    shards : Shards
    family : Family
        Prepared; the covariances of its kind decide what EM reaches.
    seed : int
        Of the sample of rows; without effect on small data.

    Returns
    -------
    object
        Parameters of the family, maximum-likelihood ones of the clusters. If no partition gives
        any (clusters in a subspace, without regularisation), those of the rows nearest to the
        centres of the clusters.
    """
    rows = _tree_rows(map_reduce, shards, family, seed)
    sample = cut_rows(rows.X, 1).with_weights(rows.weight)
    partitions = [
        hierarchical_labels(rows.X, family.n_components, rows.weight, criterion)
        for criterion in CRITERIA
    ]
    moments = first_pass(map_reduce, sample, family.full_scatter, family.n_components)
    prepared = family.prepare(moments)
    trials = [attempted(_trial, map_reduce, sample, prepared, labels) for labels in partitions]
    found = [trial for trial in trials if not isinstance(trial, DegenerateComponentError)]
    if found:
        return max(found, key=lambda trial: trial[1])[0]
    return params_from_centers(map_reduce, shards, family, _centers(rows, partitions[0]))


def _trial(map_reduce, sample, family, labels):
    """Parameters of clusters and the likelihood that EM reaches from them."""
    resp_of = GivenResponsibilities(labels, family.n_components)
    params = params_from_responsibilities(map_reduce, sample, family, resp_of)
    return params, em(map_reduce, sample, family, params, TRIAL_TOL, TRIAL_ITER).objectives[-1]


def _tree_rows(map_reduce, shards, family, seed) -> RowSample:
    """All rows, or a sample of them with as many distinct rows as there are components."""
    sample = bounded_sample(map_reduce, shards, family.moments, TREE_ROWS, seed)
    rows = map_reduce(_collected, sample)
    if len(np.unique(rows.X, axis=0)) >= family.n_components:
        return rows
    distinct = family.moments.distinct
    return rows + RowSample(distinct, np.ones(len(distinct)))


def _collected(blocks) -> RowSample | None:
    total = None
    for block in blocks:
        X = np.array(block.X, dtype=np.float64)  # a copy: a block may be a view of rows to come
        part = RowSample(X, np.ones(len(X)) if block.weight is None else np.array(block.weight))
        total = part if total is None else total + part
    return total


def _centers(rows: RowSample, labels: np.ndarray) -> np.ndarray:
    """Weighted means of clusters, shape (n_clusters, n_features)."""
    sums = [np.bincount(labels, rows.weight * column) for column in rows.X.T]
    return np.stack(sums, axis=1) / np.bincount(labels, rows.weight)[:, None]
