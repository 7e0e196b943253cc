"""Local fits: what happens at each shard."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from sklearn.base import clone

from .._compute import Workers
from .._shards import Shards
from .._stacking import half_of
from ..families import DegenerateComponentError
from ..families._base import TooFewRowsError, posteriors0
from ._distributed_gmm import DistributedGMM
from ._sites import Site

__all__ = ["SMALL_SHARDS", "LocalFit", "candidates_of", "check_estimator", "default_estimator"]

#: What to do with a shard that is too small for its number of components.
SMALL_SHARDS = ("lower", "skip", "raise")


def default_estimator() -> DistributedGMM:
    """The local mixture if none is given."""
    return DistributedGMM(
        tol="likelihood",
        acceleration="squarem",  # numbers of components that are too large make EM crawl
        covariance_penalty="auto",
        n_init=4,
        max_iter=1000,
    )


def check_estimator(estimator, n_components: int, local_components) -> None:
    """Refuse a local mixture whose parameters are wrong, or would be passed over in silence."""
    estimator._validate_params()
    own = estimator.n_components
    if local_components is None and own not in (1, n_components):
        raise ValueError(
            f"estimator has n_components={own}, but local models get n_components={n_components}: "
            f"say so by local_components={own}, or give estimator that number."
        )
    estimator._refuse_noise("A local mixture", "give an estimator with noise=None")
    if estimator.device is not None:
        raise ValueError(
            f"estimator has device={estimator.device!r}, but local fits are made where the rows of "
            "a shard are, by NumPy: use device=None."
        )


def candidates_of(local_components) -> tuple[int, ...]:
    """Numbers of components to choose from, increasing."""
    candidates = np.atleast_1d(local_components)
    is_number = candidates.ndim == 1 and candidates.dtype.kind in "iu" and candidates.size > 0
    if not is_number or not (candidates > 0).all():
        raise ValueError(
            "local_components must be a positive whole number or several, got "
            f"{local_components!r}."
        )
    return tuple(sorted({int(K) for K in candidates}))


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
        Rows that every component of a model must stand for before the model leaves the shard; of
        rows with weights their effective number (Kish).
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
                wants_halves = self.halves and best is not None
                halves = self._halves(shard, seed, best) if wants_halves else ()
        except ValueError as error:
            text = _at(shard, error)
            if self.bears_failure:
                return Site(0.0, shard.n_rows, problem=text, is_corrupt=True)
            degenerate = isinstance(error, DegenerateComponentError)
            raise (DegenerateComponentError if degenerate else ValueError)(text) from error
        least = min(self.candidates)
        if best is None:
            problem = (
                f"has no model of {least} component(s) that stand for at least "
                f"{self.min_component_size} row(s) each (min_component_size) among its "
                f"{shard.n_rows} row(s)"
            )
            return Site(n_rows=shard.n_rows, problem=problem)
        moments, (_, params) = best._moments, best._family_and_params()
        constant = np.flatnonzero(moments.low == moments.high)
        unknown = np.full(len(moments.mean), np.inf)
        return Site(
            moments.weight, moments.n_rows, params, replace(moments, low=-unknown, high=unknown),
            least, best.converged_, best.n_iter_, best.lower_bound_, halves, constant,
        )  # fmt: skip

    def _chosen(self, shard: Shards, seed: int):
        """The fit of smallest BIC, or with fewer components than asked for; None for no model."""
        fits, broken = [], None
        for K in self.candidates:
            try:
                fit = self._fit(shard, K, seed)
            except DegenerateComponentError as error:  # a smaller number may do
                broken, fit = broken or error, None
            fits += [fit] if fit is not None else []
            # Larger numbers take longest, and have less and less for them.
            if len(fits) > 2 and fits[-1].bic_ > fits[-2].bic_ > fits[-3].bic_:
                break
        if not fits and broken is not None:
            raise broken
        if fits:
            return min(fits, key=lambda fit: fit.bic_)
        lower = self.small_shards == "lower"
        for K in range(min(self.candidates) - 1, 0, -1) if lower else ():
            if (fit := self._fit(shard, K, seed)) is not None:
                return fit
        return None

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
        return model if self._may_leave(model, shard) else None

    def _may_leave(self, model, shard: Shards) -> bool:
        """Whether every component of a model stands for enough rows of a shard."""
        sizes = model.weights_ * model._moments.n_rows
        if shard[0].weight is not None:  # a heavy row is one row
            family, params = model._family_and_params()
            with Workers(1) as workers:
                kernel = family.kernel(params)
                sums = workers.map_reduce(partial(_sizes, kernel=kernel), shard, kernel.block_rows)
            sizes = np.minimum(sizes, sums[0] ** 2 / np.maximum(sums[1], np.finfo(float).tiny))
        # The size that a component was asked for may be missed by rounding.
        return bool(sizes.min() >= self.min_component_size * (1 - 1e-9))

    def _halves(self, shard: Shards, seed: int, whole) -> tuple:
        """Models of the two halves, found from that of all rows, which stands in where none is."""
        found = []
        for half in (0, 1):
            model = clone(whole)
            model.set_params(
                n_init=1,
                weights_init=whole.weights_,
                means_init=whole.means_,
                precisions_init=whole.precisions_,
            )
            rows = half_of(shard, seed, half)
            try:
                model._fit_shards(rows, quiet=True)
                model = model if self._may_leave(model, rows) else whole
            except (DegenerateComponentError, TooFewRowsError):
                model = whole
            found.append(model._family_and_params()[1])
        return tuple(found)


def _sizes(blocks, kernel) -> np.ndarray:
    """Sums of the weights of rows, shared out by the posterior, and of their squares."""
    total = 0.0
    for block in blocks:
        log_joint = kernel.log_joint(block.X)
        shares = posteriors0(log_joint) * block.weight
        total = total + np.stack([shares.sum(axis=1), (shares**2).sum(axis=1)])
    return total


def _at(shard: Shards, error) -> str:
    name, text = shard[0].name, str(error)
    return text if name in text else f"{name}: {text}"
