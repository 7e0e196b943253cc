"""What is resampled: subsets of rows, whole shards, or all rows."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np

from .._bootstrap import SUBSET_REMAINING, Replicates, Resampling, resampled
from .._compute import Workers
from .._fixed_points import Outline, ShardsMap, informed
from .._intervals import fewest_draws, is_settled, spreads
from .._sampling import RowSample, all_rows, disjoint_samples
from .._shards import Shards, cut_rows
from .._subsets import (
    FEWEST_PER_PARAMETER,
    LARGEST_ERROR,
    USELESS_ERROR,
    largest_error,
    least_rows,
    odd_shards,
    overlap_rows,
    sampled_information,
    smallest_exponent,
    subset_rows,
)

__all__ = ["Outcome", "Plan", "resample"]

FIRST_SUBSETS, FURTHER_SUBSETS, MAX_SUBSETS = 6, 2, 10
OUTLINES = 3  # subsets from which it is tried to learn how EM behaves
WINDOW = 3  # subsets in which averaged errors must not change any more
PARAMETRIC_ROWS = 50_000  # drawn from the fitted mixture, to learn how EM behaves there


@dataclass(frozen=True)
class Plan:
    """The checked choices of an estimator.

    Attributes
    ----------
    method : str
    exponent : float
    size : int or None
    whole_shards : bool
    n_subsets, n_resamples : int or "auto"
    least : int
        Resamples of a subset, at least, where their number is "auto".
    """

    method: str
    exponent: float
    size: int | None
    whole_shards: bool
    n_subsets: int | str
    n_resamples: int | str
    least: int

    @classmethod
    def checked(cls, estimator, template, shards: Shards) -> Plan:
        """The plan, before any row is read.

        Raises
        ------
        ValueError
            If the size of subsets is given and too small.
        """
        size = estimator.subset_size if estimator.method == "blb" else None
        if size is not None and estimator.subsets == "rows":
            K, d = template.n_components, shards.n_features
            n_parameters = template._family(d).n_parameters_of(d)
            least = least_rows(n_parameters, K, 1 / K, FEWEST_PER_PARAMETER)
            if size < least:
                exponent = smallest_exponent(shards.n_rows, least)
                remedy = (
                    f"use at least {least} rows, or subset_exponent={exponent:.2f} or more in its "
                    "place"
                    if exponent < 1
                    else f"{least} are needed, and there are {shards.n_rows}: use "
                    "method='bootstrap'"
                )
                raise ValueError(
                    f"subset_size={size} is too small for {n_parameters} parameters: {remedy}."
                )
        return cls(
            estimator.method, estimator.subset_exponent, size, estimator.subsets == "shards",
            estimator.n_subsets, estimator.n_resamples, fewest_draws(estimator.confidence_level),
        )  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What was done.

    Attributes
    ----------
    method : str
    subset_size : int
    params : object
        The fit of all rows, as exact as those of resamples.
    found : list of Replicates
        Fits of resamples, a value for each subset.
    """

    method: str
    subset_size: int
    params: object
    found: list[Replicates]


def resample(workers: Workers, shards: Shards, plan: Plan, resampling: Resampling) -> Outcome:
    """Resamples of the rows of shards, as planned.

    Raises
    ------
    ValueError
        If EM does not converge on all rows.
    """
    information = _information(workers, shards, plan, resampling)
    method, subsets, size = _subsets(workers, shards, plan, resampling, information)
    only = len(subsets) == 1

    def visit(function, arguments, which):
        return workers.map_shards(function, subsets, arguments, which)

    outline, tried = None, 0
    if information is not None:
        outline = informed(resampling.family, resampling.params, information)
    while outline is None and tried < min(OUTLINES, len(subsets)):  # a subset may be a bad one
        (outline,) = visit(resampling.outlined, [tried], [tried])
        tried += 1
    if outline is not None:
        params = _exact(workers.map_reduce, shards, resampling, outline)
        resampling = replace(resampling, params=params)

    def of(which, n_resamples=plan.n_resamples):
        return resampled(visit, resampling, outline, which, n_resamples, only, plan.least)

    done = Outcome(method, size, resampling.params, [])
    if plan.n_subsets != "auto" or only:
        return replace(done, found=of(list(range(len(subsets)))))
    found = of(list(range(min(FIRST_SUBSETS, len(subsets)))))
    while len(found) < len(subsets) and not _have_settled(found):
        more = range(len(found), min(len(found) + FURTHER_SUBSETS, len(subsets)))
        found += of(list(more), max(one.n_run for one in found))
    return replace(done, found=found)


def _exact(map_reduce, shards: Shards, resampling: Resampling, outline: Outline):
    """The parameters that EM leads to on all rows.

    Where EM stops by the likelihood, parameters may still be a quarter of a standard error from
    there, on the side that they came from.
    """
    family, params = resampling.family, resampling.params
    em_map = ShardsMap(family, map_reduce, shards, params)
    start, only = family.coordinates(params), np.ones((1, 1))
    points, _ = outline.fixed_points(em_map, only, start, SUBSET_REMAINING)
    if not np.isfinite(points).all():
        raise ValueError(
            "EM on all rows does not come to an end: fewer components, a covariance_penalty or a "
            "prior of the estimator may help."
        )
    return family.params_of_coordinates(points[0], params)


def _have_settled(found: list[Replicates]) -> bool:
    each = [spreads(one.points) for one in found if len(one.points) > 1]
    means = [np.mean(each[: i + 1], axis=0) for i in range(len(each))]
    return is_settled(means, WINDOW)


def _information(workers, shards, plan, resampling):
    """What rows, as they are resampled, say of the parameters; None where that is not known."""
    if plan.method == "parametric":
        return None
    family, params, seed = resampling.family, resampling.params, resampling.seed
    return sampled_information(workers.map_reduce, shards, family, params, seed)


def _subsets(workers, shards, plan, resampling, information) -> tuple[str, Shards, int]:
    """The method, the subsets as shards, and about how many rows they have."""
    family, moments = resampling.family, resampling.family.moments
    if plan.method == "parametric":
        rng, weights = np.random.default_rng([resampling.seed]), resampling.params.weights
        size = int(min(max(round(moments.weight), 1), PARAMETRIC_ROWS))
        counts = rng.multinomial(size, weights / weights.sum())
        X = family.sample(resampling.params, counts, rng)
        return plan.method, cut_rows(X, 1), moments.n_rows
    if plan.method == "blb":
        K, smallest = family.n_components, resampling.params.weights.min()
        least = least_rows(family.n_parameters(), K, smallest)
        error = 0.0
        if information is not None:
            error = largest_error(family, resampling.params, information)
        if plan.whole_shards:  # of sizes that somebody chose
            least = least_rows(family.n_parameters(), K, smallest, FEWEST_PER_PARAMETER)
            found = _whole_shards(workers, shards, plan, moments, resampling.seed, least)
            _warn_of_overlap(found[-1], moments.n_rows, error)
            return found
        least = max(least, overlap_rows(moments.n_rows, error, LARGEST_ERROR))
        size = plan.size or subset_rows(moments.n_rows, plan.exponent, least)
        if size < moments.n_rows:
            _warn_of_overlap(size, moments.n_rows, error)
            wanted = plan.n_subsets
            if wanted == "auto":
                wanted = max(min(MAX_SUBSETS, moments.n_rows // size), 1)
            drawn = disjoint_samples(
                workers.map_reduce, shards, moments, size, wanted, resampling.seed
            )
            return plan.method, _as_shards(drawn), size
        state = (
            f"A subset for {family.n_parameters()} parameters would need {size} rows"
            if plan.size is None
            else f"subset_size is {size}"
        )
        warnings.warn(
            f"{state} and there are {moments.n_rows}: the ordinary bootstrap of all rows is done "
            "(method='bootstrap').",
            UserWarning,
            stacklevel=5,  # the caller of fit, which a decorator wraps
        )
    everything = all_rows(workers.map_reduce, shards)
    method = "bootstrap" if plan.method == "blb" else plan.method
    return method, _as_shards([everything]), moments.n_rows


def _warn_of_overlap(size: int, n_rows: int, error: float) -> None:
    if size < overlap_rows(n_rows, error, USELESS_ERROR):
        least = overlap_rows(n_rows, error, LARGEST_ERROR)
        warnings.warn(
            f"Components overlap so much that subsets of {size} rows do not tell them apart, and "
            f"errors from them may be several times too small: use subsets of {least} rows or more "
            "(subset_size), method='bootstrap', or fewer components.",
            UserWarning,
            stacklevel=6,  # the caller of fit, which a decorator wraps
        )


def _whole_shards(workers, shards, plan, moments, seed, least) -> tuple[str, Shards, int]:
    """Shards, in random order, that are large enough to be subsets."""
    sizes = [shard.n_rows if shards[[i]].total_weight > 0 else 0 for i, shard in enumerate(shards)]
    usable = [i for i, size in enumerate(sizes) if size >= least]
    if not usable:
        raise ValueError(
            f"No shard has the {least} rows that {plan.method!r} needs of a subset for this "
            "mixture: use larger shards, or subsets='rows'."
        )
    odd = np.intersect1d(odd_shards(workers.map_shards, shards, moments), usable)
    if len(odd):
        listed = ", ".join(shards[int(i)].name for i in odd[:5])
        more = f" and {len(odd) - 5} more" if len(odd) > 5 else ""
        warnings.warn(
            f"{len(odd)} of {len(shards)} shards do not look like random pieces of the rows: "
            f"{listed}{more}. Errors from them are wrong: use subsets='rows'.",
            UserWarning,
            stacklevel=6,  # the caller of fit, which a decorator wraps
        )
    order = np.random.default_rng([seed]).permutation(usable)
    wanted = MAX_SUBSETS if plan.n_subsets == "auto" else plan.n_subsets
    picked = [int(i) for i in order[:wanted]]
    return plan.method, shards[picked], min(shards.sizes[i] for i in picked)


def _as_shards(samples: list[RowSample]) -> Shards:
    each = [cut_rows(sample.X, 1).with_weights(sample.weight)[0] for sample in samples]
    return Shards(each)
