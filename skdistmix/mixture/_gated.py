"""Prediction of mixtures that experts and a gate make together."""

from __future__ import annotations

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._compute import Workers
from .._em import score_pass
from .._experts import ExpertKernel, Experts
from .._row_values import any_dask, mapped, seen_shards
from .._shards import is_sharded, split_rows
from .._validation import validated_shards
from ._base import BaseMixture, RowValues
from ._errors import StandardErrors

__all__ = ["GATES", "GatedMixture", "checked_context", "context_names"]

#: Gates, and whether they make a density of the experts.
GATES = {"bayes": True, "context": True, "softmax": False, "gaussian": False}


class GatedMixture(StandardErrors, BaseMixture):
    """What the experts, the gate and the one mixture of an aggregate say of rows.

    A subclass sets `mixture_`, `experts_`, `expert_labels_`, `shard_weights_` and `gate_`.
    """

    def predict(self, X, context=None):
        """Most probable global component of each row.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for `fit`.
        context : array-like of shape (n_samples, n_columns), or list of arrays, optional
            Side information, with ``gate="context"``.

        Returns
        -------
        labels : ndarray of shape (n_samples,), or one array a shard
            As :meth:`DistributedGMM.predict` gives them; with a context a list for a path.
        """
        return self._rows(X, "predict", context)

    def predict_proba(self, X, context=None):
        """Posterior probabilities of the global components for each row.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for `fit`.
        context : array-like of shape (n_samples, n_columns), or list of arrays, optional
            Side information, with ``gate="context"``.

        Returns
        -------
        resp : ndarray of shape (n_samples, n_components), or one array a shard
            As :meth:`DistributedGMM.predict_proba` gives them.
        """
        return self._rows(X, "predict_proba", context)

    def score_samples(self, X, context=None):
        """Log-density of each row; with a context, given this.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for `fit`.
        context : array-like of shape (n_samples, n_columns), or list of arrays, optional
            Side information, with ``gate="context"``.

        Returns
        -------
        log_density : ndarray of shape (n_samples,), or one array a shard

        Raises
        ------
        ValueError
            With ``gate="softmax"`` or ``"gaussian"``: densities of x in shares that depend on x
            are no density.
        """
        self._refuse_no_density("score_samples")
        return self._rows(X, "score_samples", context)

    def score(self, X, y=None, sample_weight=None, context=None):
        """Mean log-density of the rows.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for `fit`.
        y : ignored
        sample_weight : array-like of shape (n_samples,) or list of arrays, optional
            Weights of the rows.
        context : array-like of shape (n_samples, n_columns), or list of arrays, optional
            Side information, with ``gate="context"``.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            With ``gate="softmax"`` or ``"gaussian"``, see :meth:`score_samples`.
        """
        return self._score(X, sample_weight, context).mean

    def bic(self, X, sample_weight=None, context=None):
        """Bayesian information criterion, see :meth:`DistributedGMM.bic`.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for `fit`.
        sample_weight : array-like of shape (n_samples,) or list of arrays, optional
            Weights of the rows; their sum takes the place of n.
        context : array-like of shape (n_samples, n_columns), or list of arrays, optional
            Side information, with ``gate="context"``.

        Returns
        -------
        float
        """
        return self._score(X, sample_weight, context).bic(self.n_parameters_)

    def aic(self, X, sample_weight=None, context=None):
        """Akaike's information criterion, see :meth:`DistributedGMM.aic`.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for `fit`.
        sample_weight : array-like of shape (n_samples,) or list of arrays, optional
            Weights of the rows.
        context : array-like of shape (n_samples, n_columns), or list of arrays, optional
            Side information, with ``gate="context"``.

        Returns
        -------
        float
        """
        return self._score(X, sample_weight, context).aic(self.n_parameters_)

    def icl(self, X, sample_weight=None, context=None):
        """Integrated completed likelihood, see :meth:`DistributedGMM.icl`.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for `fit`.
        sample_weight : array-like of shape (n_samples,) or list of arrays, optional
            Weights of the rows; their sum takes the place of n.
        context : array-like of shape (n_samples, n_columns), or list of arrays, optional
            Side information, with ``gate="context"``.

        Returns
        -------
        float
        """
        return self._score(X, sample_weight, context).icl(self.n_parameters_)

    def sample(self, n_samples=1):
        """Draw rows from the density.

        Parameters
        ----------
        n_samples : int, default=1

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
        y : ndarray of shape (n_samples,)
            The global component of each row.

        Raises
        ------
        ValueError
            If there is no density of rows alone: with any gate but "bayes".
        """
        self._refuse_no_density("sample")
        if self._fitted_gate == "context":
            raise ValueError(
                "With gate='context' the density of rows depends on their context, so there is "
                "nothing to draw from without one: use mixture_.sample, or gate='bayes'."
            )
        if self._fitted_aggregation != "stacking":
            return super().sample(n_samples)
        if n_samples < 1:
            raise ValueError(f"Invalid value for 'n_samples': {n_samples}. At least one is needed.")
        models, labels = self._experts()
        shares = self.gate_.weights
        pooled = type(models[0]).join([m.scaled(a) for m, a in zip(models, shares, strict=True)])
        rng = check_random_state(self.random_state)
        counts = rng.multinomial(n_samples, pooled.weights / pooled.weights.sum())
        return pooled.sample(counts, rng), np.repeat(labels, counts)

    # ------------------------------------------------------------------ what stands behind

    def _family_and_params(self):
        return self.mixture_._family_and_params()

    _nearer = (
        "Local models combined do not reach it: add iterations with refine, or fit DistributedGMM"
    )

    def _check_is_one_mixture(self):
        if self._fitted_aggregation != "stacking" and self._fitted_gate == "bayes":
            return
        why = f"aggregation={self._fitted_aggregation!r} and gate={self._fitted_gate!r}"
        raise ValueError(
            f"standard_errors are those of one mixture, and with {why} rows are judged by the "
            "experts, each a mixture of its own: use another aggregation with gate='bayes', or "
            "standard_errors of an expert for the rows of its shard."
        )

    def _experts(self) -> tuple:
        """Components of the experts that take part, and the global component of each of these."""
        taking_part = np.flatnonzero(self.shard_weights_)
        models = []
        for m in taking_part:
            family, params = self.experts_[m]._family_and_params()
            models.append(family.components(params))
        return models, np.concatenate([self.expert_labels_[m] for m in taking_part])

    def _kernel(self):
        if self._fitted_gate == "bayes" and self._fitted_aggregation != "stacking":
            return super()._kernel()
        family, params = self._family_and_params()
        is_density, n_components = GATES[self._fitted_gate], len(params.weights)
        experts = Experts.of(family, *self._experts())
        kernel = ExpertKernel(experts, self.gate_, n_components, self.n_features_in_, is_density)
        return kernel, n_components

    def _rows(self, X, method, context=None):
        check_is_fitted(self)
        self._check_has_context(context)
        if context is None:
            return super()._rows(X, method)
        if any_dask(X):
            raise ValueError(
                "With a context, Dask collections are not predicted lazily: give as_shards(X)."
            )
        shards = seen_shards(self, X)
        columns = self._checked_context(context, shards)
        kernel, n_components = self._kernel()
        width = self.n_features_in_ + self.n_context_columns_
        function = RowValues(kernel, method, width, n_components)
        results = mapped(function, shards.beside(columns), self.n_jobs)
        return results if is_sharded(X) else results[0]

    def _score(self, X, sample_weight, context=None):
        check_is_fitted(self)
        self._refuse_no_density("score")
        self._check_has_context(context)
        shards = validated_shards(self, X, reset=False).with_weights(sample_weight)
        if context is not None:
            shards = shards.beside(self._checked_context(context, shards))
        with Workers(self.n_jobs) as workers:
            return score_pass(workers.map_reduce, shards, self._kernel()[0], check=True)

    def _checked_context(self, context, shards):
        return checked_context(context, shards, self.n_context_columns_, self._context_names)

    def _check_has_context(self, context):
        if context is None and self._fitted_gate == "context":
            raise ValueError(
                "The gate was fitted to a context of "
                f"{self.n_context_columns_} column(s), and none was given: call with context=U, "
                "one row of U for each row of X."
            )
        if context is not None and self._fitted_gate != "context":
            raise ValueError(
                f"A context was given, but the gate is {self._fitted_gate!r}: fit with "
                "gate='context' and a context."
            )

    def _refuse_no_density(self, what: str):
        check_is_fitted(self)
        if not GATES[self._fitted_gate]:
            raise ValueError(
                f"{what} needs a density, and with gate={self._fitted_gate!r} there is none: "
                "shares of the experts that depend on x, times densities of the same x, do not "
                "integrate to one. predict and predict_proba are well defined; for densities use "
                "gate='bayes' or 'context', or score_samples of mixture_."
            )


def checked_context(context, shards, n_columns: int | None = None, names=None) -> list:
    """Side information as one array of numbers a shard, shape (n_rows, n_columns).

    `names` are those of the columns in `fit`, if they had any.
    """
    parts = split_rows(context, shards, "context", ndim=(1, 2))
    parts = [part[:, None] if part.ndim == 1 else part for part in parts]
    widths = {part.shape[1] for part in parts}
    if len(widths) > 1 or 0 in widths or (n_columns is not None and widths != {n_columns}):
        expected = "the same number everywhere" if n_columns is None else f"{n_columns} as in fit"
        raise ValueError(f"context has {sorted(widths)} columns, expected {expected}.")
    given = context_names(context)
    if names is not None and given is not None and given != names:
        raise ValueError(f"context has the columns {given}, in fit it had {names}.")
    for part, shard in zip(parts, shards, strict=True):
        if not np.isfinite(part).all():
            row = int(np.flatnonzero(~np.isfinite(part).all(axis=1))[0])
            raise ValueError(f"context contains NaN or infinity: {shard.name}, row {row}.")
    return parts


def context_names(context) -> list[str] | None:
    """Names of the columns of a DataFrame, or of a list of them, that all are strings."""
    frames = context if isinstance(context, (list, tuple)) else [context]
    named = [list(frame.columns) for frame in frames if hasattr(frame, "columns")]
    if not named or not all(isinstance(name, str) for name in named[0]):
        return None
    if any(names != named[0] for names in named):
        raise ValueError(f"context has columns {named[0]} in one shard, and others elsewhere.")
    return named[0]
