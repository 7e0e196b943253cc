"""reduce_mixtures: one mixture from models that were fitted elsewhere."""

from __future__ import annotations

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from .._aggregation import AGGREGATIONS
from .._compute import Workers
from .._validation import described
from ..families import GaussianBase
from ._combine import combined, correspondence, trusted
from ._convert import checked_params, from_sklearn
from ._distributed_gmm import DistributedGMM
from ._sites import restored

__all__ = ["reduce_mixtures"]


@validate_params(
    {
        "models": [list, tuple],
        "weights": ["array-like", None],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "aggregation": [StrOptions(set(AGGREGATIONS))],
        "cost": [StrOptions(set(GaussianBase.costs))],
        "robust": ["boolean"],
        "radius_exponent": [Interval(Real, 0.0, None, closed="left")],
        "min_component_size": [Interval(Real, 0.0, None, closed="left")],
        "n_draws": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def reduce_mixtures(
    models,
    weights=None,
    *,
    n_components=None,
    aggregation="transport",
    cost="kl",
    robust=False,
    radius_exponent=0.1,
    min_component_size=0,
    n_draws=1000,
    random_state=None,
):
    """One Gaussian mixture from several fitted ones, without their data.

    A hospital fits a mixture to its patients and sends the model; here the models are combined as
    :class:`MixtureOfExpertsAggregator` combines those of its shards.

    Parameters
    ----------
    models : list of DistributedGMM or sklearn.mixture.GaussianMixture
        Fitted, of one `covariance_type` and number of features.
    weights : array-like of shape (n_models,), optional
        Numbers of rows that the models stand for; their sum is `n_samples_seen_` of the result.
        None: `n_samples_seen_` of the models where all have it, otherwise all the same.
    n_components : int, optional
        Number of components. None: the largest of the models', which is too small where they see
        different clusters.
    aggregation : {"transport", "average", "kl-average", "medoid"}, default="transport"
        As for :class:`MixtureOfExpertsAggregator`.
    cost : {"kl", "w2", "cauchy-schwarz"}, default="kl"
        As for :class:`MixtureOfExpertsAggregator`.
    robust : bool, default=False
        Leave out models that are too far from the one in the middle, with a warning; also those
        with parameters that are none.
    radius_exponent : float, default=0.1
        As for :class:`MixtureOfExpertsAggregator`.
    min_component_size : float, default=0
        Refuse models with a component that stands for fewer rows: single rows could be read off
        such a component, so it should not have left its site.
    n_draws : int, default=1000
        Rows drawn from each model, for "kl-average".
    random_state : int, RandomState instance or None, default=None
        Seed of starts and draws.

    Returns
    -------
    DistributedGMM
        Fitted, of the `covariance_type` of the models. It has `transport_cost_`, the mean cost of
        moving the components of the models to its own, `model_labels_`, for each model which of its
        own components they are nearest to (None for one left out), and `rejected_models_`, the
        indices of those; no criteria and no likelihood, which need data.

    Raises
    ------
    TypeError
        If a model is of another class.
    NotFittedError
        If a model is not fitted.
    ValueError
        If models differ in type or features, have parameters that are none, or together fewer
        components than asked for.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.mixture import GaussianMixture
    >>> from skdistmix import reduce_mixtures
    >>> rng = np.random.default_rng(0)
    >>> sites = [rng.normal(rng.choice([-4, 4], size=(300, 1)), 1.0) for _ in range(3)]
    >>> models = [GaussianMixture(2, random_state=0).fit(X) for X in sites]
    >>> one = reduce_mixtures(models, weights=[len(X) for X in sites], random_state=0)
    >>> np.sort(one.means_[:, 0]).round()
    array([-4.,  4.])
    """
    if not models:
        raise ValueError("models is empty: give at least one fitted mixture.")
    fitted = [_as_ours(model, i, robust) for i, model in enumerate(models)]
    first = next((model for model in fitted if model is not None), None)
    if first is None:
        raise ValueError("None of the models has usable parameters.")
    _check_alike(fitted, first)
    weights, are_sizes = _checked_weights(weights, fitted)
    _check_sizes(fitted, min_component_size)
    family, _ = first._family_and_params()
    params = [None if model is None else model._family_and_params()[1] for model in fitted]
    counted = np.flatnonzero(weights > 0)
    with Workers(1) as workers:
        params = [params[i] for i in counted]
        numbers = counted if len(counted) < len(models) else None
        kept = trusted(family, params, weights[counted], robust, radius_exponent, numbers)
        params, kept = [params[i] for i in kept], counted[kept]
        shares = weights[kept] / weights[kept].sum()
        if n_components is None:
            n_components = max(len(model.weights) for model in params)
        template = DistributedGMM(n_components, covariance_type=first.covariance_type_)
        prepared, one = combined(
            template._family(first.n_features_in_), params, shares, float(weights[kept].sum()),
            aggregation=aggregation, cost=cost, n_draws=n_draws,
            map_reduce=workers.map_reduce, rng=check_random_state(random_state),
        )  # fmt: skip
        labels, transport_cost = correspondence(prepared, params, shares, one, cost)
    rejected = np.setdiff1d(counted, kept)
    if len(rejected):
        warnings.warn(
            f"Model(s) {rejected.tolist()} are rejected: too far from the others, or without "
            "usable parameters. robust=True takes models for ones of the same population, and "
            "rejects those that honestly differ too.",
            UserWarning,
            stacklevel=3,
        )
    attributes = {"n_features_in_": first.n_features_in_}
    if hasattr(first, "feature_names_in_"):
        attributes["feature_names_in_"] = first.feature_names_in_
    if are_sizes:
        attributes["n_samples_seen_"] = float(weights[kept].sum())
    model_labels = [None] * len(models)
    for i, own in zip(kept, labels, strict=True):
        model_labels[i] = own
    return restored(
        template, one, converged_=True, n_iter_=0, transport_cost_=transport_cost,
        model_labels_=model_labels, rejected_models_=rejected, **attributes,
    )  # fmt: skip


def _as_ours(model, index: int, robust: bool):
    """A model as a DistributedGMM; None if its parameters are none and that can be borne."""
    is_ours = isinstance(model, DistributedGMM)
    if not is_ours and not isinstance(model, GaussianMixture):
        raise TypeError(
            f"Model {index} is {described(model)}: reduce_mixtures takes fitted DistributedGMM "
            "and sklearn.mixture.GaussianMixture."
        )
    if is_ours and not hasattr(model, "weights_"):
        raise NotFittedError(f"Model {index} is not fitted: call its fit first.")
    if is_ours:
        model._refuse_noise(f"reduce_mixtures (model {index})", "give models without it")
    try:
        if not is_ours:
            return from_sklearn(DistributedGMM, model)
        checked_params(model)
        return model
    except NotFittedError as error:
        raise NotFittedError(f"Model {index}: {error}") from error
    except ValueError as error:
        if robust:
            return None
        raise ValueError(f"Model {index}: {error}") from error


def _check_alike(models, first) -> None:
    for i, model in enumerate(models):
        if model is None:
            continue
        for name, ours, theirs in (
            ("covariance_type", model.covariance_type_, first.covariance_type_),
            ("number of features", model.n_features_in_, first.n_features_in_),
        ):
            if ours != theirs:
                raise ValueError(
                    f"Model {i} has {name} {ours!r}, an earlier one {theirs!r}: only models of one "
                    "kind can be combined."
                )


def _checked_weights(weights, models) -> tuple[np.ndarray, bool]:
    """Weights of the models, and whether they are more than a guess."""
    if weights is None:
        sizes = [getattr(model, "n_samples_seen_", None) for model in models if model is not None]
        if all(size is not None for size in sizes):
            # A model that is none was fitted to we do not know how many rows.
            middle = float(np.median(sizes))
            given = [middle if m is None else float(m.n_samples_seen_) for m in models]
            return np.array(given), True
        if any(size is not None for size in sizes):
            warnings.warn(
                "Some of the models say how many rows they stand for (n_samples_seen_), others do "
                "not, so that all count the same: give weights.",
                UserWarning,
                stacklevel=4,
            )
        return np.ones(len(models)), False
    weights = np.asarray(weights, dtype=np.float64)
    if weights.shape != (len(models),):
        raise ValueError(
            f"weights has shape {weights.shape}, there are {len(models)} models: give one a model."
        )
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise ValueError(f"weights must be finite, at least 0, and not all 0, got {weights}.")
    return weights, True


def _check_sizes(models, least: float) -> None:
    if not least:
        return
    for i, model in enumerate(models):
        if model is None:
            continue
        rows = getattr(model, "n_samples_seen_", None)
        if rows is None:
            raise ValueError(
                f"min_component_size={least} cannot be checked for model {i}, which does not say "
                "how many rows it was fitted to: check it where the rows are."
            )
        smallest = int(np.argmin(model.weights_))
        if model.weights_[smallest] * rows < least:
            raise ValueError(
                f"Component {smallest} of model {i} stands for "
                f"{model.weights_[smallest] * rows:.1f} rows, fewer than "
                f"min_component_size={least}: fit fewer components at its site."
            )
