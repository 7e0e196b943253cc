"""merge_components: several components of a mixture as one cluster."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import combinations
from numbers import Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from .._compute import Workers
from .._validation import validated_shards
from ..families._base import posteriors0
from ._merged import MergedComponents
from ._scored import as_mixture

__all__ = ["merge_components"]


@validate_params(
    {
        "method": [StrOptions({"entropy", "overlap"})],
        "threshold": [Interval(Real, 0.0, 1.0, closed="both")],
    },
    prefer_skip_nested_validation=True,
)
def merge_components(
    model, X, *, method="entropy", threshold=0.025, sample_weight=None, n_jobs=None
):
    """Put components of a mixture together to clusters, step by step until there is one.

    A mixture may need several components for one cluster that is not Gaussian, so that the number
    of components that describes the density best is not the number of clusters. Clusters here are
    sets of components: the density stays as it is, and the probability that a row belongs to a
    cluster is the sum of those of its components.

    Parameters
    ----------
    model : DistributedGMM, GaussianMixture or other fitted mixture
        It is not changed.
    X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
        The rows that say which components belong together, usually those of the fit.
    method : {"entropy", "overlap"}, default="entropy"
        "entropy": in each step the two clusters whose union lowers the entropy of the posterior
        probabilities most are merged (Baudry et al. 2010). "overlap": those of which rows of one
        are most often taken for the other's (Hennig 2010).
    threshold : float, default=0.025
        With "overlap", clusters are distinct where no such share of rows, nor the other way round,
        is above. With "entropy" the elbow of the entropies tells the number of clusters, and the
        threshold only `n_clusters_by_overlap`.
    sample_weight : array-like of shape (n_samples,) or list of arrays, optional
        Weights of the rows.
    n_jobs : int, optional
        Number of workers, as in :class:`~skdistmix.DistributedGMM`.

    Returns
    -------
    MergedComponents
        Labels of the components for each number of clusters, and predictions for any of them.

    Raises
    ------
    TypeError
        If the model is no mixture.
    NotFittedError
        If it is not fitted.
    ValueError
        If X does not fit the model, the model has a noise component, or all weights are zero.

    See Also
    --------
    neg_icl : A criterion that chooses as many components as can be told apart.

    Notes
    -----
    With t_k(x) the posterior probability of cluster k, merging k and l lowers the entropy by the
    sum over rows of (t_k + t_l) log(t_k + t_l) - t_k log t_k - t_l log t_l (Baudry et al. 2010).
    The share of rows of l that are taken for k's is the sum of t_l over the rows for which t_k is
    largest, over the sum of t_l over all rows: a misclassification probability, directly estimated
    (Hennig 2010). Two Gaussians of one size and variance 1 have a share of 0.025 at the distance
    3.9, of 0.1 at 2.6.

    The elbow is where two lines fit the entropies best that are drawn against the number of rows
    merged so far, as Baudry et al. propose for clusters of unequal sizes; ``clustCombiOptim`` of
    R's mclust draws them against the number of clusters. It cannot be one cluster, and with three
    components it is always two: look at `entropies` themselves where there are few.

    Sums over shards are exact and no row is held. The first pass gives those of all pairs of K
    components; a later one those of the new cluster with the others. There is one pass for each
    number of clusters from K down to 2.

    References
    ----------
    Baudry, J.-P., Raftery, A. E., Celeux, G., Lo, K. and Gottardo, R. (2010). Combining mixture
    components for clustering. Journal of Computational and Graphical Statistics 19, 332-353.

    Hennig, C. (2010). Methods for merging Gaussian mixture components. Advances in Data Analysis
    and Classification 4, 3-34.

    Examples
    --------
    A cluster in the shape of a cross takes two components, the others one each:

    >>> import numpy as np
    >>> from skdistmix import DistributedGMM
    >>> from skdistmix.model_selection import merge_components
    >>> rng = np.random.default_rng(0)
    >>> shards = [rng.normal(0, scale, size=(500, 2)) for scale in ((3.0, 0.3), (0.3, 3.0))]
    >>> shards += [rng.normal(center, 1.0, size=(500, 2)) for center in ((15, 0), (0, 15))]
    >>> gmm = DistributedGMM(4, n_init=10, init_params="random_from_data", random_state=0)
    >>> merged = merge_components(gmm.fit(shards), shards)
    >>> merged
    MergedComponents(4 components, 3 clusters by entropy)
    >>> merged.labels()  # of components
    array([0, 0, 1, 2])
    >>> merged.entropies.round()  # of 1, 2, 3, 4 clusters
    array([  0.,   0.,   0., 118.])
    >>> [np.bincount(labels, minlength=3).tolist() for labels in merged.predict(shards)]
    [[500, 0, 0], [500, 0, 0], [0, 500, 0], [0, 0, 500]]
    """
    model = as_mixture(model, "model")
    if model._has_noise:
        raise ValueError(
            "merge_components does not support the noise component, which would be put together "
            "with clusters: fit with noise=None to the rows that are no noise."
        )
    shards = validated_shards(model, X, reset=False, on_host=True).with_weights(sample_weight)
    kernel, K = model._kernel()
    clusters = [(k,) for k in range(K)]
    levels, changed = [], None
    with Workers(n_jobs) as workers:
        while True:
            function = partial(_sums, kernel, clusters, changed)
            sums = workers.map_reduce(function, shards, kernel.block_rows, check=not levels)
            levels.append(_Level(clusters, sums.filled(levels, changed)))
            if len(clusters) <= 2:
                break
            clusters, changed = levels[-1].merged(method)
    return MergedComponents._of(model, kernel, levels, method, threshold)


@dataclass(frozen=True)
class _Sums:
    """Sums over rows at one number of clusters.

    Attributes
    ----------
    sizes : ndarray of shape (G,)
        Weighted sums of the posterior probabilities.
    taken : ndarray of shape (G, G)
        Entry (l, k): the part of the size of l in rows for which k is the most probable.
    gains : ndarray of shape (G, G)
        Above the diagonal by how much the entropy falls if k and l are merged; 0 for pairs that
        were known before.
    entropy : float
    """

    sizes: np.ndarray
    taken: np.ndarray
    gains: np.ndarray
    entropy: float

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(
            self.sizes + other.sizes,
            self.taken + other.taken,
            self.gains + other.gains,
            self.entropy + other.entropy,
        )

    def filled(self, levels: list, changed) -> _Sums:
        """With the gains of pairs that are not new, from the level before."""
        if changed is None:
            return self
        new, kept = changed
        gains = self.gains.copy()
        before, old = levels[-1].sums.gains, np.setdiff1d(np.arange(len(gains)), new)
        gains[np.ix_(old, old)] = before[np.ix_(kept, kept)]
        return _Sums(self.sizes, self.taken, gains, self.entropy)


@dataclass(frozen=True)
class _Level:
    """Clusters, as tuples of components, and what rows say of them."""

    clusters: list
    sums: _Sums

    @property
    def shares(self) -> np.ndarray:
        """Shares of the rows of cluster l that are taken for those of k, (l, k); diagonal 0."""
        shares = self.sums.taken / np.maximum(self.sums.sizes, np.finfo(float).tiny)[:, None]
        np.fill_diagonal(shares, 0.0)
        return shares

    def pair(self, method: str) -> tuple[int, int]:
        """The two clusters to merge; of equal ones the first."""
        if method == "entropy":
            values = self.sums.gains
        else:
            values = np.maximum(self.shares, self.shares.T)
        pairs = list(combinations(range(len(self.clusters)), 2))
        return max(pairs, key=lambda pair: values[pair])

    def merged(self, method: str) -> tuple[list, tuple]:
        """Clusters after a merger; the place of the new one, and where the others were before."""
        i, j = self.pair(method)
        clusters = list(self.clusters)
        union = tuple(sorted(clusters[i] + clusters[j]))
        kept = [k for k in range(len(clusters)) if k not in (i, j)]
        # i < j, and clusters are in the order of their first components: the union comes at i
        clusters[i] = union
        del clusters[j]
        return clusters, (i, kept)


def _sums(kernel, clusters, changed, blocks) -> _Sums:
    total = None
    for block in blocks:
        components = posteriors0(kernel.log_joint(block.X))  # (n_components, n_rows)
        t = np.stack([components[list(own)].sum(axis=0) for own in clusters])  # (G, n_rows)
        w = np.ones(t.shape[1]) if block.weight is None else block.weight
        part = _of_block(t, w, range(len(t) - 1) if changed is None else [changed[0]], changed)
        total = part if total is None else total + part
    return total


def _of_block(t, w, firsts, changed) -> _Sums:
    G = len(t)
    weighted, own = t * w, _x_log_x(t)
    taken, gains = np.zeros((G, G)), np.zeros((G, G))
    nearest = t.argmax(axis=0)
    for k in range(G):
        taken[:, k] = weighted[:, nearest == k].sum(axis=1)
    for k in firsts:
        # all pairs, or those of the new cluster on either side of it
        others = np.arange(k + 1, G) if changed is None else np.delete(np.arange(G), k)
        fall = (_x_log_x(t[k] + t[others]) - own[k] - own[others]) @ w
        gains[np.minimum(k, others), np.maximum(k, others)] = fall
    return _Sums(weighted.sum(axis=1), taken, gains, -float(own.sum(axis=0) @ w))


def _x_log_x(x: np.ndarray) -> np.ndarray:
    """x log x, 0 at 0."""
    return x * np.log(np.maximum(x, np.finfo(float).tiny))
