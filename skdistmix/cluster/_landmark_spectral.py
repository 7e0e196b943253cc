"""LandmarkSpectralClustering: spectral clustering over shards."""

from __future__ import annotations

import warnings
from numbers import Integral

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils._set_output import _wrap_data_with_container
from sklearn.utils.validation import check_is_fitted

from .._compute import Workers
from .._em import first_pass
from .._landmarks import LandmarkSample
from .._row_values import mapped, row_values
from .._shards import Shard, is_sharded
from .._spectral import SpectralDraw, first_of_the_smallest, spectral_draw
from .._validation import validated_shards
from ._rows import RowFunction

__all__ = ["LandmarkSpectralClustering"]

MOST_LANDMARKS, ROWS_A_LANDMARK = 2000, 4
LANDMARKS_A_CLUSTER = 10


class LandmarkSpectralClustering(
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    ClusterMixin,
    BaseEstimator,
    auto_wrap_output_keys=None,
):
    """Spectral clustering through landmarks, for clusters of any shape and many rows.

    Each row is linked to its nearest landmarks, which are centres of k-means, by Gaussian weights
    that sum to 1. The leading left singular vectors of this sparse matrix of links, its columns
    scaled by the square root of their sums, are the spectral embedding; its rows, scaled to length
    1, are clustered by k-means [1]_. Work and memory grow with the number of rows as those of a
    pass over them do: no rows meet but in sums, and new rows find their cluster in the same way.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters, and of columns of the embedding.
    n_landmarks : int or "auto", default="auto"
        "auto": a quarter of the distinct rows, at least 10 a cluster, at most 2,000. There are
        never more than distinct rows.
    n_neighbors : int, default=3
        Landmarks that a row is linked to. Few keep clusters apart, more join them.
    n_draws : int, default=5
        Random draws of landmarks. The one with the lowest inertia is kept: draws differ, and often
        the tightest embedding is a right one, though that is no certainty.
    n_jobs : int, optional
        Number of workers, as in :class:`skdistmix.DistributedGMM`.
    random_state : int, RandomState instance or None, default=None
        Seed of the sample, the landmarks and of k-means.
    verbose : int, default=0
        1 prints a line a draw.

    Attributes
    ----------
    labels_ : ndarray of shape (n_samples,), or list of these, one a shard
        The cluster of each row: a list where X came in pieces.
    landmarks_ : ndarray of shape (n_landmarks, n_features)
        Those that rows are linked to.
    bandwidth_ : float
        Squared distance at which the weight of a link falls to 1/e: the mean squared distance of
        rows to their last linked landmark.
    cluster_centers_ : ndarray of shape (n_clusters, n_clusters)
        Centres in the embedding.
    inertia_ : float
        Mean squared distance of rows of the embedding to their centre, in the draw that is kept.
    inertias_ : ndarray of shape (n_draws,)
        The same for each draw.
    eigenvalues_ : ndarray of shape (n_clusters,)
        Of the normalised graph of landmarks, in falling order. The first is 1, and as many are 1
        as the graph has pieces without a link between them.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if X had string column names.

    See Also
    --------
    sklearn.cluster.SpectralClustering : The graph of all rows, for some thousands of them.
    skdistmix.DistributedGMM : For clusters that are clouds rather than curves or sheets.

    Notes
    -----
    Landmarks, bandwidth and the centres of clusters come from a random sample of at least 20,000
    rows and 10 a landmark; the sums that give the singular vectors from all rows. Up to twice
    as many rows are the sample themselves. Landmarks are looked for by k-means in the 32
    directions in which the sample varies most, from rows drawn as in k-means++, in rounds.

    A graph that falls into more pieces than there are clusters has no unique leading vectors; then
    the pieces are joined by weak links along the shortest tree between their landmarks.

    Distances need columns of comparable scale.

    References
    ----------
    .. [1] Chen, X. and Cai, D. (2011). Large scale spectral clustering with landmark-based
       representation. AAAI 25, 313-318.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import make_moons
    >>> from skdistmix.cluster import LandmarkSpectralClustering
    >>> X, y = make_moons(1000, noise=0.05, random_state=0)
    >>> shards = [X[:300], X[300:]]
    >>> model = LandmarkSpectralClustering(n_clusters=2, random_state=0).fit(shards)
    >>> [len(labels) for labels in model.labels_]
    [300, 700]
    >>> labels = np.concatenate(model.labels_)
    >>> bool(np.array_equal(labels, y) or np.array_equal(labels, 1 - y))
    True
    """

    _parameter_constraints: dict = {
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "n_landmarks": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "n_draws": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_clusters=8,
        *,
        n_landmarks="auto",
        n_neighbors=3,
        n_draws=5,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.n_clusters = n_clusters
        self.n_landmarks = n_landmarks
        self.n_neighbors = n_neighbors
        self.n_draws = n_draws
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None):
        """Find the clusters.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            One array, memmap, zarr array or DataFrame; a list of 2-D arrays, DataFrames, paths,
            futures, delayed values or shards, each one shard; a path, folder or glob of ``.npy``,
            ``.parquet`` or ``.zarr``; a Dask array or DataFrame; or what
            :func:`skdistmix.as_shards` returns.
        y : ignored
        sample_weight : array-like of shape (n_samples,), list of arrays, path, str, optional
            Frequency weights: weight 2 counts as two equal rows, weight 0 as none. Rows of weight
            0 have labels too.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there are more clusters than rows or landmarks, or more neighbours than
            landmarks; if rows contain NaN or infinity (shard and row are named), shards differ in
            their columns, or weights do not fit.

        Warns
        -----
        ConvergenceWarning
            If some clusters have no row, as where distinct rows are fewer.
        """
        rows = validated_shards(self, X, reset=True)
        shards = rows.with_weights(sample_weight)
        self._check_numbers(shards.n_rows)
        rng = check_random_state(self.random_state)
        seeds = rng.randint(np.iinfo(np.int32).max, size=self.n_draws + 1).tolist()
        with Workers(self.n_jobs) as workers:
            moments = first_pass(workers.map_reduce, shards, False, self.n_clusters)
            work = workers.map_reduce, workers.map_rows
            most = MOST_LANDMARKS if self.n_landmarks == "auto" else self.n_landmarks
            sample = LandmarkSample.of(work[0], shards, moments, most, seeds[0])
            n_landmarks = self._number_of_landmarks(len(sample.X))
            draws = []
            for i, seed in enumerate(seeds[1:]):
                numbers = self.n_clusters, n_landmarks, self.n_neighbors
                draws.append(spectral_draw(*work, shards, sample, *numbers, seed))
                if self.verbose:
                    print(f"Draw {i} of landmarks, inertia {draws[-1].inertia:.6f}")
        self._store(draws)
        labels = mapped(self._function("predict"), rows, self.n_jobs)
        self.labels_ = labels if is_sharded(X) else labels[0]
        n_found = len(set().union(*(np.unique(some).tolist() for some in labels)))
        if n_found < self.n_clusters:
            warnings.warn(
                f"Only {n_found} of {self.n_clusters} clusters have rows. Use a smaller n_clusters "
                "or a larger n_landmarks.",
                ConvergenceWarning,
                stacklevel=3,  # the caller of fit, which a decorator wraps
            )
        return self

    def fit_predict(self, X, y=None, sample_weight=None):
        """Find the clusters and give that of each row.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for `fit`.
        y : ignored
        sample_weight : array-like of shape (n_samples,) or list of arrays, optional
            As for `fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,), or list of these, one a shard
            `labels_`.
        """
        return self.fit(X, sample_weight=sample_weight).labels_

    def predict(self, X):
        """The cluster of each row, of rows seen in fit or not.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for `fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,), or one array a shard
            A list for a list (or Shards), a generator of arrays, one a file, for a path or glob,
            and a lazy Dask collection of the same chunks and index for a Dask collection.

        Raises
        ------
        ValueError
            If columns are not those seen in `fit`, or rows contain NaN or infinity.
        """
        check_is_fitted(self)
        return row_values(self, X, self._function("predict"), self.n_jobs)

    def transform(self, X):
        """The spectral embedding of each row, of length 1.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for `fit`.

        Returns
        -------
        Y : ndarray of shape (n_samples, n_clusters), or one array a shard
            In the forms of `predict`; DataFrames for one array or a list of arrays or DataFrames
            after ``set_output``.

        Raises
        ------
        ValueError
            If columns are not those seen in `fit`, or rows contain NaN or infinity.
        """
        check_is_fitted(self)
        values = row_values(self, X, self._function("transform"), self.n_jobs)
        if isinstance(X, (list, tuple)) and is_sharded(X):
            return [self._contained(some, rows) for some, rows in zip(values, X, strict=True)]
        return self._contained(values, X)

    def set_output(self, *, transform=None):
        """Choose the container that `transform` gives for rows in memory.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, optional
            None changes nothing.

        Returns
        -------
        self
        """
        return super().set_output(transform=transform)

    def _contained(self, values, rows):
        """Values of rows in the container of ``set_output``, where both are in memory."""
        if not isinstance(values, np.ndarray) or isinstance(rows, Shard):
            return values
        return _wrap_data_with_container("transform", values, rows, self)

    def _check_numbers(self, n_rows):
        """Check the numbers that were asked for against each other, before a row is read."""
        if n_rows < self.n_clusters:
            raise ValueError(
                f"n_samples={n_rows} should be >= n_clusters={self.n_clusters}: give more rows or "
                "ask for fewer clusters."
            )
        if self.n_landmarks == "auto":
            return
        for name in ("n_clusters", "n_neighbors"):
            if getattr(self, name) > self.n_landmarks:
                raise ValueError(
                    f"{name}={getattr(self, name)} is more than n_landmarks={self.n_landmarks}: "
                    f"use a smaller {name} or a larger n_landmarks."
                )

    def _number_of_landmarks(self, n_distinct):
        number = self.n_landmarks
        if number == "auto":
            fewest = LANDMARKS_A_CLUSTER * self.n_clusters
            number = min(MOST_LANDMARKS, max(n_distinct // ROWS_A_LANDMARK, fewest))
        return min(max(number, self.n_clusters), n_distinct)

    def _store(self, draws):
        self.inertias_ = np.array([draw.inertia for draw in draws])
        self._draw = draws[first_of_the_smallest(self.inertias_)]
        self.inertia_, self.eigenvalues_ = self._draw.inertia, self._draw.eigenvalues
        self.landmarks_ = self._draw.landmark_map.landmarks
        self.bandwidth_ = self._draw.landmark_map.bandwidth
        self.cluster_centers_ = self._draw.centers
        self._n_features_out = self.cluster_centers_.shape[1]

    def _function(self, method) -> RowFunction:
        draw: SpectralDraw = self._draw
        if method == "predict":
            function, names, empty = draw.labels, ["label"], np.empty(0, dtype=np.int64)
        else:
            function, names = draw.landmark_map.embed, list(self.get_feature_names_out())
            empty = np.empty((0, len(names)))
        columns = tuple(getattr(self, "feature_names_in_", ())) or None
        block_rows = draw.landmark_map.block_rows
        return RowFunction(function, self.n_features_in_, columns, names, empty, block_rows)


# There is a container to set, but transform, which may give many, fills it by itself.
LandmarkSpectralClustering._sklearn_auto_wrap_output_keys = {"transform"}
