"""Log-likelihoods and entropies of fitted mixtures, of their own rows or of others in one pass."""

from __future__ import annotations

import numpy as np
from sklearn.mixture import GaussianMixture
from sklearn.utils.validation import check_is_fitted

from .._compute import Workers
from .._em import Score, score_sweep
from .._sweeps import sum_together
from .._validation import described, validated_shards
from ..mixture import DistributedGMM
from ..mixture._base import BaseMixture
from ..mixture._gated import GatedMixture

__all__ = ["as_mixture", "fitted_scores", "own_score"]


def as_mixture(model, name: str):
    """A fitted mixture of this package, also from scikit-learn's; `name` is for messages.

    Raises
    ------
    TypeError, NotFittedError, ValueError
        If the model is something else, is not fitted, or has no density of rows alone.
    """
    if isinstance(model, GaussianMixture):
        check_is_fitted(model)
        return DistributedGMM.from_sklearn(model)
    if not isinstance(model, BaseMixture):
        raise TypeError(
            f"{name} must be a fitted mixture, such as DistributedGMM or GaussianMixture, got "
            f"{described(model)}."
        )
    check_is_fitted(model)
    if isinstance(model, GatedMixture):
        model._refuse_no_density("A criterion")
        model._check_has_context(None)
    return model


def fitted_scores(
    models: list, X=None, sample_weight=None, n_jobs=None, names=None
) -> tuple[list, list]:
    """Scores of fitted mixtures and their numbers of parameters.

    Rows of X are read once for all models; without X the scores are those of the rows that each
    model was fitted to. `names` is what messages call the models.

    Raises
    ------
    TypeError, NotFittedError
        If a model is no fitted mixture.
    ValueError
        If there is no model, or models do not fit each other or the rows.
    """
    if not models:
        raise ValueError("There are no models: give at least one fitted mixture.")
    names = names or [f"Model {i}" for i in range(len(models))]
    models = [as_mixture(model, name) for model, name in zip(models, names)]
    n_parameters = [model.n_parameters_ for model in models]
    if X is not None:
        return _scores_of(models, names, X, sample_weight, n_jobs), n_parameters
    if sample_weight is not None:
        raise ValueError("sample_weight was given without X: give the rows that it belongs to.")
    scores = [own_score(model, name) for model, name in zip(models, names)]
    sizes = np.array([score.weight for score in scores])
    if np.ptp(sizes) > 1e-9 * sizes.max():
        raise ValueError(
            f"Models were fitted to {sizes.min():g} to {sizes.max():g} rows: only log-likelihoods "
            "of the same rows can be compared. Give these rows as X."
        )
    return scores, n_parameters


def own_score(model, name: str) -> Score:
    """The score of the rows that a mixture was fitted to, from its attributes."""
    missing = [
        attribute
        for attribute in ("lower_bound_", "n_samples_seen_", "bic_", "icl_")
        if not hasattr(model, attribute)
    ]
    if missing:
        raise ValueError(
            f"{name} does not know its log-likelihood (it has no {', '.join(missing)}): give the "
            "rows that it was fitted to."
        )
    weight = float(model.n_samples_seen_)
    entropy = (model.icl_ - model.bic_) / 2
    return Score(weight, float(model.lower_bound_) * weight, float(entropy))


def _scores_of(models, names, X, sample_weight, n_jobs) -> list[Score]:
    first = models[0]
    shards = validated_shards(first, X, reset=False, on_host=True).with_weights(sample_weight)
    for model, name in zip(models[1:], names[1:]):
        for attribute in ("n_features_in_", "feature_names_in_"):
            ours, theirs = (getattr(one, attribute, None) for one in (model, first))
            if ours is not None and theirs is not None and not np.array_equal(ours, theirs):
                raise ValueError(
                    f"{name} has {attribute} {ours}, an earlier one {theirs}: only densities of "
                    "the same columns can be compared."
                )
    sweeps = [score_sweep(model._kernel()[0]) for model in models]
    with Workers(n_jobs) as workers:
        return sum_together(workers.map_reduce, shards, sweeps, check=True)
