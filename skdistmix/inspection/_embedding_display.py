"""EmbeddingDisplay: codes of rows in two dimensions, in the colours of their clusters."""

from __future__ import annotations

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_array
from threadpoolctl import threadpool_limits

from .._arrays import is_foreign, to_host
from .._shards import as_shards, is_sharded
from .._validation import described
from ._drawing import percent, with_matplotlib
from ._scatter import draw_clusters, label_positions, new_square, some, write_over

__all__ = ["EmbeddingDisplay"]

METHODS = ("pca", "tsne")
FEW_POINTS = 1000  # that one thread embeds
READ_ELEMENTS = 2**21  # numbers read at once


class EmbeddingDisplay:
    """Rows as points of the plane, in the colours of their clusters.

    It shows the codes that a deep clusterer gives to rows, or rows themselves, by their principal
    components or by t-SNE. Create it with :meth:`from_estimator` or :meth:`from_codes`.

    Parameters
    ----------
    points : array-like of shape (n_points, 2)
    labels : array-like of int of shape (n_points,)
        Clusters; -1 for none.
    centers : array-like of shape (n_clusters, 2), optional
        Points in the midst of clusters.
    axis_names : tuple of two str, default=("", "")

    Attributes
    ----------
    points : ndarray of shape (n_points, 2)
    labels : ndarray of int of shape (n_points,)
    centers : ndarray of shape (n_clusters, 2) or None
    axis_names : tuple of str
    rows : ndarray of int of shape (n_points,) or None
        Which rows the points are, if the display was made from all rows.
    figure_ : matplotlib Figure
        This and what follows is there after `plot`.
    ax_ : matplotlib Axes
    artist_ : dict of matplotlib PathCollection
        The points of each label.
    text_ : dict of matplotlib Text
        The numbers of clusters.

    See Also
    --------
    AssignmentMapDisplay : Shows which rows are assigned surely.

    Notes
    -----
    Principal components keep distances as far as a plane can; what lies apart in the picture does
    lie apart. t-SNE keeps neighbours: the size of groups, and their distance, have no meaning.

    References
    ----------
    van der Maaten, L. and Hinton, G. (2008). Visualizing data using t-SNE. JMLR 9, 2579-2605.

    Okabe, M. and Ito, K. (2008). Color universal design. (The colours.)

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from skdistmix import DistributedGMM
    >>> from skdistmix.inspection import EmbeddingDisplay
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(rng.choice([-4, 0, 4], size=(900, 1)), 1.0, size=(900, 5))
    >>> gmm = DistributedGMM(n_components=3, random_state=0).fit(X)
    >>> display = EmbeddingDisplay.from_codes(X, gmm.predict(X), centers=gmm.means_)
    >>> display.points.shape, display.centers.shape
    ((900, 2), (3, 2))
    >>> plt.show()  # doctest: +SKIP
    """

    def __init__(self, *, points, labels, centers=None, axis_names=("", "")):
        self.points = check_array(points, dtype=np.float64, copy=True)
        if self.points.shape[1] != 2:
            raise ValueError(f"points have shape {self.points.shape}, expected (n_points, 2).")
        self.labels = _checked_labels(labels, len(self.points))
        self.centers = None
        if centers is not None:
            self.centers = check_array(centers, dtype=np.float64, copy=True)
            if self.centers.shape[1] != 2:
                raise ValueError(
                    f"centers have shape {self.centers.shape}, expected (n_clusters, 2)."
                )
        self.axis_names = tuple(axis_names)
        self.rows = None

    @classmethod
    def from_codes(
        cls,
        codes,
        labels,
        *,
        centers=None,
        method="pca",
        max_points=5000,
        random_state=0,
        ax=None,
        scatter_kw=None,
    ):
        """Show codes that are there already.

        Parameters
        ----------
        codes : array-like of shape (n_samples, n_columns), or list of these
            One array, or one a shard, with at least two columns; two are drawn as they are.
        labels : array-like of int of shape (n_samples,), or list of these
            Clusters, or known classes; -1 for none.
        centers : array-like of shape (n_clusters, n_columns), optional
            In the space of the codes.
        method : {"pca", "tsne"}, default="pca"
            As for :meth:`from_estimator`.
        max_points : int, default=5000
            As for :meth:`from_estimator`.
        random_state : int, default=0
            As for :meth:`from_estimator`.
        ax : matplotlib Axes, optional
            As for :meth:`plot`.
        scatter_kw : dict, optional
            As for :meth:`plot`.

        Returns
        -------
        EmbeddingDisplay
            After `plot`.

        Raises
        ------
        ValueError
            If there are fewer than two columns or three rows, labels or centers do not fit, or the
            method is unknown.
        ImportError
            If matplotlib is not installed.
        """
        with_matplotlib("EmbeddingDisplay")  # before the embedding, which takes a while
        several = isinstance(codes, (list, tuple)) and is_sharded(codes)
        parts = [_host(part) for part in codes] if several else [_host(codes)]
        codes = np.concatenate(parts)
        labels = _labels_of(labels, len(codes))
        rows = some(len(codes), max_points, random_state)
        display = cls._embedded(codes[rows], labels[rows], centers, method, random_state)
        display.rows = rows
        return display.plot(ax=ax, scatter_kw=scatter_kw)

    @classmethod
    def from_estimator(
        cls,
        clusterer,
        X,
        *,
        labels=None,
        centers=None,
        method="pca",
        max_points=5000,
        random_state=0,
        ax=None,
        scatter_kw=None,
    ):
        """Show the codes that a fitted clusterer gives to rows.

        Parameters
        ----------
        clusterer : estimator
            Fitted, with ``transform``, which gives the codes, and ``predict``.
        X : array-like, DataFrame, list, path, glob or Shards
            As for the clusterer. Only the rows that are drawn are given to it.
        labels : array-like of int of shape (n_samples,) or list of arrays, optional
            Known classes of all rows. None: what ``predict`` gives.
        centers : array-like of shape (n_clusters, n_codes), optional
            In the space of the codes.
        method : {"pca", "tsne"}, default="pca"
            The two first principal components of the codes, or t-SNE (van der Maaten and Hinton
            2008), which takes a minute or more for 5,000 rows. Codes of two columns are drawn as
            they are.
        max_points : int, default=5000
            Of more rows a random sample is shown.
        random_state : int, default=0
            Seed of the sample and of t-SNE.
        ax : matplotlib Axes, optional
            As for :meth:`plot`.
        scatter_kw : dict, optional
            As for :meth:`plot`.

        Returns
        -------
        EmbeddingDisplay
            After `plot`.

        Raises
        ------
        TypeError
            If the clusterer has no ``transform`` or, where there are no labels, ``predict``.
        NotFittedError
            If it is not fitted.
        ValueError
            As for :meth:`from_codes`.
        ImportError
            If matplotlib is not installed.
        """
        with_matplotlib("EmbeddingDisplay")
        for method_name in ("transform",) if labels is not None else ("transform", "predict"):
            if isinstance(clusterer, type) or not hasattr(clusterer, method_name):
                raise TypeError(
                    f"EmbeddingDisplay needs {method_name} of a fitted clusterer, got "
                    f"{described(clusterer)}. Of a model without codes show the rows: "
                    "EmbeddingDisplay.from_codes(X, model.predict(X))."
                )
        drawn, rows, n_rows = _some_rows(clusterer, X, max_points, random_state)
        if labels is None:
            labels = _host(clusterer.predict(drawn))
        else:
            labels = _labels_of(labels, n_rows)[rows]
        codes = _host(clusterer.transform(drawn))
        display = cls._embedded(codes, labels, centers, method, random_state)
        display.rows = rows
        return display.plot(ax=ax, scatter_kw=scatter_kw)

    @classmethod
    def _embedded(cls, codes, labels, centers, method, random_state):
        if method not in METHODS:
            raise ValueError(f"method={method!r} must be one of {list(METHODS)}.")
        codes = check_array(codes, dtype=np.float64, ensure_min_samples=3)
        if codes.shape[1] < 2:
            raise ValueError("Codes have one column: a histogram shows it, an embedding cannot.")
        if centers is not None:
            centers = check_array(centers, dtype=np.float64)
            if centers.shape[1] != codes.shape[1]:
                raise ValueError(
                    f"centers have {centers.shape[1]} columns, the codes {codes.shape[1]}: give "
                    "them in the space of the codes."
                )
        points, middle, names = _plane(codes, centers, method, random_state)
        return cls(points=points, labels=labels, centers=middle, axis_names=names)

    def plot(self, *, ax=None, names=None, scatter_kw=None):
        """Draw the points.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            None: a new figure.
        names : sequence of str, optional
            Names of clusters 0, 1 and so on, written in their midst. None: the numbers.
        scatter_kw : dict, optional
            Passed to ``Axes.scatter``.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there are fewer names than clusters.
        ImportError
            If matplotlib is not installed.
        """
        with_matplotlib("EmbeddingDisplay")
        largest = int(self.labels.max())
        if names is not None and len(names) <= largest:
            raise ValueError(f"{len(names)} names were given, but there is a label {largest}.")
        if ax is None:
            ax = new_square()
        self.ax_, self.figure_ = ax, ax.figure
        x, y = self.points.T
        self.artist_ = draw_clusters(ax, x, y, self.labels, scatter_kw)
        if self.centers is not None:
            ax.scatter(
                *self.centers.T, s=110, marker="X", color="w", edgecolors="k", linewidths=1.4,
                zorder=4,
            )  # fmt: skip
        above = 0.0 if self.centers is None else 13.0
        self.text_ = {
            label: write_over(ax, place, str(label if names is None else names[label]), above)
            for label, place in self._places().items()
        }
        ax.set(xlabel=self.axis_names[0], ylabel=self.axis_names[1])
        ax.tick_params(labelbottom=False, labelleft=False, length=0)
        ax.grid(False)
        ax.set_aspect("equal", adjustable="datalim")
        return self

    def _places(self) -> dict:
        """Where the clusters are named: at their centers, or in the midst of their points."""
        places = label_positions(*self.points.T, self.labels)
        if self.centers is not None:
            known = {k: tuple(center) for k, center in enumerate(self.centers.tolist())}
            places = {label: known.get(label, place) for label, place in places.items()}
        return places


# --------------------------------------------------------------------------- points


def _plane(codes, centers, method, random_state):
    """Points of the plane for codes and centers, and names of its axes."""
    if codes.shape[1] == 2:
        return codes, centers, ("code 0", "code 1")
    if method == "pca":
        pca = PCA(2, random_state=random_state).fit(codes)
        shares = pca.explained_variance_ratio_
        names = tuple(
            f"principal component {i + 1} ({percent(share)} of variance)"
            for i, share in enumerate(shares)
        )
        return pca.transform(codes), None if centers is None else pca.transform(centers), names
    # Centers take part as further points: t-SNE has no way to place points later.
    every = codes if centers is None else np.concatenate([codes, centers])
    perplexity = min(30.0, (len(every) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, random_state=random_state)
    # Few points are done sooner than threads have met a thousand times, on a busy machine by far.
    with threadpool_limits(1 if len(every) <= FEW_POINTS else None, user_api="openmp"):
        points = tsne.fit_transform(every)
    n = len(codes)
    return points[:n], None if centers is None else points[n:], ("t-SNE 1", "t-SNE 2")


def _some_rows(clusterer, X, max_points, random_state):
    """Random rows as the clusterer takes them, their indices, and the number of all rows."""
    if not is_sharded(X):
        n = X.shape[0] if hasattr(X, "shape") else len(X)
        rows = some(n, max_points, random_state)
        return (X[rows] if is_foreign(X) else _safe_indexing(X, rows)), rows, n
    shards = as_shards(X).on_host()
    rows = some(shards.n_rows, max_points, random_state)
    parts, first, size = [], 0, max(1, READ_ELEMENTS // shards.n_features)
    for shard in shards:
        for read in shard.reads(0, shard.n_rows, size):
            here = rows[np.searchsorted(rows, first) : np.searchsorted(rows, first + len(read))]
            parts.append(read[here - first])
            first += len(read)
    drawn = np.concatenate(parts)
    if hasattr(clusterer, "feature_names_in_") and shards.columns is not None:
        import pandas as pd

        drawn = pd.DataFrame(drawn, columns=list(shards.columns))
    return drawn, rows, shards.n_rows


def _host(values) -> np.ndarray:
    return to_host(values) if is_foreign(values) else np.asarray(values)


def _labels_of(labels, n_rows: int) -> np.ndarray:
    """Labels of all rows, which come as one array or one array a shard."""
    if isinstance(labels, (list, tuple)) and any(np.ndim(part) for part in labels):
        labels = np.concatenate([_host(part) for part in labels])
    return _checked_labels(_host(labels), n_rows)


def _checked_labels(labels, n: int) -> np.ndarray:
    labels = np.array(labels)
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"labels have shape {labels.shape} and dtype {labels.dtype}, expected whole numbers of "
            f"shape ({n},)."
        )
    return labels
