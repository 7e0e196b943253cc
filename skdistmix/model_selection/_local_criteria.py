"""Criteria of data in shards from what shards know of their own fits, without reading rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils._param_validation import StrOptions, validate_params

from .._validation import described
from ._scored import as_mixture, fitted_scores, own_score
from ._slope import SlopeHeuristic

__all__ = ["aggregated_criterion", "local_results"]

CRITERIA = ("bic", "icl")
METHODS = ("sum", "vote", "corrected", "pooled", "slope")


class LocalResult(NamedTuple):
    """What a shard says of one candidate that it fitted: four numbers."""

    log_likelihood: float
    n_samples: float
    n_parameters: int
    entropy: float = 0.0


def local_results(fits, X=None):
    """Four numbers for each candidate that was fitted at each shard.

    Parameters
    ----------
    fits : sequence of dict
        For each shard the fitted mixtures by candidate, a number of components or any other key.
        A candidate that could not be fitted is left out or None.
    X : sequence of array-like or Shards, optional
        The rows of each shard, read once for all candidates. None: what the mixtures know of the
        rows of their fits. Those of scikit-learn know nothing.

    Returns
    -------
    results : list of dict
        For each shard, named tuples (log_likelihood, n_samples, n_parameters, entropy) by
        candidate: totals over the rows of the shard, the sum of their weights, and the entropy of
        the posterior probabilities. This is what :func:`aggregated_criterion` takes.

    Raises
    ------
    TypeError
        If `fits` is no sequence of dicts of fitted mixtures.
    ValueError
        If there are not as many pieces of X as of `fits`, or a mixture does not know its
        log-likelihood.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistmix import DistributedGMM
    >>> from skdistmix.model_selection import local_results
    >>> X = np.random.default_rng(0).normal(size=(2, 200, 1))
    >>> results = local_results([{1: DistributedGMM(1).fit(rows)} for rows in X])
    >>> results[0][1].n_samples, results[0][1].n_parameters
    (200.0, 2)
    """
    fits = _per_shard(fits, "fits")
    if X is not None and len(X) != len(fits):
        raise ValueError(
            f"X has {len(X)} shards, but there are fits of {len(fits)}: give the rows of each."
        )
    return [_of_shard(own, s, None if X is None else X[s]) for s, own in enumerate(fits)]


def _of_shard(fits, s: int, rows) -> dict:
    fits = {candidate: fit for candidate, fit in fits.items() if fit is not None}
    if not fits:
        return {}
    names = [f"Candidate {candidate!r} of shard {s}" for candidate in fits]
    if rows is not None:
        scores, n_parameters = fitted_scores(list(fits.values()), [rows], names=names)
    else:
        models = [as_mixture(fit, name) for fit, name in zip(fits.values(), names)]
        scores = [own_score(model, name) for model, name in zip(models, names)]
        n_parameters = [model.n_parameters_ for model in models]
    return {
        candidate: LocalResult(score.log_likelihood, score.weight, int(p), score.entropy)
        for candidate, score, p in zip(fits, scores, n_parameters)
    }


@validate_params(
    {"method": [StrOptions(set(METHODS))], "criterion": [StrOptions(set(CRITERIA))]},
    prefer_skip_nested_validation=True,
)
def aggregated_criterion(local_results, *, method="sum", criterion="bic"):
    """Choose a model for all shards from local fits alone: no row is read again.

    Every shard fits each candidate to its own rows and sends four numbers. Their sum is not a
    criterion of all rows, because each shard has its own parameters: M shards with p parameters
    each learn the noise M times. The methods differ in what they charge for that.

    Parameters
    ----------
    local_results : sequence of dict
        For each shard (log_likelihood, n_samples, n_parameters, entropy) by candidate, as
        :func:`local_results` gives them; the last number may be missing with ``criterion="bic"``.
    method : {"sum", "vote", "corrected", "pooled", "slope"}, default="sum"
        How local results are put together, see the notes.
    criterion : {"bic", "icl"}, default="bic"
        "icl" adds twice the entropy to the deviance -2 log L, at each shard.

    Returns
    -------
    result : Bunch
        With the attributes

        best : object
            The candidate that is chosen; of equal ones that with fewer parameters.
        candidates : list
            In order of their numbers of parameters.
        criteria : ndarray of shape (n_candidates,)
            Smaller is better; for "vote" minus the share of the rows whose shards vote for a
            candidate. Infinite for a candidate that some shard did not fit, except for "vote".
        bracket : tuple
            What "sum" and "pooled" choose, the least and the most complex choice of all penalties
            between theirs, that of "corrected" among them (for shards of ten rows or more).
        table : dict of ndarray
            For each candidate "log_likelihood", "entropy" (sums over shards), "n_parameters" and
            "n_shards" that fitted it.
        n_samples : float
            Sum of the weights of all rows.

    Raises
    ------
    TypeError
        If `local_results` is no sequence of dicts of tuples of numbers.
    ValueError
        If numbers are not finite, sizes or numbers of parameters contradict each other, no
        candidate was fitted at all shards, or ``method="slope"`` has too few candidates for a
        slope or a plateau.

    See Also
    --------
    exact_criterion : The criterion of all rows, in one round over the shards.
    MixtureOfExpertsAggregator : Combines local models into one.

    Notes
    -----
    With l_m the log-likelihood at shard m of n_m rows, N rows in M shards, and p parameters, these
    are minimised:

    ========= =========================================== ========================================
    method    value                                       use
    ========= =========================================== ========================================
    sum       sum of -2 l_m + p log n_m                   the recommended one
    vote      shares of rows whose shards choose it       some shards may be corrupt
    corrected -2 sum l_m + (M - 1) p + p log N            a screen; few shards, regular models
    pooled    -2 sum l_m + p log N                        a screen, from above
    slope     -2 sum l_m + 4 k p, slope k of -sum l_m     ten candidates beyond the true one
    ========= =========================================== ========================================

    "sum" is the exact BIC of the model in which each shard has parameters of its own (its penalty
    is that of M p parameters) and chooses consistently when the shards grow and their number does
    not: each local BIC does (Keribin 2000). It under-fits when a component cannot be told apart
    with the rows of one shard, however many shards there are. The same holds for "vote", which
    takes no notice of how clear a choice is, so that shards in which everything is clear cannot
    help the others, and corrupt ones cannot do much harm.

    "corrected" takes off what a regular model of p parameters learns of the noise at each shard, on
    average p / 2 units of log-likelihood, and would be near the BIC of all rows. Above the true
    number of components mixtures are not regular: a component too many gains more, M times over,
    and more shards make it choose too many components. "pooled" corrects nothing and chooses the
    most components; it is there as a bound: where `bracket` holds one candidate twice, every
    penalty between these two chooses it.

    "slope" measures on the largest candidates what is learnt of the noise, by
    :class:`SlopeHeuristic` with its defaults, and needs no theory of it; it can be trusted if there
    are many candidates that are certainly too large.

    All assume that shards hold random pieces of the same population. If sites differ, each has
    fewer components to find, all methods choose too few, and :func:`exact_criterion` of models that
    were aggregated or fitted by exact EM is what remains.

    References
    ----------
    Keribin, C. (2000). Consistent estimation of the order of mixture models. Sankhya A 62, 49-66.

    Chen, X. and Xie, M. (2014). A split-and-conquer approach for analysis of extraordinarily large
    data. Statistica Sinica 24, 1655-1684. (Votes.)

    Baudry, J.-P., Maugis, C. and Michel, B. (2012). Slope heuristics: overview and implementation.
    Statistics and Computing 22, 455-470.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistmix import DistributedGMM
    >>> from skdistmix.model_selection import aggregated_criterion, local_results
    >>> rng = np.random.default_rng(0)
    >>> sites = [rng.normal(rng.choice([-4, 4], size=(500, 1)), 1.0) for _ in range(4)]
    >>> options = {"tol": "likelihood", "max_iter": 1000, "random_state": 0}
    >>> fits = [{K: DistributedGMM(K, **options).fit(X) for K in (1, 2, 3)} for X in sites]
    >>> result = aggregated_criterion(local_results(fits))
    >>> result.best, result.bracket
    (2, (2, 3))
    """
    shards = _checked_results(local_results, needs_entropy=criterion == "icl")
    candidates, table, n_samples = _totals(shards)
    deviance = -2 * table["log_likelihood"]
    if criterion == "icl":
        deviance = deviance + 2 * table["entropy"]
    p, log_n = table["n_parameters"], np.log([next(iter(s.values())).n_samples for s in shards])
    complete = table["n_shards"] == len(shards)
    if not complete.any():
        raise ValueError(
            "No candidate was fitted at all shards, so that sums cannot be compared: fit one "
            "candidate everywhere, or leave shards out that have none."
        )
    values = {
        "sum": deviance + p * log_n.sum(),
        "corrected": deviance + p * (len(shards) - 1 + np.log(n_samples)),
        "pooled": deviance + p * np.log(n_samples),
    }
    values = {name: np.where(complete, value, np.inf) for name, value in values.items()}
    bracket = tuple(candidates[int(np.argmin(values[name]))] for name in ("sum", "pooled"))
    if method == "vote":
        values["vote"] = 0.0 - _votes(shards, candidates, criterion)
    if method == "slope":
        slope = SlopeHeuristic()._choose(p[complete], deviance[complete] / 2).slope_
        values["slope"] = np.where(complete, deviance + 4 * slope * p, np.inf)
    return Bunch(
        best=candidates[int(np.argmin(values[method]))],
        candidates=candidates,
        criteria=values[method],
        bracket=bracket,
        table=table,
        n_samples=n_samples,
    )


def _votes(shards: list[dict], candidates: list, criterion: str) -> np.ndarray:
    """Shares of the rows whose shards choose each candidate; of equal ones the first."""
    votes = np.zeros(len(candidates))
    for results in shards:
        values = [
            _local_value(results[c], criterion) if c in results else np.inf for c in candidates
        ]
        votes[int(np.argmin(values))] += next(iter(results.values())).n_samples
    return votes / votes.sum()


def _local_value(result: LocalResult, criterion: str) -> float:
    value = -2 * result.log_likelihood + result.n_parameters * np.log(result.n_samples)
    return value + 2 * result.entropy if criterion == "icl" else value


def _totals(shards: list[dict]) -> tuple[list, dict, float]:
    """Candidates in order of their parameters, sums of their numbers, and the size of the data."""
    sizes: dict = {}
    for results in shards:
        for candidate, result in results.items():
            sizes.setdefault(candidate, result.n_parameters)
    candidates = sorted(sizes, key=sizes.get)  # stable: equal ones stay as they were given
    found = [[r[c] for r in shards if c in r] for c in candidates]
    table = {
        "log_likelihood": np.array([sum(r.log_likelihood for r in own) for own in found]),
        "entropy": np.array([sum(r.entropy for r in own) for own in found]),
        "n_parameters": np.array([sizes[c] for c in candidates]),
        "n_shards": np.array([len(own) for own in found]),
    }
    n_samples = float(sum(next(iter(results.values())).n_samples for results in shards))
    return candidates, table, n_samples


def _per_shard(values, name: str) -> list:
    """A sequence of dicts, one a shard, as a list."""
    if isinstance(values, (Mapping, str)) or not hasattr(values, "__iter__"):
        raise TypeError(
            f"{name} must be a sequence of dicts, one a shard, got {described(values)}."
        )
    values = list(values)
    if not values:
        raise ValueError(f"{name} is empty: give one dict a shard, of at least one shard.")
    for s, one in enumerate(values):
        if not isinstance(one, Mapping):
            raise TypeError(
                f"{name}[{s}] must be a dict with an entry a candidate, got {described(one)}."
            )
    return values


def _checked_results(values, needs_entropy: bool) -> list[dict]:
    """Local results as named tuples; shards without any are left out."""
    shards, sizes = [], {}
    for s, results in enumerate(_per_shard(values, "local_results")):
        own = {c: _checked(result, s, c, needs_entropy) for c, result in results.items()}
        n = {result.n_samples for result in own.values()}
        if len(n) > 1 and max(n) - min(n) > 1e-9 * max(n):
            raise ValueError(
                f"Candidates of shard {s} were fitted to {min(n):g} to {max(n):g} rows: fit all to "
                "the same rows."
            )
        for candidate, result in own.items():
            if sizes.setdefault(candidate, result.n_parameters) != result.n_parameters:
                raise ValueError(
                    f"Candidate {candidate!r} has {result.n_parameters} parameters at shard {s}, "
                    f"{sizes[candidate]} at an earlier one: fit one model at all shards."
                )
        shards += [own] if own else []
    if not shards:
        raise ValueError("local_results has no candidate at any shard: there is nothing to choose.")
    return shards


def _checked(result, s: int, candidate, needs_entropy: bool) -> LocalResult:
    where = f"Candidate {candidate!r} of shard {s}"
    try:
        numbers = [float(value) for value in result]
        result = LocalResult(*numbers)
    except (TypeError, ValueError):
        raise TypeError(
            f"{where} must be the numbers (log_likelihood, n_samples, n_parameters, entropy), got "
            f"{described(result)}."
        ) from None
    p = result.n_parameters
    if not np.isfinite(result).all() or result.n_samples <= 0 or p < 0 or p != int(p):
        raise ValueError(
            f"{where} has the numbers {tuple(result)}: they must be finite, with rows and a whole "
            "number of parameters, at least 0. Leave a candidate out that could not be fitted."
        )
    if needs_entropy and len(numbers) < 4:
        raise ValueError(f"{where} has no entropy, the fourth number, which criterion='icl' needs.")
    return result._replace(n_parameters=int(p))
