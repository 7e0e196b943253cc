"""Numbers of components by several criteria, side by side."""

from __future__ import annotations

from itertools import pairwise
from numbers import Integral

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from .._compute import Workers
from .._validation import described, validated_shards
from ._cells import Grid
from ._grid import mixture_of
from ._order_test import bootstrap_likelihood_ratio
from ._scored import fitted_scores, own_score

__all__ = ["compare_criteria"]

#: Criteria, by whether the smallest or the largest value is best.
SIGNS = {"bic": 1, "icl": 1, "aic": 1, "nec": 1, "held_out": -1}
READ_ROWS = 2**18  # weights read at once


@validate_params(
    {
        "n_components": ["array-like"],
        "cv": [Interval(Integral, 2, None, closed="left"), StrOptions({"shards"}), None],
        "n_resamples": [Interval(Integral, 0, None, closed="left")],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def compare_criteria(
    estimator,
    X,
    n_components,
    *,
    cv=5,
    n_resamples=0,
    sample_weight=None,
    n_jobs=None,
    random_state=None,
):
    """Judge numbers of components by all criteria at once.

    Criteria answer different questions, see the notes. That they agree is a good sign; where they
    do not, the table shows what each sees.

    Parameters
    ----------
    estimator : DistributedGMM or DistributedMixture
        The mixture; its number of components, workers and random state are set here. It is not
        fitted. ``tol="likelihood"`` and a generous `max_iter` make fits that can be compared.
    X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
        As for its `fit`.
    n_components : sequence of int
        The candidates. One component is fitted besides, since NEC refers to it.
    cv : int, "shards" or None, default=5
        Whose rows are held out: an integer is the number of folds into which rows are dealt at
        random; with "shards" each shard is left out once, which asks how a
        model does at a site that it has not seen; None leaves the held-out likelihood out. Fits
        are repeated as many times.
    n_resamples : int, default=0
        Data sets drawn for each test of :func:`bootstrap_likelihood_ratio`; 0 makes none. It
        begins with the smallest candidate and goes up as long as it rejects, so candidates must
        have no gaps. Tests take many fits.
    sample_weight : array-like of shape (n_samples,), list of arrays, path, str, optional
        Weights of the rows, as for `fit`; held-out likelihoods are weighted with them too.
    n_jobs : int, optional
        Number of workers, as for the estimator. Results do not depend on it.
    random_state : int, RandomState instance or None, default=None
        Seed of starts, folds and resamples. None: that of the estimator, or one drawn for all.

    Returns
    -------
    result : Bunch
        With the attributes

        best : dict
            The number of components by "bic", "icl", "aic", "nec", "held_out" and, with tests,
            "test". Of equal ones the smallest.
        n_components : ndarray of int of shape (n_candidates,)
            The candidates in increasing order.
        table : dict of ndarray of shape (n_candidates,)
            "log_likelihood" (the total), "entropy", "n_parameters"; "bic", "icl", "aic", "nec",
            smaller is better; "held_out", the mean log-likelihood of a row that was left out,
            larger is better; "p_value" of K against K + 1 components. NaN for what was not
            computed: candidates that could not be fitted (see `errors`), tests not needed.
        held_out_folds : ndarray of shape (n_candidates, n_folds) or None
            The mean held-out log-likelihood in each fold. Differences of candidates vary less from
            fold to fold than their values.
        models : dict
            Fitted mixtures by number of components; not those that could not be fitted.
        errors : dict
            Why candidates could not be fitted to all rows.

    Raises
    ------
    TypeError
        If the estimator is no mixture, or a Pipeline; with tests, if it is no DistributedGMM.
    ValueError
        If candidates are not positive, or have gaps where tests are wanted; if ``cv="shards"`` has
        a single shard; if rows cannot be used; if no candidate could be fitted.

    See Also
    --------
    MixtureSearch : One criterion, over shapes of covariances too.
    bootstrap_likelihood_ratio : The test alone.

    Notes
    -----
    With l(K) the maximal log-likelihood of K components, E(K) the entropy of the posterior
    probabilities, summed over rows, and p free parameters:

    ======== =========================== ======================================================
    name     value                       asks
    ======== =========================== ======================================================
    bic      -2 l(K) + p log n           How many components describe the density?
    icl      bic + 2 E(K)                How many groups can be told apart?
    aic      -2 l(K) + 2 p               What predicts new rows? It mostly chooses too many.
    nec      E(K) / (l(K) - l(1))        How much overlap does the gain over one group cost?
    held_out mean log-density of rows    What predicts new rows, or new sites, measured?
             that were left out
    test     p-value of K against K + 1  Is there evidence for one component more?
    ======== =========================== ======================================================

    NEC is the normalised entropy of Celeux and Soromenho (1996), with 1 for a single component
    (Biernacki, Celeux and Govaert 1999): K components need a value below 1 to be preferred to one.
    It does not know how many parameters a model has.

    References
    ----------
    Biernacki, C., Celeux, G. and Govaert, G. (1999). An improvement of the NEC criterion for
    assessing the number of clusters in a mixture model. Pattern Recognition Letters 20, 267-272.

    Celeux, G. and Soromenho, G. (1996). An entropy criterion for assessing the number of clusters
    in a mixture model. Journal of Classification 13, 195-212.

    Smyth, P. (2000). Model selection for probabilistic clustering using cross-validated likelihood.
    Statistics and Computing 10, 63-72.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistmix import DistributedGMM
    >>> from skdistmix.model_selection import compare_criteria
    >>> rng = np.random.default_rng(0)
    >>> shards = [rng.normal(rng.choice([-4, 0, 4], size=(300, 1)), 1.0) for _ in range(4)]
    >>> gmm = DistributedGMM(tol="likelihood", max_iter=2000, acceleration="squarem")
    >>> result = compare_criteria(gmm, shards, [1, 2, 3, 4], random_state=0)
    >>> result.best["bic"], result.best["held_out"]
    (3, 3)
    """
    if isinstance(estimator, Pipeline):
        raise TypeError(
            "compare_criteria takes a mixture, not a Pipeline, whose other steps would see the "
            "rows that are held out: transform X before, or use GridSearchCV with scoring=None."
        )
    mixture = mixture_of(estimator)
    candidates = _checked_candidates(n_components, n_resamples)
    given = mixture.random_state if random_state is None else random_state
    whole = isinstance(given, Integral)  # then fits are those that the estimator would make alone
    seed = int(given if whole else check_random_state(given).randint(np.iinfo(np.int32).max))
    plain = clone(mixture).set_params(verbose=0, random_state=seed)
    n_shards = getattr(mixture, "n_shards", None)
    shards = validated_shards(plain, X, reset=True, n_shards=n_shards, min_rows=2)
    shards = shards.with_weights(sample_weight)
    folds = None if cv is None else _folds(shards, cv, seed)
    n_jobs = mixture.n_jobs if n_jobs is None else n_jobs
    test = None
    if n_resamples > 0 and len(candidates) > 1:
        test = bootstrap_likelihood_ratio(
            mixture,
            X,
            min_components=candidates[0],
            max_components=candidates[-1],
            n_resamples=n_resamples,
            sample_weight=sample_weight,
            n_jobs=n_jobs,
            random_state=seed,
        )
    fitted = sorted({1, *candidates})
    grid = _fitted_to(plain, fitted, shards, n_jobs)
    models = {K: one.model for K, one in zip(fitted, grid.fitted) if one is not None}
    errors = {K: error for K, error in zip(fitted, grid.errors) if error and K in candidates}
    if len(errors) == len(candidates):
        reasons = "\n".join(f"  {K}: {error}" for K, error in errors.items())
        raise ValueError(f"None of the candidates could be fitted:\n{reasons}")
    table = _table(candidates, models)
    held_out = None
    if folds is not None:
        held_out, weights = _held_out(plain, candidates, shards, folds, n_jobs)
        table["held_out"] = held_out @ (weights / weights.sum())
    best = {
        name: candidates[int(np.nanargmin(sign * table[name]))]
        for name, sign in SIGNS.items()
        if name in table and not np.isnan(table[name]).all()
    }
    if test is not None:
        p_values = dict(zip(test.tested.tolist(), test.p_values))
        table["p_value"] = np.array([p_values.get(K, np.nan) for K in candidates])
        best["test"] = int(test.n_components)
    return Bunch(
        best=best,
        n_components=np.array(candidates),
        table=table,
        held_out_folds=held_out,
        models={K: models[K] for K in candidates if K in models},
        errors=errors,
    )


def _checked_candidates(n_components, n_resamples: int) -> list[int]:
    values = list(n_components)
    whole = [isinstance(K, Integral) and not isinstance(K, bool) and K >= 1 for K in values]
    if not values or not all(whole):
        raise ValueError(
            f"n_components must hold whole numbers of at least 1, got {described(n_components)}"
            f"{'' if not values else f' with {values[whole.index(False)]!r}'}."
        )
    candidates = sorted({int(K) for K in values})
    if n_resamples > 0 and candidates != list(range(candidates[0], candidates[-1] + 1)):
        raise ValueError(
            f"With n_resamples={n_resamples} each candidate is tested against the next number, so "
            f"n_components must have no gaps: got {candidates}."
        )
    return candidates


def _fitted_to(plain, candidates: list[int], shards, n_jobs) -> Grid:
    """The candidates, fitted in shared sweeps."""
    grid = Grid(plain, [{"n_components": K} for K in candidates], shards, "bic")
    with Workers(n_jobs) as workers:
        grid.fit(workers.map_reduce, fast=False, verbose=0)
    return grid


def _table(candidates: list[int], models: dict) -> dict:
    scores = {K: own_score(model, f"Candidate {K}") for K, model in models.items()}
    one = scores[1].log_likelihood if 1 in scores else np.nan

    def nec(K):
        if K == 1:
            return 1.0
        gain = scores[K].log_likelihood - one
        return scores[K].entropy / gain if not gain <= 0 else np.inf

    facts = {
        "log_likelihood": lambda K: scores[K].log_likelihood,
        "entropy": lambda K: scores[K].entropy,
        "n_parameters": lambda K: models[K].n_parameters_,
        "bic": lambda K: models[K].bic_,
        "icl": lambda K: models[K].icl_,
        "aic": lambda K: models[K].aic_,
        "nec": nec,
    }
    return {
        name: np.array([of(K) if K in models else np.nan for K in candidates], dtype=float)
        for name, of in facts.items()
    }


def _folds(shards, cv, seed: int) -> list[list[np.ndarray]]:
    """For each fold, which rows of each shard are held out."""
    if cv == "shards":
        filled = [m for m, size in enumerate(shards.sizes) if size > 0]
        if len(filled) < 2:
            raise ValueError(
                'cv="shards" leaves one shard out after the other, but there is a single one: use '
                "an integer, folds of rows."
            )
        return [[np.full(size, m == out) for m, size in enumerate(shards.sizes)] for out in filled]
    if shards.n_rows < cv:
        raise ValueError(f"cv={cv} folds of {shards.n_rows} rows: use fewer folds.")
    # whatever the cuts between shards are, a row is in the same fold
    fold_of = (np.random.default_rng([seed, 1]).permutation(shards.n_rows) % cv).astype(np.int16)
    dealt = [fold_of[a:b] for a, b in pairwise(shards.offsets)]
    return [[own == fold for own in dealt] for fold in range(cv)]


def _held_out(plain, candidates, shards, folds, n_jobs) -> tuple[np.ndarray, np.ndarray]:
    """Mean log-likelihoods of held-out rows by candidate and fold, and weights of the folds."""
    weights = [_weights_of(shard) for shard in shards]
    means = np.full((len(candidates), len(folds)), np.nan)
    totals = np.zeros(len(folds))
    for f, out in enumerate(folds):
        held = [w * rows for w, rows in zip(weights, out)]
        totals[f] = sum(float(w.sum()) for w in held)
        if totals[f] == 0:  # rows of no weight say nothing
            means[:, f] = 0.0
            continue
        kept = shards.with_weights([w * ~rows for w, rows in zip(weights, out)])
        grid = _fitted_to(plain, candidates, kept, n_jobs)
        fits = {i: one.model for i, one in enumerate(grid.fitted) if one is not None}
        if fits:
            scores, _ = fitted_scores(list(fits.values()), shards, held, n_jobs)
            means[list(fits), f] = [score.log_likelihood / score.weight for score in scores]
    return means, totals


def _weights_of(shard) -> np.ndarray:
    """The weights of the rows of a shard, in memory."""
    weight = shard.weight
    if weight is None:
        return np.ones(shard.n_rows)
    if isinstance(weight, np.ndarray):
        return np.asarray(weight, dtype=float)
    parts = [
        np.asarray(part, float).reshape(-1) for part in weight.reads(0, len(weight), READ_ROWS)
    ]
    return np.concatenate(parts) if parts else np.empty(0)
