"""Local fits: what happens at each shard, and what it sends."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields, is_dataclass, replace

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from .._shards import Shards
from .._stacking import half_of
from ..families import DegenerateComponentError, Moments
from ..families._base import TooFewRowsError

__all__ = [
    "SMALL_SHARDS",
    "LocalFit",
    "Site",
    "check_sites",
    "experts_of",
    "nbytes",
    "restored",
    "warn_of_sites",
]

#: What to do with a shard that is too small for its number of components.
SMALL_SHARDS = ("lower", "skip", "raise")


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


@dataclass(frozen=True)
class LocalFit:
    """Fits a local mixture to the rows of one shard.

    Attributes
    ----------
    estimator : BaseMixture
        Cloned for each fit.
    candidates : tuple of int
        Numbers of components, increasing; of several the one with the smallest BIC is taken, and
        none is tried after BIC has risen twice.
    small_shards : str
        One of `SMALL_SHARDS`.
    min_component_size : int
        Rows that every component of a model must stand for before the model leaves the shard.
    halves : bool
        Whether to fit the random halves as well.
    bears_failure : bool
        Whether rows that cannot be fitted make a corrupt site, not an error.
    """

    estimator: object
    candidates: tuple
    small_shards: str
    min_component_size: int
    halves: bool = False
    bears_failure: bool = False

    def __call__(self, shard: Shards, seed: int) -> Site:
        if shard.n_rows == 0:
            return Site(problem="has no rows")
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is checked
                best = self._chosen(shard, seed)
                halves = self._halves(shard, seed, best) if self.halves and best else ()
        except ValueError as error:
            text = _at(shard, error)
            if self.bears_failure:
                return Site(0.0, shard.n_rows, problem=text, is_corrupt=True)
            kind = DegenerateComponentError if isinstance(error, DegenerateComponentError) else None
            raise (kind or ValueError)(text) from error
        least = min(self.candidates)
        if best is None:
            rows = f"{shard.n_rows} row(s), too few for {least} component(s) of at least"
            size = f"{self.min_component_size} rows each (min_component_size)"
            return Site(n_rows=shard.n_rows, problem=f"has {rows} {size}")
        moments, (_, params) = best._moments, best._family_and_params()
        constant = np.flatnonzero(moments.low == moments.high)
        unknown = np.full(len(moments.mean), np.inf)
        return Site(
            moments.weight, moments.n_rows, params, replace(moments, low=-unknown, high=unknown),
            least, best.converged_, best.n_iter_, best.lower_bound_, halves, constant,
        )  # fmt: skip

    def _chosen(self, shard: Shards, seed: int):
        """The fit of smallest BIC, or with fewer components than asked for; None for no model."""
        fits = []
        for K in self.candidates:
            fit = self._fit(shard, K, seed)
            fits += [fit] if fit is not None else []
            # Larger numbers take longest, and have less and less for them.
            if len(fits) > 2 and fits[-1].bic_ > fits[-2].bic_ > fits[-3].bic_:
                break
        if not fits and self.small_shards == "lower":
            lower = (self._fit(shard, K, seed) for K in range(min(self.candidates) - 1, 0, -1))
            fits = [next((fit for fit in lower if fit is not None), None)]
        return min(fits, key=lambda fit: fit.bic_, default=None) if fits != [None] else None

    def _fit(self, shard: Shards, n_components: int, seed: int):
        """The fitted estimator; None if a component stands for too few rows."""
        if shard.n_rows < n_components * self.min_component_size:
            return None
        model = clone(self.estimator)
        model.set_params(n_components=n_components, n_jobs=1, random_state=seed, verbose=0)
        try:
            model._fit_shards(shard, quiet=True)
        except TooFewRowsError:
            return None
        smallest = model.weights_.min() * model._moments.n_rows
        # The size that a component was asked for may be missed by rounding.
        return model if smallest >= self.min_component_size * (1 - 1e-9) else None

    def _halves(self, shard: Shards, seed: int, whole) -> tuple:
        """Models of the two halves, found from that of all rows, which stands in where none is."""
        found = []
        for half in (0, 1):
            model = clone(whole)
            model.set_params(
                weights_init=whole.weights_,
                means_init=whole.means_,
                precisions_init=whole.precisions_,
            )
            try:
                model._fit_shards(half_of(shard, seed, half), quiet=True)
            except (DegenerateComponentError, TooFewRowsError):
                model = whole
            found.append(model._family_and_params()[1])
        return tuple(found)


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
        raise ValueError(
            f"No shard has a model to send: {names[0]} of {len(sites)} {sites[0].problem}. Use "
            "fewer components, a smaller min_component_size, or larger shards."
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
        "are left out, having too few rows for a model (small_shards, min_component_size)",
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


def _at(shard: Shards, error) -> str:
    name, text = shard[0].name, str(error)
    return text if name in text else f"{name}: {text}"
