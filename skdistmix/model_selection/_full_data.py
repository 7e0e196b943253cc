"""FullData: a cross-validation splitter that does not split."""

from __future__ import annotations

import os

import numpy as np
from sklearn.utils.validation import _num_samples

from .._shards import is_zarr

__all__ = ["FullData"]


class FullData:
    """One split in which all data serve for training and for testing.

    Information criteria charge for every parameter already, so they are computed on the data the
    model was fitted to: with ``cv=FullData()`` a search of scikit-learn ranks by the criterion of
    the whole data. Folds would charge log n for the wrong n, and leave out rows for nothing.

    Notes
    -----
    A search indexes X with the integers given here. For shards (a list of arrays, DataFrames or
    paths, or what :func:`skdistmix.as_shards` returns) that hands on the same shards, one "sample"
    each. An array or DataFrame is copied for each fit and each score: give large arrays and
    memmaps as ``as_shards(X)``.

    See Also
    --------
    neg_bic, neg_aic, neg_icl : The criteria as scorers.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skdistmix import DistributedGMM
    >>> from skdistmix.model_selection import FullData, neg_bic
    >>> rng = np.random.default_rng(0)
    >>> shards = [rng.normal(center, 1.0, size=(200, 2)) for center in (-5, 0, 5)]
    >>> search = GridSearchCV(
    ...     DistributedGMM(tol="likelihood", max_iter=1000, random_state=0),
    ...     {"n_components": [1, 2, 3, 4]},
    ...     scoring=neg_bic,
    ...     cv=FullData(),
    ... )
    >>> search.fit(shards).best_params_
    {'n_components': 3}
    """

    def split(self, X, y=None, groups=None):
        """Give all indices, twice.

        Parameters
        ----------
        X : array-like, DataFrame, list of shards or Shards
            Only its number of samples matters; that of data in shards is the number of shards.
        y, groups : ignored

        Yields
        ------
        train, test : ndarray of int of shape (n_samples,)

        Raises
        ------
        TypeError
            If X is a path or glob, which has no number of samples, or an open zarr array, which a
            search cannot index.
        """
        if isinstance(X, (str, os.PathLike)):
            raise TypeError(
                f"A search cannot index the path {os.fspath(X)!r}: give as_shards(path), or a list "
                "of paths."
            )
        if is_zarr(X):
            raise TypeError("A search cannot index an open zarr array: give as_shards(array).")
        n_samples = _num_samples(X)
        yield np.arange(n_samples), np.arange(n_samples)

    def get_n_splits(self, X=None, y=None, groups=None):
        """Number of splits.

        Parameters
        ----------
        X, y, groups : ignored

        Returns
        -------
        int
            1.
        """
        return 1

    def __repr__(self):
        return "FullData()"
