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
from ..families import GaussianFamily
from ._combine import combined, trusted
from ._convert import from_sklearn
from ._distributed_gmm import DistributedGMM
from ._sites import restored

__all__ = ["reduce_mixtures"]


@validate_params(
    {
        "models": [list, tuple],
        "weights": ["array-like", None],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "aggregation": [StrOptions(set(AGGREGATIONS))],
        "cost": [StrOptions(set(GaussianFamily.costs))],
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
        What the models stand for, such as their numbers of rows. None: `n_samples_seen_` where all
        models have it, otherwise all the same.
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
        Fitted, with the constructor's parameters of the first model where they apply. It has
        `transport_cost_`, the mean cost of moving the components of the models to its own,
        `model_labels_`, for each model which of its own components they were moved to (None for
        one left out), and `rejected_models_`, the indices of those; no criteria and no likelihood,
        which need data.

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
    weights = _checked_weights(weights, fitted)
    _check_sizes(fitted, min_component_size)
    family, _ = first._family_and_params()
    params = [None if model is None else model._family_and_params()[1] for model in fitted]
    with Workers(1) as workers:
        kept = trusted(family, params, weights, robust, radius_exponent)
        kept = kept[weights[kept] > 0]
        if n_components is None:
            n_components = max(len(params[i].weights) for i in kept)
        template = DistributedGMM(n_components, covariance_type=first.covariance_type_)
        _, found, labels = combined(
            template._family(first.n_features_in_), [params[i] for i in kept],
            weights[kept] / weights[kept].sum(), float(weights[kept].sum()),
            aggregation=aggregation, cost=cost, n_draws=n_draws,
            map_reduce=workers.map_reduce, rng=check_random_state(random_state),
        )  # fmt: skip
    left_out = np.setdiff1d(np.arange(len(models)), kept)
    rejected = left_out[weights[left_out] > 0]
    if len(rejected):
        warnings.warn(
            f"Model(s) {rejected.tolist()} are rejected: too far from the others, or without "
            "usable parameters. robust=True takes models for ones of the same population, and "
            "rejects those that honestly differ too.",
            UserWarning,
            stacklevel=3,
        )
    names = {"n_features_in_": first.n_features_in_}
    if hasattr(first, "feature_names_in_"):
        names["feature_names_in_"] = first.feature_names_in_
    model_labels = [None] * len(models)
    for i, own in zip(kept, labels, strict=True):
        model_labels[i] = own
    return restored(
        template, found.params, converged_=True, n_iter_=0, transport_cost_=found.cost,
        model_labels_=model_labels, rejected_models_=rejected, **names,
    )  # fmt: skip


def _as_ours(model, index: int, robust: bool):
    """A model as a DistributedGMM; None if its parameters are none and that can be borne."""
    if isinstance(model, DistributedGMM):
        if not hasattr(model, "weights_"):
            raise NotFittedError(f"Model {index} is not fitted: call its fit first.")
        return model
    if not isinstance(model, GaussianMixture):
        raise TypeError(
            f"Model {index} is {_described(model)}: reduce_mixtures takes fitted DistributedGMM "
            "and sklearn.mixture.GaussianMixture."
        )
    try:
        return from_sklearn(DistributedGMM, model)
    except NotFittedError as error:
        raise NotFittedError(f"Model {index}: {error}") from error
    except ValueError as error:
        if robust:
            return None
        raise ValueError(f"Model {index}: {error}") from error


def _described(value) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}, not a fitted object"
    return f"of type {type(value).__name__}"


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


def _checked_weights(weights, models) -> np.ndarray:
    if weights is None:
        known = [getattr(model, "n_samples_seen_", None) for model in models if model is not None]
        unknown = [
            i
            for i, model in enumerate(models)
            if model is not None and getattr(model, "n_samples_seen_", None) is None
        ]
        if unknown:
            if len(unknown) < len(known):
                warnings.warn(
                    f"All models count the same, because model(s) {unknown[:10]} do not say how "
                    "many rows they stand for: give weights.",
                    UserWarning,
                    stacklevel=4,
                )
            return np.ones(len(models))
        middle = float(np.median(known))
        return np.array([middle if m is None else float(m.n_samples_seen_) for m in models])
    weights = np.asarray(weights, dtype=np.float64)
    if weights.shape != (len(models),):
        raise ValueError(
            f"weights has shape {weights.shape}, there are {len(models)} models: give one a model."
        )
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise ValueError(f"weights must be finite, at least 0, and not all 0, got {weights}.")
    return weights


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
