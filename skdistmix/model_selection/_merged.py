"""MergedComponents: clusters that are sets of components, for each number of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._row_values import row_values
from ..families._base import logsumexp0
from ..mixture._base import RowValues

__all__ = ["MergedComponents"]


class MergedComponents:
    """Clusters of a mixture for each number of them; what :func:`merge_components` returns.

    Attributes
    ----------
    n_components : int
        K, the number of components.
    n_clusters : int
        The number of clusters that `method` chooses: by "entropy" `elbow`, by "overlap"
        `n_clusters_by_overlap`.
    method : str
    entropies : ndarray of shape (n_components,)
        Entropy of the posterior probabilities of 1, 2, ..., K clusters, summed over rows.
    overlaps : ndarray of shape (n_components,)
        Largest share of the rows of a cluster that are taken for another's, of 1, 2, ..., K
        clusters.
    merges : list of tuple
        The two sets of components (tuples of int) that each step puts together, from K clusters to
        one.
    merged_sizes : ndarray of shape (n_components - 1,)
        Sums of the weights of rows in the cluster that comes of each step.
    elbow : int
        The number of clusters at which the entropies, drawn against the rows merged so far, turn:
        where two lines, fitted to the points on either side and both to this one, have the least
        sum of squares. K where there are fewer than three components.
    n_clusters_by_overlap : int
        The largest number of clusters none of whose overlaps is above the threshold.
    model : fitted mixture
        The mixture whose components these are.

    See Also
    --------
    merge_components : Makes it.
    """

    @classmethod
    def _of(cls, model, kernel, levels: list, method: str, threshold: float):
        merged = cls()
        K = len(levels[0].clusters)
        merged.model, merged.method, merged.n_components = model, method, K
        merged._kernel = kernel
        by_size = levels[::-1] if K > 1 else []  # of 2, ..., K clusters
        # 1 - 1 may be rounded to less than 0
        merged.entropies = np.array([0.0, *(max(level.sums.entropy, 0.0) for level in by_size)])
        merged.overlaps = np.array([0.0, *(level.shares.max() for level in by_size)])
        merged._clusters = [[tuple(range(K))], *(level.clusters for level in by_size)]
        merged.merges, sizes = [], []
        for level in levels if K > 1 else []:
            i, j = level.pair(method)
            merged.merges.append((level.clusters[i], level.clusters[j]))
            sizes.append(level.sums.sizes[[i, j]].sum())
        merged.merged_sizes = np.array(sizes)
        merged.elbow = _elbow(merged.entropies, merged.merged_sizes)
        merged.n_clusters_by_overlap = int(np.flatnonzero(merged.overlaps <= threshold)[-1]) + 1
        by_entropy = method == "entropy"
        merged.n_clusters = merged.elbow if by_entropy else merged.n_clusters_by_overlap
        return merged

    def labels(self, n_clusters=None):
        """The cluster of each component.

        Parameters
        ----------
        n_clusters : int, optional
            From 1 to the number of components. None: the one that was chosen.

        Returns
        -------
        labels : ndarray of int of shape (n_components,)
            Clusters are numbered in the order of their first components.

        Raises
        ------
        ValueError
            If there is no such number of clusters.
        """
        labels = np.empty(self.n_components, dtype=np.int64)
        for cluster, own in enumerate(self._of_size(n_clusters)):
            labels[list(own)] = cluster
        return labels

    def predict(self, X, n_clusters=None):
        """Most probable cluster of each row.

        That is not always the cluster of its most probable component.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            Rows with the features of the mixture.
        n_clusters : int, optional
            As for `labels`.

        Returns
        -------
        labels : ndarray of shape (n_samples,), or one array a shard
            In the form in which ``model.predict(X)`` comes.

        Raises
        ------
        ValueError
            If X does not fit the model, or there is no such number of clusters.
        """
        return self._rows(X, "predict", n_clusters)

    def predict_proba(self, X, n_clusters=None):
        """Probabilities of the clusters for each row.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            Rows with the features of the mixture.
        n_clusters : int, optional
            As for `labels`.

        Returns
        -------
        resp : ndarray of shape (n_samples, n_clusters), or one array a shard
            In the form in which ``model.predict_proba(X)`` comes.

        Raises
        ------
        ValueError
            If X does not fit the model, or there is no such number of clusters.
        """
        return self._rows(X, "predict_proba", n_clusters)

    def _rows(self, X, method, n_clusters):
        clusters = tuple(self._of_size(n_clusters))
        names = tuple(getattr(self.model, "feature_names_in_", ())) or None
        kernel = ClusterKernel(self._kernel, clusters)
        function = RowValues(kernel, method, self.model.n_features_in_, len(clusters), names)
        return row_values(self.model, X, function, self.model.n_jobs, on_host=True)

    def _of_size(self, n_clusters) -> list:
        n = self.n_clusters if n_clusters is None else n_clusters
        if isinstance(n, bool) or n not in range(1, self.n_components + 1):
            raise ValueError(
                f"n_clusters={n!r} must be a whole number from 1 to the {self.n_components} "
                "component(s) of the mixture."
            )
        return self._clusters[int(n) - 1]

    def __repr__(self):
        clusters = f"{self.n_clusters} cluster{'s' if self.n_clusters > 1 else ''}"
        return f"MergedComponents({self.n_components} components, {clusters} by {self.method})"


@dataclass(frozen=True)
class ClusterKernel:
    """The kernel of a mixture whose components are put together to clusters."""

    kernel: object
    clusters: tuple

    @property
    def block_rows(self) -> int:
        """Rows of a block."""
        return self.kernel.block_rows

    def log_joint(self, X) -> np.ndarray:
        """log(weight) + log-density of the clusters."""
        log_joint = self.kernel.log_joint(X)
        return np.stack([logsumexp0(log_joint[list(own)]) for own in self.clusters])


def _elbow(entropies: np.ndarray, merged_sizes: np.ndarray) -> int:
    """Where two lines that share a point, each fitted to the points on its side, fit best."""
    K = len(entropies)
    if K < 3:
        return K
    # of 1, ..., K clusters: rows that are merged on the way down from K
    x = np.append(np.cumsum(merged_sizes)[::-1], 0.0)
    costs = [
        _residual(x[: g + 1], entropies[: g + 1]) + _residual(x[g:], entropies[g:])
        for g in range(1, K - 1)
    ]
    return int(np.argmin(costs)) + 2


def _residual(x: np.ndarray, y: np.ndarray) -> float:
    """Sum of squares about the line of least squares."""
    x, y = x - x.mean(), y - y.mean()
    spread = x @ x
    slope = (x @ y) / spread if spread > 0 else 0.0
    return float(((y - slope * x) ** 2).sum())
