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

__all__ = ["SMALL_SHARDS", "LocalFit", "Site", "experts_of", "nbytes", "restored", "warn_of_sites"]

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
        Numbers of components; of several the one with the smallest BIC is taken.
    small_shards : str
        One of `SMALL_SHARDS`.
    min_component_size : int
        Rows that every component of a model must stand for before the model leaves the shard.
    halves : bool
        Whether to fit the random halves as well.
    bears_failure : bool
        Whether a fit that breaks down makes a corrupt site, not an error.
    """

    estimator: object
    candidates: tuple
    small_shards: str
    min_component_size: int
    halves: bool = False
    bears_failure: bool = False

    def __call__(self, shard: Shards, seed: int) -> Site:
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is checked
                return self._site(shard, seed)
        except DegenerateComponentError as error:
            if self.bears_failure:
                return Site(0.0, shard.n_rows, problem=str(error), is_corrupt=True)
            raise DegenerateComponentError(_at(shard, error)) from error
        except ValueError as error:
            raise ValueError(_at(shard, error)) from error

    def _site(self, shard: Shards, seed: int) -> Site:
        if shard.n_rows == 0:
            return Site(problem="has no rows")
        least = min(self.candidates)
        fits = [self._fit(shard, K, seed) for K in self.candidates]
        best = min((f for f in fits if f is not None), key=lambda f: f.bic_, default=None)
        if best is None and self.small_shards == "lower":
            lower = (self._fit(shard, K, seed) for K in range(least - 1, 0, -1))
            best = next((f for f in lower if f is not None), None)
        if best is None:
            problem = (
                f"has {shard.n_rows} row(s), too few for {least} component(s) of at least "
                f"{self.min_component_size} rows each (min_component_size)"
            )
            if self.small_shards == "raise":
                raise ValueError(
                    f"{problem}: use fewer local_components, a smaller min_component_size, or "
                    "small_shards='lower' or 'skip'."
                )
            return Site(n_rows=shard.n_rows, problem=problem)
        _, params = best._family_and_params()
        moments = best._moments
        d = len(moments.mean)
        halves = self._halves(shard, seed, best) if self.halves else ()
        return Site(
            moments.weight, moments.n_rows, params,
            replace(moments, low=np.full(d, -np.inf), high=np.full(d, np.inf)),
            least, best.converged_, best.n_iter_, best.lower_bound_, halves,
        )  # fmt: skip

    def _fit(self, shard: Shards, n_components: int, seed: int):
        """The fitted estimator; None if a component stands for too few rows."""
        if shard.n_rows < n_components * self.min_component_size:
            return None
        model = clone(self.estimator)
        model.set_params(n_components=n_components, n_jobs=1, random_state=seed, verbose=0)
        try:
            model._fit_shards(shard)
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
                model._fit_shards(half_of(shard, seed, half))
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
        rejected,
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
