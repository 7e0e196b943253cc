"""What shards send, and what is said of it where it arrives."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields, is_dataclass

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from ..families import Moments

__all__ = ["Site", "check_sites", "experts_of", "nbytes", "restored", "warn_of_sites"]


@dataclass(frozen=True)
class Site:
    """What a shard sends: its model, sums, and how the fit went; never a row.

    Attributes
    ----------
    weight, n_rows : float, int
        Sum of weights, and rows of positive weight.
    params : object or None
        None if there is no model.
    moments : Moments or None
        Weight, mean and scatter of the rows. The smallest and largest values stay at the shard.
    least : int
        Smallest number of components that was asked for; the model may have fewer.
    converged, n_iter, lower_bound : bool, int, float
        As the attributes of the local estimator.
    halves : tuple of params
        Of the models fitted to the two random halves of the rows, if they were asked for.
    constant : ndarray of int
        Columns that have one value only.
    problem : str or None
        Why there is no model.
    is_corrupt : bool
        Whether that is because the fit broke down.
    """

    weight: float = 0.0
    n_rows: int = 0
    params: object = None
    moments: Moments | None = None
    least: int = 0
    converged: bool = True
    n_iter: int = 0
    lower_bound: float = -np.inf
    halves: tuple = ()
    constant: np.ndarray | None = None
    problem: str | None = None
    is_corrupt: bool = False

    @property
    def outcome(self) -> str:
        """In a few words."""
        if self.params is None:
            return f"no model: {self.problem}"
        return f"{len(self.params.weights)} component(s) after {self.n_iter} iterations"


def experts_of(template, sites: list[Site], names: dict) -> list:
    """The local estimators, as if they had been fitted here; None where there is no model.

    `names` are attributes about features that all have.
    """
    return [
        None if site.params is None else restored(
            template, site.params, converged_=site.converged, n_iter_=site.n_iter,
            lower_bound_=site.lower_bound, n_samples_seen_=site.weight, **names,
        )
        for site in sites
    ]  # fmt: skip


def check_sites(sites: list[Site], sizes: list[int], names: list[str], small_shards: str) -> None:
    """Refuse shards that are too small if the policy says so, and data without any model."""
    for site, size, name in zip(sites, sizes, names, strict=True):
        is_small = site.params is None and not site.is_corrupt and size > 0
        if small_shards == "raise" and is_small:
            raise ValueError(
                f"{name} {site.problem}: use fewer local_components, a smaller "
                "min_component_size, or small_shards='lower' or 'skip'."
            )
    if all(site.params is None for site in sites):
        first = next((i for i, size in enumerate(sizes) if size > 0), 0)
        raise ValueError(
            f"No shard has a model to send: {names[first]}, one of {len(sites)}, "
            f"{sites[first].problem}. Use fewer components, a smaller min_component_size, or fewer "
            "and larger shards."
        )


def warn_of_sites(sites: list[Site], rejected, names: list[str]) -> None:
    """Say which shards have no model, a smaller one than asked for, or are not trusted."""

    def warn(what, concerned, category=UserWarning):
        if not len(concerned):
            return
        listed = ", ".join(names[i] for i in concerned[:5])
        more = f" and {len(concerned) - 5} more" if len(concerned) > 5 else ""
        # 5: the caller of fit, which a decorator wraps
        text = f"{len(concerned)} of {len(sites)} shards {what}: {listed}{more}."
        warnings.warn(text, category, stacklevel=5)

    each = list(enumerate(sites))
    warn(
        "have fewer components than asked for, because one would stand for less than "
        "min_component_size rows",
        [i for i, s in each if s.params is not None and len(s.params.weights) < s.least],
    )
    warn(
        "are left out, having no model whose components stand for min_component_size rows",
        [i for i, s in each if s.params is None and not s.is_corrupt and s.n_rows > 0],
    )
    warn(
        "are rejected, their models being too far from the others (robust=True takes shards for "
        "random pieces of the same rows, and rejects sites that honestly differ too)",
        [i for i in rejected if not sites[i].is_corrupt],
    )
    corrupt = [i for i in rejected if sites[i].is_corrupt]
    warn(
        "are rejected, because their rows cannot be fitted "
        f"({sites[corrupt[0]].problem if corrupt else ''})",
        corrupt,
    )
    warn(
        "have constant columns, whose variances there are reg_covar or what a penalty makes of it",
        [i for i, s in each if s.constant is not None and len(s.constant)],
    )
    warn(
        "have fits that did not converge (increase max_iter of the estimator)",
        [i for i, s in each if not s.converged],
        ConvergenceWarning,
    )


def restored(template, params, **attributes):
    """A fitted estimator from parameters, and attributes that are set as they are."""
    model = clone(template).set_params(n_components=len(params.weights))
    family = model._family(params.means.shape[1])
    family = family.prepare(family.implied_moments(params, full=family.full_scatter))
    model._set_params(family, params)
    for name, value in attributes.items():
        setattr(model, name, value)
    return model


def nbytes(value) -> int:
    """Bytes of the numbers in a value: arrays, dataclasses of them, tuples; 8 for a scalar."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if is_dataclass(value):
        return sum(nbytes(getattr(value, field.name)) for field in fields(value))
    if isinstance(value, (tuple, list)):
        return sum(nbytes(item) for item in value)
    if isinstance(value, str):
        return len(value)
    return 0 if value is None else 8
