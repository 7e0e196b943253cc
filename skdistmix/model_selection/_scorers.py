"""Information criteria as scorers, also of pipelines."""

from __future__ import annotations

import warnings
from inspect import signature

import numpy as np
from sklearn.decomposition import PCA, IncrementalPCA
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

from .._shards import as_shards, is_sharded
from ..preprocessing import Shardwise

__all__ = ["neg_aic", "neg_bic", "neg_icl"]


def neg_bic(estimator, X, y=None, sample_weight=None):
    """Minus the Bayesian information criterion: 2 log L - p log n, larger is better.

    Parameters
    ----------
    estimator : fitted estimator or Pipeline
        With a method ``bic(X)``, smaller is better; or a Pipeline whose last step has one. X goes
        through the ``transform`` of the steps before it.
    X : array-like or DataFrame of shape (n_samples, n_features), list, path, glob or Shards
        What the estimator takes.
    y : ignored
    sample_weight : array-like of shape (n_samples,) or list of arrays, optional
        Weights of the rows; n is their sum.

    Returns
    -------
    float

    Raises
    ------
    TypeError
        If the last step has no method ``bic``, or there are weights and it takes none.

    See Also
    --------
    FullData : The splitter for information criteria; with folds, n is wrong.

    Notes
    -----
    Criteria are comparable between models of the density of the same rows. Steps that map rows to
    z by an affine function without loss are therefore undone: with J = dz/dx the density of x is
    that of z times abs(det J), so ``2 n log abs(det J)`` is added to the score. These steps are
    StandardScaler, MinMaxScaler and MaxAbsScaler without clip, RobustScaler, PCA and
    IncrementalPCA that keep all components (whitened or not), ``"passthrough"``, a Pipeline or
    :class:`~skdistmix.preprocessing.Shardwise` of these, and these in a FrozenEstimator; subclasses
    of them are not. After any other step the score is about the rows as they leave that step:
    compare only pipelines that are equal up to there.

    Give weights to the scorer of a search as ``functools.partial(neg_bic, sample_weight=w)``, which
    is right with ``cv=FullData()`` only. Whether a search hands on the ``sample_weight`` of its
    ``fit`` to a plain scorer depends on the release of scikit-learn and on metadata routing; where
    it does not, a warning says so.

    References
    ----------
    Schwarz, G. (1978). Estimating the dimension of a model. Annals of Statistics 6, 461-464.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skdistmix import DistributedGMM
    >>> from skdistmix.model_selection import neg_bic
    >>> X = np.random.default_rng(0).normal(size=(500, 2)) * [1.0, 1000.0]
    >>> plain = DistributedGMM().fit(X)
    >>> scaled = make_pipeline(StandardScaler(), DistributedGMM()).fit(X)
    >>> bool(np.isclose(neg_bic(plain, X), neg_bic(scaled, X)))
    True
    """
    return _negative("bic", estimator, X, sample_weight)


def neg_aic(estimator, X, y=None, sample_weight=None):
    """Minus Akaike's information criterion: 2 log L - 2 p, larger is better.

    Parameters
    ----------
    estimator : fitted estimator or Pipeline
        With a method ``aic(X)``, smaller is better; or a Pipeline whose last step has one.
    X : array-like or DataFrame of shape (n_samples, n_features), list, path, glob or Shards
        What the estimator takes.
    y : ignored
    sample_weight : array-like of shape (n_samples,) or list of arrays, optional
        Weights of the rows.

    Returns
    -------
    float

    Raises
    ------
    TypeError
        If the last step has no method ``aic``, or there are weights and it takes none.

    See Also
    --------
    neg_bic : Its notes on pipelines and weights hold here.

    References
    ----------
    Akaike, H. (1974). A new look at the statistical model identification. IEEE Transactions on
    Automatic Control 19, 716-723.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistmix import DistributedGMM
    >>> from skdistmix.model_selection import neg_aic
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> gmm = DistributedGMM().fit(X)  # 2 means, 3 entries of the covariance
    >>> bool(np.isclose(neg_aic(gmm, X), 2 * 500 * gmm.score(X) - 2 * 5))
    True
    """
    return _negative("aic", estimator, X, sample_weight)


def neg_icl(estimator, X, y=None, sample_weight=None):
    """Minus the integrated completed likelihood: 2 log L - p log n - 2 E, larger is better.

    E is the entropy of the posterior probabilities of the components, summed over rows, so
    overlapping components cost more than with BIC.

    Parameters
    ----------
    estimator : fitted estimator or Pipeline
        With a method ``icl(X)``, smaller is better; or a Pipeline whose last step has one.
    X : array-like or DataFrame of shape (n_samples, n_features), list, path, glob or Shards
        What the estimator takes.
    y : ignored
    sample_weight : array-like of shape (n_samples,) or list of arrays, optional
        Weights of the rows; n is their sum.

    Returns
    -------
    float

    Raises
    ------
    TypeError
        If the last step has no method ``icl``, or there are weights and it takes none.

    See Also
    --------
    neg_bic : Its notes on pipelines and weights hold here.

    References
    ----------
    Biernacki, C., Celeux, G. and Govaert, G. (2000). Assessing a mixture model for clustering with
    the integrated completed likelihood. IEEE TPAMI 22, 719-725.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistmix import DistributedGMM
    >>> from skdistmix.model_selection import neg_bic, neg_icl
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> gmm = DistributedGMM().fit(X)  # one component: no entropy
    >>> bool(np.isclose(neg_icl(gmm, X), neg_bic(gmm, X)))
    True
    """
    return _negative("icl", estimator, X, sample_weight)


def _negative(criterion, estimator, X, sample_weight):
    last, log_det = estimator, 0.0
    while isinstance(last, Pipeline):
        for _, step in last.steps[:-1]:
            if not _passes_through(step):
                X, log_det = step.transform(X), _log_det_after(step, log_det)
        last = last.steps[-1][1]
    method = getattr(last, criterion, None)
    if not callable(method):
        raise TypeError(
            f"neg_{criterion} needs an estimator with a method {criterion}(X), or a Pipeline that "
            f"ends in one: {type(last).__name__} has no such method."
        )
    if sample_weight is None:
        _warn_if_weights_are_missing(last, criterion, X)
        value = method(X)
    elif "sample_weight" in signature(method).parameters:
        value = method(X, sample_weight=sample_weight)
    else:
        raise TypeError(
            f"sample_weight was given, but {type(last).__name__}.{criterion} takes no weights."
        )
    if log_det != 0.0:
        value -= 2 * _total_weight(X, sample_weight) * log_det
    return -value


def _warn_if_weights_are_missing(estimator, criterion, X):
    weighted_rows = is_sharded(X) and any(s.weight is not None for s in as_shards(X))
    if getattr(estimator, "_weighted_fit", False) and not weighted_rows:
        warnings.warn(
            f"The model was fitted with sample_weight and is scored by neg_{criterion} without. "
            f"Give the search scoring=functools.partial(neg_{criterion}, sample_weight=w), with "
            "cv=FullData().",
            UserWarning,
            stacklevel=4,
        )


def _passes_through(step):
    return step is None or (isinstance(step, str) and step == "passthrough")


def _log_det_after(step, log_det):
    """log abs det of the Jacobian of the steps up to and with this one, from that before it.

    It begins anew, at 0, after a step whose Jacobian is not constant or not known.
    """
    while isinstance(step, (Shardwise, FrozenEstimator)):
        step = step.transformer_ if isinstance(step, Shardwise) else step.estimator
    if isinstance(step, Pipeline):
        for _, inner in step.steps:
            log_det = log_det if _passes_through(inner) else _log_det_after(inner, log_det)
        return log_det
    own = _log_det(step)
    return 0.0 if own is None else log_det + own


def _log_det(step):
    """log abs det of dz/dx of a fitted transformer; None if it is not constant or not known."""
    kind = type(step)
    if kind in (StandardScaler, RobustScaler):  # z = (x - center) / scale
        return 0.0 if step.scale_ is None else -np.log(step.scale_).sum()
    if kind is MaxAbsScaler and not getattr(step, "clip", False):  # z = x / scale
        return -np.log(step.scale_).sum()
    if kind is MinMaxScaler and not step.clip:  # z = x scale + minimum
        return np.log(step.scale_).sum()
    if kind in (PCA, IncrementalPCA) and len(step.components_) == step.n_features_in_:
        if not step.whiten:  # a rotation
            return 0.0
        scale = np.sqrt(step.explained_variance_)
        return -np.log(np.maximum(scale, np.finfo(scale.dtype).eps)).sum()  # as in its transform
    return None


def _total_weight(X, sample_weight):
    return as_shards(X).with_weights(sample_weight).total_weight
