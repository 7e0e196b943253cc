"""The criterion of all rows for models that were fitted or combined before, in one round."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils._param_validation import StrOptions, validate_params

from .._validation import described
from ._scored import fitted_scores

__all__ = ["exact_criterion"]


@validate_params(
    {"criterion": [StrOptions({"bic", "icl", "aic"})]}, prefer_skip_nested_validation=True
)
def exact_criterion(models, X, *, criterion="bic", sample_weight=None, n_jobs=None):
    """Choose among fitted or aggregated mixtures by a criterion of all rows, in one round.

    All models are sent to the shards, and each shard answers with two numbers a model: their sums
    are the log-likelihood and the entropy of all rows, not approximations of them. This is what
    remains to be done after local fits have been combined for each candidate.

    Parameters
    ----------
    models : dict or sequence of fitted mixtures
        By candidate; those of a sequence are called 0, 1, ...
    X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
        All rows, read once for all models.
    criterion : {"bic", "icl", "aic"}, default="bic"
        What is minimised.
    sample_weight : array-like of shape (n_samples,) or list of arrays, optional
        Weights of the rows; n is their sum.
    n_jobs : int, optional
        Number of workers, as in :class:`~skdistmix.DistributedGMM`.

    Returns
    -------
    result : Bunch
        With the attributes `best` (candidate), `candidates` (list, as given), `criteria` (ndarray,
        smaller is better), `n_samples`, and `table`, a dict of arrays "log_likelihood", "entropy",
        "n_parameters", "bic", "icl" and "aic" with an entry a candidate. Of equal ones the first
        is best.

    Raises
    ------
    TypeError
        If a model is no mixture.
    NotFittedError
        If a model is not fitted.
    ValueError
        If models are about other columns than X, or there is no row.

    See Also
    --------
    aggregated_criterion : From local results, without another look at the rows.

    Notes
    -----
    At the maximum of the likelihood, BIC finds the number of components when n grows (Keribin
    2000). Parameters that were combined from local fits are near that maximum, not at it; what
    they lose makes the model look worse than it is. With ``refine=1`` of
    :class:`~skdistmix.MixtureOfExpertsAggregator`, one iteration of exact EM, next to nothing is
    lost.

    References
    ----------
    Schwarz, G. (1978). Estimating the dimension of a model. Annals of Statistics 6, 461-464.

    Keribin, C. (2000). Consistent estimation of the order of mixture models. Sankhya A 62, 49-66.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistmix import MixtureOfExpertsAggregator
    >>> from skdistmix.model_selection import exact_criterion
    >>> rng = np.random.default_rng(0)
    >>> sites = [rng.normal(rng.choice([-4, 4], size=(500, 1)), 1.0) for _ in range(4)]
    >>> models = {
    ...     K: MixtureOfExpertsAggregator(
    ...         n_components=K, refine=1, min_component_size=1, random_state=0
    ...     ).fit(sites)
    ...     for K in (1, 2, 3)
    ... }
    >>> exact_criterion(models, sites).best
    2
    """
    if isinstance(models, (str, bytes)) or not hasattr(models, "__iter__"):
        raise TypeError(
            "models must be a dict or sequence of fitted mixtures, got "
            f"{described(models)}: give a single one as [model]."
        )
    named = models if isinstance(models, Mapping) else dict(enumerate(models))
    candidates, fitted = list(named), list(named.values())
    names = [f"Candidate {candidate!r}" for candidate in candidates]
    scores, n_parameters = fitted_scores(fitted, X, sample_weight, n_jobs, names)
    table = {
        "log_likelihood": np.array([score.log_likelihood for score in scores]),
        "entropy": np.array([score.entropy for score in scores]),
        "n_parameters": np.array(n_parameters),
        **{
            name: np.array([getattr(score, name)(p) for score, p in zip(scores, n_parameters)])
            for name in ("bic", "icl", "aic")
        },
    }
    return Bunch(
        best=candidates[int(np.argmin(table[criterion]))],
        candidates=candidates,
        criteria=table[criterion],
        table=table,
        n_samples=scores[0].weight,
    )
