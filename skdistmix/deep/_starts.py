"""Where clusters begin: labels of codes, and centres from them."""

from __future__ import annotations

import numpy as np
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.metrics import pairwise_distances_argmin

from ..cluster import LandmarkSpectralClustering

__all__ = ["INITS", "centers_of", "reseeded", "start_labels"]

INITS = ("auto", "kmeans", "landmark_spectral")
N_INIT = 20  # restarts of k-means (Xie, Girshick and Farhadi 2016)
MOST_ROWS = 200_000  # from which a clusterer learns; the others get its labels
MOST_WITHOUT_PREDICT = 10_000  # for clusterers that label only what they learn from


def start_labels(init, codes: np.ndarray, n_clusters: int, rng) -> np.ndarray:
    """Labels of codes before they are learnt together.

    Parameters
    ----------
    init : {"kmeans", "landmark_spectral"} or clusterer
        A clusterer or mixture of scikit-learn's kind; it is cloned, and gets the number of clusters
        and a seed.
    codes : ndarray of shape (n_rows, n_components)
    n_clusters : int
    rng : numpy.random.RandomState

    Raises
    ------
    ValueError
        If the clusterer finds another number of clusters.
    """
    clusterer = _clusterer(init, n_clusters, rng)
    most = MOST_ROWS if hasattr(clusterer, "predict") else MOST_WITHOUT_PREDICT
    codes = codes.astype(np.float64)
    some = codes
    if len(codes) > most:
        some = codes[np.sort(rng.choice(len(codes), most, replace=False))]
    labels = np.asarray(clusterer.fit_predict(some))
    found = np.unique(labels[labels >= 0])  # negative: noise of density-based methods
    if len(found) != n_clusters:
        raise ValueError(
            f"init={init!r} finds {len(found)} clusters of the codes, and n_clusters={n_clusters}."
        )
    means = np.stack([some[labels == label].mean(axis=0) for label in found])
    if len(some) < len(codes):
        if not hasattr(clusterer, "predict"):
            return pairwise_distances_argmin(codes, means)
        labels = np.asarray(clusterer.predict(codes))
    noise = labels < 0
    places = np.searchsorted(found, labels)
    if noise.any():
        places[noise] = pairwise_distances_argmin(codes[noise], means)
    return places


def _clusterer(init, n_clusters: int, rng):
    if init == "kmeans":
        return KMeans(n_clusters, n_init=N_INIT, random_state=rng)
    if init == "landmark_spectral":
        seed = rng.randint(np.iinfo(np.int32).max)
        return LandmarkSpectralClustering(n_clusters, random_state=seed)
    clusterer = clone(init)
    parameters = clusterer.get_params()
    for name in ("n_clusters", "n_components"):
        if name in parameters:
            clusterer.set_params(**{name: n_clusters})
            break
    if parameters.get("random_state", 0) is None:
        clusterer.set_params(random_state=rng.randint(np.iinfo(np.int32).max))
    return clusterer


def centers_of(codes: np.ndarray, labels: np.ndarray, n_clusters: int) -> np.ndarray:
    """Means of the codes of each cluster, shape (n_clusters, n_components)."""
    sums = np.stack(
        [np.bincount(labels, weights=column, minlength=n_clusters) for column in codes.T], axis=1
    )
    return sums / np.bincount(labels, minlength=n_clusters)[:, None]


def reseeded(codes: np.ndarray, centers: np.ndarray, labels: np.ndarray, rng) -> np.ndarray | None:
    """Centres of which those of empty clusters are moved; None if there is no empty cluster.

    Each goes to a row of the cluster with the largest sum of squared distances from its centre,
    drawn in proportion to these.
    """
    empty = np.flatnonzero(np.bincount(labels, minlength=len(centers)) == 0)
    if len(empty) == 0:
        return None
    centers, squared = centers.copy(), ((codes - centers[labels]) ** 2).sum(axis=1)
    for k in empty:
        widest = np.bincount(labels, weights=squared, minlength=len(centers)).argmax()
        inside = np.flatnonzero(labels == widest)
        chances = squared[inside]
        if not chances.sum() > 0:
            return centers  # fewer different codes than clusters
        row = inside[np.searchsorted(np.cumsum(chances), rng.uniform(0, chances.sum()))]
        centers[k] = codes[row]
        nearer = ((codes[inside] - centers[k]) ** 2).sum(axis=1)
        closer = nearer < squared[inside]
        labels = labels.copy()
        labels[inside[closer]] = k
        squared[inside[closer]] = nearer[closer]
    return centers
