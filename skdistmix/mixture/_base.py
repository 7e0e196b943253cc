"""What the mixture estimators share: reading input, posterior quantities, criteria."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._arrays import namespace_of
from .._compute import Workers, value_names
from .._em import Score, score_pass
from .._row_values import row_values
from .._validation import validated_shards
from ..families._array_api import VALUES as ARRAY_VALUES
from ..families._base import IMPOSSIBLE, logsumexp0, posteriors0
from ..families._checks import check_sample

__all__ = ["BaseMixture"]

UNFINISHED_GAP = 2.0  # log-likelihood still to gain above which criteria mislead


class BaseMixture(DensityMixin, BaseEstimator):
    """Prediction, scoring and criteria of a fitted mixture, shard by shard.

    A subclass provides `fit`, and `_family_and_params`, the family and its fitted parameters.
    """

    @abstractmethod
    def _family_and_params(self):
        """The prepared family and the fitted parameters."""

    def fit_predict(self, X, y=None, sample_weight=None):
        """Fit, then give the most probable component of each row.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for `fit`.
        y : ignored
        sample_weight : array-like of shape (n_samples,) or list of arrays, optional
            As for `fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,), or one array a shard
            As `predict`.
        """
        return self.fit(X, sample_weight=sample_weight).predict(X)

    def predict(self, X):
        """Most probable component of each row.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for `fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,), or one array a shard
            A list for a list (or Shards), a generator of arrays, one a file, for a path or glob,
            and a lazy Dask collection of the same chunks and index for a Dask collection. Arrays of
            the library of X, on its device, where X holds PyTorch tensors or the like.
        """
        return self._rows(X, "predict")

    def predict_proba(self, X):
        """Posterior probabilities of the components for each row.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for `fit`.

        Returns
        -------
        resp : ndarray of shape (n_samples, n_components), or one array a shard
            A list for a list (or Shards), a generator of arrays, one a file, for a path or glob,
            and a lazy Dask collection of the same chunks and index for a Dask collection. Arrays of
            the library of X, on its device, where X holds PyTorch tensors or the like.
        """
        return self._rows(X, "predict_proba")

    def score_samples(self, X):
        """Log-density of each row.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for `fit`.

        Returns
        -------
        log_density : ndarray of shape (n_samples,), or one array a shard
            A list for a list (or Shards), a generator of arrays, one a file, for a path or glob,
            and a lazy Dask collection of the same chunks and index for a Dask collection. Arrays of
            the library of X, on its device, where X holds PyTorch tensors or the like.
        """
        return self._rows(X, "score_samples")

    def score(self, X, y=None, sample_weight=None):
        """Mean log-density of the rows.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for `fit`.
        y : ignored
        sample_weight : array-like of shape (n_samples,) or list of arrays, optional
            Weights of the rows.

        Returns
        -------
        float
        """
        return self._score(X, sample_weight).mean

    def bic(self, X, sample_weight=None):
        """Bayesian information criterion (Schwarz 1978), the smaller the better.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for `fit`.
        sample_weight : array-like of shape (n_samples,) or list of arrays, optional
            Weights of the rows; their sum takes the place of n.

        Returns
        -------
        float
            -2 log L + p log n.
        """
        self._warn_if_unfinished()
        return self._score(X, sample_weight).bic(self.n_parameters_)

    def aic(self, X, sample_weight=None):
        """Akaike's information criterion (1974), the smaller the better.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for `fit`.
        sample_weight : array-like of shape (n_samples,) or list of arrays, optional
            Weights of the rows.

        Returns
        -------
        float
            -2 log L + 2 p.
        """
        self._warn_if_unfinished()
        return self._score(X, sample_weight).aic(self.n_parameters_)

    def icl(self, X, sample_weight=None):
        """Integrated completed likelihood (Biernacki, Celeux and Govaert 2000), smaller is better.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for `fit`.
        sample_weight : array-like of shape (n_samples,) or list of arrays, optional
            Weights of the rows; their sum takes the place of n.

        Returns
        -------
        float
            BIC + 2 x the entropy of the posterior probabilities. R's mclust uses
            -2 x sum log max_k instead of the entropy, and the opposite sign.
        """
        self._warn_if_unfinished()
        return self._score(X, sample_weight).icl(self.n_parameters_)

    def sample(self, n_samples=1):
        """Draw rows from the fitted mixture.

        Parameters
        ----------
        n_samples : int, default=1

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
        y : ndarray of shape (n_samples,)
            The component of each row; rows are in the order of components. Noise comes last, with
            -1: drawn evenly from the box that held all rows in `fit`.

        Raises
        ------
        ValueError
            If `n_samples` is below 1, or noise has a volume but no known place, because `noise`
            was a number.
        """
        check_is_fitted(self)
        if n_samples < 1:
            raise ValueError(
                f"Invalid value for 'n_samples': {n_samples}. The sampling requires at least one "
                "sample."
            )
        family, params = self._family_and_params()
        rng = check_random_state(self.random_state)
        counts = rng.multinomial(n_samples, family.probabilities(params))
        X = family.sample(params, counts, rng)
        if not family.is_trusted:
            check_sample(family, X, n_samples)
        labels = np.repeat(np.arange(len(counts)), counts)
        if self._has_noise:
            labels = _with_noise_named(labels, len(counts) - 1)
        return X, labels

    #: Whether the last of what probabilities are given for is noise, whose label is -1.
    _has_noise = False

    def _rows(self, X, method: str):
        """What a method gives for all rows, in the form that X came in."""
        check_is_fitted(self)
        names = tuple(getattr(self, "feature_names_in_", ())) or None
        kernel, n_components = self._kernel()
        function = RowValues(
            kernel, method, self.n_features_in_, n_components, names, self._has_noise
        )
        return row_values(self, X, function, self.n_jobs)

    def _kernel(self) -> tuple:
        """The kernel whose log-joint matrix gives all values of rows, and its number of rows."""
        family, params = self._family_and_params()
        return family.kernel(params), len(family.probabilities(params))

    def _score(self, X, sample_weight) -> Score:
        check_is_fitted(self)
        shards = validated_shards(self, X, reset=False).with_weights(sample_weight)
        with Workers(self.n_jobs) as workers:
            return score_pass(workers.map_reduce, shards, self._kernel()[0], check=True)

    def _warn_if_unfinished(self):
        if getattr(self, "convergence_gap_", 0.0) > UNFINISHED_GAP:
            warnings.warn(
                "The fit stopped with more than 2 units of log-likelihood still to gain (see "
                "convergence_gap_), so criteria may rank models wrongly. Fit with "
                "tol='likelihood', or a smaller tol and a larger max_iter.",
                ConvergenceWarning,
                stacklevel=3,
            )


@dataclass(frozen=True)
class RowValues:
    """What a method gives for the rows of a block."""

    kernel: object
    method: str
    n_features: int
    n_components: int
    columns: tuple | None = None  # names seen in fit
    has_noise: bool = False  # as the last component

    check = True  # for missing values

    def __call__(self, block):
        if block.X.shape[1] != self.n_features:
            raise ValueError(
                f"X has {block.X.shape[1]} features, but the model was fitted to "
                f"{self.n_features} features."
            )
        log_joint = self.kernel.log_joint(block.X)
        values = VALUES if isinstance(log_joint, np.ndarray) else ARRAY_VALUES
        found = values[self.method](log_joint)
        if self.has_noise and self.method == "predict":
            found = _with_noise_named(found, self.n_components - 1)
        return found

    @property
    def block_rows(self) -> int:
        """Rows of a block."""
        return self.kernel.block_rows

    @property
    def names(self) -> list[str]:
        """What the values are called."""
        return value_names(self.method, self.empty)

    @property
    def empty(self) -> np.ndarray:
        """The values of no rows."""
        return VALUES[self.method](np.empty((self.n_components, 0)))


def _with_noise_named(labels, last: int):
    """Labels with -1 in place of that of the last component."""
    where = np.where if isinstance(labels, np.ndarray) else namespace_of(labels).where
    return where(labels == last, -1, labels)


def _labels(log_joint):
    # argmax along the first axis copies the matrix transposed; this walks it once
    labels, best = np.zeros(log_joint.shape[1], dtype=np.int64), log_joint[0].copy()
    for k in range(1, len(log_joint)):
        better = log_joint[k] > best
        labels[better] = k
        np.maximum(best, log_joint[k], out=best)
    return labels


def _posteriors(log_joint):
    if log_joint.shape[1] == 0:
        return np.empty((0, len(log_joint)))
    return np.ascontiguousarray(posteriors0(log_joint).T)


def _log_densities(log_joint):
    norm = logsumexp0(log_joint)
    norm[norm < IMPOSSIBLE] = -np.inf
    return norm


# Of the log-joint matrix, (K, n_rows).
VALUES = {"predict": _labels, "predict_proba": _posteriors, "score_samples": _log_densities}
