"""Model-based agglomerative hierarchical clustering: a deterministic start for EM.

Every distinct row begins as a cluster of its own. The two clusters whose union raises a criterion
least are merged, again and again, so that one tree holds a partition for every number of clusters.
The criteria are forms of the classification likelihood of Gaussian clusters with covariances of
their own, sum of n_k log det(W_k / n_k), where W_k is the scatter of cluster k about its mean
(Banfield and Raftery 1993). It is minus infinity for clusters of few rows or in a subspace, so
something has to be added; :data:`CRITERIA` says what.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["CRITERIA", "Tree", "hierarchical_labels", "hierarchical_tree"]

EXACT_CLUSTERS = 1000  # more distinct rows are first merged into so many by Ward's criterion
FEWEST_CLUSTERS = 50  # the same where determinants are dear
DETERMINANT_WORK = 2e9  # clusters**2 * coordinates**3 that the merging may cost: a few seconds
MAX_COORDINATES = 50  # determinants of more need more rows than the method can take
RANK_TOLERANCE = 1e-8  # of the largest singular value of the standardised rows
RIDGE = 0.3  # best of 3, 1, 0.3, 0.1 in the likelihoods that EM reached on simulated mixtures


@dataclass(frozen=True)
class Tree:
    """All partitions of one hierarchical clustering.

    Attributes
    ----------
    leaves : ndarray of shape (n_rows,)
        The leaf of each row: the rank of its values among the distinct rows.
    merges : ndarray of shape (n_leaves - 1, 2)
        Clusters i < j that are merged, in this order. A cluster is named after its smallest leaf,
        so the union keeps the name i.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistmix._hierarchical import hierarchical_tree
    >>> tree = hierarchical_tree(np.array([[0.0], [0.1], [5.0], [5.1], [9.0]]))
    >>> tree.cut(3)
    array([0, 0, 1, 1, 2])
    >>> tree.cut(2)
    array([0, 0, 1, 1, 1])
    """

    leaves: np.ndarray
    merges: np.ndarray

    def cut(self, n_clusters: int) -> np.ndarray:
        """Labels of the rows in the partition with `n_clusters` clusters.

        Parameters
        ----------
        n_clusters : int

        Returns
        -------
        labels : ndarray of shape (n_rows,)
            From 0 to ``n_clusters - 1``, in the order of the smallest row of each cluster.

        Raises
        ------
        ValueError
            If there are fewer distinct rows than clusters.
        """
        n_leaves = len(self.merges) + 1
        if not 1 <= n_clusters <= n_leaves:
            raise ValueError(
                f"n_clusters={n_clusters} clusters of {n_leaves} distinct row(s) were asked for: "
                f"it must be from 1 to {n_leaves}."
            )
        names = _names(n_leaves, self.merges[: n_leaves - n_clusters])
        return np.unique(names, return_inverse=True)[1].reshape(-1)[self.leaves]


def hierarchical_labels(
    X: np.ndarray, n_clusters: int, weight: np.ndarray | None = None, criterion: str = "ridge"
) -> np.ndarray:
    """Partition of rows by model-based agglomerative hierarchical clustering.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        Time and memory grow with the square of the number of distinct rows: at most a few thousand.
    n_clusters : int
    weight : ndarray of shape (n_rows,), optional
        A row of weight 2 counts as two rows. All weights times a number give the same partition.
    criterion : {"ridge", "trace"}, default="ridge"
        "ridge" does not depend on affine changes of the columns. "trace" does not depend on shifts
        and changes of unit, but on rotations. See :data:`CRITERIA`.

    Returns
    -------
    labels : ndarray of shape (n_rows,)
        From 0 to ``n_clusters - 1``, in the order of the lexicographically smallest row of each
        cluster. They do not depend on the order of the rows; equal rows have equal labels.

    Raises
    ------
    ValueError
        If X is not a finite matrix with rows, weights do not fit, the criterion is unknown, or
        there are fewer distinct rows than clusters.

    Notes
    -----
    More than 1,000 distinct rows (fewer where there are more than 12 columns) are first merged into
    that many small clusters by the criterion of Ward (1963). More than 50 columns are replaced by
    the 50 leading principal axes of the standardised rows.

    References
    ----------
    Banfield, J. D. and Raftery, A. E. (1993). Model-based Gaussian and non-Gaussian clustering.
    Biometrics 49, 803-821.

    Fraley, C. (1998). Algorithms for model-based Gaussian hierarchical clustering. SIAM Journal on
    Scientific Computing 20, 270-281.

    Scrucca, L. and Raftery, A. E. (2015). Improved initialisation of model-based clustering using
    Gaussian hierarchical clustering. Advances in Data Analysis and Classification 9, 447-460.

    Ward, J. H. (1963). Hierarchical grouping to optimize an objective function. JASA 58, 236-244.

    Examples
    --------
    Two long parallel clusters, which k-means would cut across:

    >>> import numpy as np
    >>> from skdistmix._hierarchical import hierarchical_labels
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2)) * [10.0, 0.1]
    >>> X[100:, 1] += 2.0
    >>> np.bincount(hierarchical_labels(X, 2)).tolist()
    [100, 100]
    """
    return hierarchical_tree(X, weight, criterion).cut(n_clusters)


def hierarchical_tree(
    X: np.ndarray, weight: np.ndarray | None = None, criterion: str = "ridge"
) -> Tree:
    """The tree that holds the partitions of :func:`hierarchical_labels` for all their numbers.

    Parameters
    ----------
    X, weight, criterion
        As for :func:`hierarchical_labels`.

    Returns
    -------
    Tree

    Raises
    ------
    ValueError
        As :func:`hierarchical_labels`, apart from the number of clusters.
    """
    X, weight = _checked(X, weight, criterion)
    rows, leaves = np.unique(X, axis=0, return_inverse=True)
    leaves = leaves.reshape(-1)  # numpy 2.0 gives a column
    if len(rows) == 1:
        return Tree(leaves, np.empty((0, 2), dtype=np.int64))
    counts = np.bincount(leaves, weight)
    counts *= len(rows) / counts.sum()  # so that only the ratios of weights matter
    coordinates, value = CRITERIA[criterion]
    Z = coordinates(rows, counts)  # (n_leaves, n_coordinates)
    n_small = _n_small_clusters(*Z.shape)
    small = _agglomerate(WardClusters(counts.copy(), Z.copy()), n_small)
    names, labels = np.unique(_names(len(Z), small), return_inverse=True)
    clusters = GaussianClusters.of_labels(Z, counts, labels.reshape(-1), value)
    return Tree(leaves, np.concatenate([small, names[_agglomerate(clusters, 1)]]))


def _checked(X, weight, criterion) -> tuple[np.ndarray, np.ndarray]:
    if criterion not in CRITERIA:
        raise ValueError(f"criterion={criterion!r} is not known: use one of {sorted(CRITERIA)}.")
    X = np.asarray(X, dtype=np.float64) + 0.0  # no -0.0, which would count as another value
    if X.ndim != 2 or X.size == 0:
        raise ValueError(f"X has shape {X.shape}: expected a matrix with rows and columns.")
    if not np.isfinite(X).all():
        raise ValueError("X contains NaN or infinity: leave these rows out.")
    weight = np.ones(len(X)) if weight is None else np.asarray(weight, dtype=np.float64)
    if weight.shape != (len(X),):
        raise ValueError(f"weight has shape {weight.shape}: expected ({len(X)},), one a row.")
    if not (np.isfinite(weight).all() and (weight > 0).all()):
        raise ValueError("Weights must be finite and above 0: leave rows of weight 0 out.")
    return X, weight


def _names(n_leaves: int, merges: np.ndarray) -> np.ndarray:
    """The name of the cluster of each leaf after some merges, shape (n_leaves,)."""
    names = np.arange(n_leaves)
    for i, j in merges[::-1]:  # from the root to the leaves
        names[j] = names[i]
    return names


def _n_small_clusters(n_rows: int, n_coordinates: int) -> int:
    affordable = int(np.sqrt(DETERMINANT_WORK / n_coordinates**3))
    return min(n_rows, EXACT_CLUSTERS, max(FEWEST_CLUSTERS, affordable))


# --------------------------------------------------------------------------- coordinates, criteria


def _principal(rows, weight, power: float) -> np.ndarray:
    """Scores on the principal axes of the standardised rows, divided by a power of their spread.

    Axes without spread are left out, so constant and repeated columns and fewer rows than columns
    do no harm. Shape (n_rows, n_coordinates).
    """
    rows = rows[:, rows.min(axis=0) < rows.max(axis=0)]
    share = weight / weight.sum()
    Z = rows / np.abs(rows).max(axis=0)  # squares of huge values would overflow
    Z -= share @ Z
    Z /= np.sqrt(share @ Z**2)
    spread, axes = np.linalg.svd(np.sqrt(share)[:, None] * Z, full_matrices=False)[1:]
    keep = np.flatnonzero(spread > RANK_TOLERANCE * spread[0])[:MAX_COORDINATES]
    return Z @ (axes[keep].T / spread[keep] ** power)


def _sphered(rows, weight):
    return _principal(rows, weight, 1.0)


def _scaled(rows, weight):
    Z = _principal(rows, weight, 0.5)
    return Z / np.sqrt(((weight / weight.sum()) @ Z**2).mean())  # their mean variance is 1


def _ridge(n, scatter):
    r = scatter.shape[1]
    return n * (np.linalg.slogdet(scatter + RIDGE * np.eye(r))[1] - r * np.log(n))


def _trace(n, scatter):
    return n * np.log((np.trace(scatter, axis1=1, axis2=2) + 1.0) / n)


#: (coordinates, value of clusters) of each criterion, both to be minimised.
#:
#: * "ridge": the sum of n_k log det((W_k + c I) / n_k) in sphered coordinates, in which the
#:   covariance of all rows is the identity I: each cluster starts with the scatter of c rows.
#: * "trace": the sum of n_k log((tr W_k + s) / n_k), where s is the mean variance of a coordinate
#:   (Fraley 1998), in the coordinates that Scrucca and Raftery (2015) found best: the principal
#:   axes of the standardised columns, divided by the square root of their spread. R's mclust starts
#:   so: its term det(W_k / n_k) beside the trace is next to nothing in its coordinates.
CRITERIA: dict[str, tuple[Callable, Callable]] = {
    "ridge": (_sphered, _ridge),
    "trace": (_scaled, _trace),
}


# --------------------------------------------------------------------------- merging


@dataclass
class WardClusters:
    """Clusters that are being merged; the cost is the increase of the sum of squares (Ward 1963).

    Attributes
    ----------
    n : ndarray of shape (n_clusters,)
        Weights.
    means : ndarray of shape (n_clusters, n_coordinates)
    """

    n: np.ndarray
    means: np.ndarray

    def costs(self, i: int, others: np.ndarray) -> np.ndarray:
        """What merging cluster i with each of the others would cost, shape (n_others,)."""
        between = self.means[others] - self.means[i]
        return self._halves(i, others) * np.einsum("mr,mr->m", between, between)

    def merge(self, i: int, j: int) -> None:
        """Cluster i takes in cluster j."""
        n = self.n[i] + self.n[j]
        self.means[i] += (self.means[j] - self.means[i]) * (self.n[j] / n)
        self.n[i] = n

    def _halves(self, i, others):
        """Factors of (difference of means)**2 in the scatter between two clusters."""
        return self.n[i] * self.n[others] / (self.n[i] + self.n[others])


@dataclass
class GaussianClusters(WardClusters):
    """Clusters whose merging costs the increase of a criterion of their scatter matrices.

    Attributes
    ----------
    scatter : ndarray of shape (n_clusters, n_coordinates, n_coordinates)
    value : callable
        ``value(n, scatter)`` gives the terms of the criterion, shape (n_clusters,).
    """

    scatter: np.ndarray
    value: Callable

    def __post_init__(self):
        self.values = self.value(self.n, self.scatter)

    @classmethod
    def of_labels(cls, Z, weight, labels, value) -> GaussianClusters:
        """Clusters of weighted rows; labels are from 0 on."""
        n = np.bincount(labels, weight)
        sums = [np.bincount(labels, weight * column) for column in Z.T]
        means = np.stack(sums, axis=1) / n[:, None]
        scatter = np.zeros((len(n), Z.shape[1], Z.shape[1]))
        order = np.argsort(labels, kind="stable")
        for k, members in enumerate(np.split(order, np.cumsum(np.bincount(labels))[:-1])):
            if len(members) > 1:
                about = Z[members] - means[k]
                scatter[k] = about.T @ (weight[members, None] * about)
        return cls(n, means, scatter, value)

    def costs(self, i, others):
        between = self.means[others] - self.means[i]
        between *= np.sqrt(self._halves(i, others))[:, None]
        scatter = self.scatter[others] + self.scatter[i]
        scatter += between[:, :, None] * between[:, None, :]
        return (
            self.value(self.n[i] + self.n[others], scatter) - self.values[others] - self.values[i]
        )

    def merge(self, i, j):
        between = self.means[j] - self.means[i]
        self.scatter[i] += self.scatter[j] + self._halves(i, j) * np.outer(between, between)
        super().merge(i, j)
        self.values[i] = self.value(self.n[[i]], self.scatter[[i]])[0]


def _agglomerate(clusters: WardClusters, n_left: int) -> np.ndarray:
    """Merges i < j of the cheapest pairs until `n_left` clusters are left, shape (n_merges, 2).

    Every cluster knows its cheapest partner, so a step costs one row of costs and a search of the
    rows of the few clusters whose partner has just changed.
    """
    m = len(clusters.n)
    merges = np.empty((max(m - n_left, 0), 2), dtype=np.int64)
    if len(merges) == 0:
        return merges
    cost = np.full((m, m), np.inf)
    for i in range(m - 1):
        cost[i, i + 1 :] = clusters.costs(i, np.arange(i + 1, m))
        cost[i + 1 :, i] = cost[i, i + 1 :]
    partner = cost.argmin(axis=1)
    lowest = cost[np.arange(m), partner]
    alive = np.ones(m, dtype=bool)
    for step in range(len(merges)):
        first = int(lowest.argmin())
        i, j = sorted((first, int(partner[first])))
        merges[step] = i, j
        clusters.merge(i, j)
        alive[j] = False
        cost[j], cost[:, j], lowest[j] = np.inf, np.inf, np.inf
        others = np.flatnonzero(alive & (np.arange(m) != i))
        cost[i, others] = cost[others, i] = row = clusters.costs(i, others)
        closer = others[row < lowest[others]]
        partner[closer], lowest[closer] = i, cost[closer, i]
        lost = (partner[others] == j) | ((partner[others] == i) & (row > lowest[others]))
        search = np.append(others[lost], i)
        partner[search] = cost[search].argmin(axis=1)
        lowest[search] = cost[search, partner[search]]
    return merges
