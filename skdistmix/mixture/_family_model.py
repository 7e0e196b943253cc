"""What the estimators by EM ask of their family, and the attributes that its parameters become."""

from __future__ import annotations

import warnings

from .._validation import described
from ..families import GAUSSIAN_FAMILIES, DegenerateComponentError, Family, GaussianFamily
from ..families._base import TooFewRowsError
from ..families._checks import check_names, check_prepared, check_prior
from ._base import BaseMixture
from ._start import Start

__all__ = ["FamilyModel", "columns_of"]


#: What estimators say of a fit, with an underscore: no parameter of a family has such a name.
RESULTS = frozenset(
    (
        *("params", "family", "n_parameters", "n_features_in", "feature_names_in"),
        *("converged", "n_iter", "n_samples_seen", "convergence_gap", "init_scores"),
        *("lower_bound", "lower_bounds", "objective", "objectives", "bic", "aic", "icl"),
    )
)


def columns_of(shards) -> list:
    """Names of the columns, or their numbers."""
    return list(shards.columns or range(shards.n_features))


class FamilyModel(BaseMixture):
    """A mixture of the components that the parameter `family` says."""

    def _validate_params(self):
        super()._validate_params()
        self._spec()

    def _spec(self):
        """What was given as the family."""
        family, wanted = self.family, "an instance of families.GaussianFamily or families.Family"
        if family is None:
            return GaussianFamily()
        if isinstance(family, type) and hasattr(family, "frozen"):
            name = family.__name__
            raise TypeError(f"family is the class {name}: give an instance, family={name}().")
        if not hasattr(family, "frozen"):
            is_type = isinstance(family, str) and family in GAUSSIAN_FAMILIES
            hint = f"GaussianFamily(covariance_type={family!r})" if is_type else ""
            raise TypeError(
                f"family should be {wanted}, or None for Gaussian components, got "
                f"{described(family)}." + (f" Did you mean {hint}?" if hint else "")
            )
        return family

    def _family(self, n_features: int) -> Family:
        """The family, before it knows the data."""
        spec = self._spec()
        family = spec.frozen(self.n_components, n_features)
        if not isinstance(family, Family):
            raise TypeError(
                f"{type(spec).__name__}.frozen has to return an instance of a subclass of "
                f"families.Family, got {described(family)}."
            )
        return family

    def _where_computed(self, family, shards):
        """The shards, in NumPy arrays for a family that takes no others."""
        if family.takes_foreign:
            return shards
        if self.device is not None:
            raise ValueError(
                f"{type(family).__name__} computes in NumPy, and device={self.device!r} is given: "
                "leave it None; rows on other devices are then brought to the host in blocks."
            )
        return shards.on_host()

    def _prepared(self, map_reduce, shards, family, moments) -> Family:
        """The family that knows the summary of the first pass."""
        return check_prepared(family, moments)

    def _refuse_noise(self, what: str, remedy: str) -> None:
        """An error if there is noise, asked for or fitted, where that is not supported."""

    def _start(self, family, shards) -> Start:
        return Start.of_any_family(self, family, shards)

    def _family_and_params(self):
        return self.family_, self.params_

    def _fitted_params(self):
        return self.params_

    def _check_starts(self, family, starts):
        """Refuse names of parameters, and priors, before any long work."""
        if not family.is_trusted:
            for params in starts:
                if not isinstance(params, DegenerateComponentError):
                    check_names(family, family.attributes(params), RESULTS)
                    check_prior(family, params)

    def _set_params(self, family, params):
        for name in getattr(self, "_of_family", ()):  # of another one, before
            self.__dict__.pop(name, None)
        named = {f"{name}_": value for name, value in family.attributes(params).items()}
        for name, value in named.items():
            setattr(self, name, value)
        self._of_family = list(named)
        self.weights_, self.params_ = params.weights, params
        self.family_ = family.prepare(family.moments.without_rows())
        self.n_parameters_ = family.n_parameters()

    def _check_previous(self, family, n_features: int, what: str):
        """Refuse to go on from parameters of another family or shape."""
        # by name: a class that is defined anew, as a notebook does, is still the same family
        then = (_name(self.family_), len(self.weights_), len(self.family_.moments.mean))
        both = (then, (_name(family), self.n_components, n_features))
        if then != both[1]:
            told = [f"{K} component(s) of {name[1]} in {d} column(s)" for name, K, d in both]
            raise ValueError(
                f"{what} goes on from the previous solution, which has {told[0]}, but now "
                f"{told[1]} are needed: set the previous n_components and family, or fit a new "
                "estimator (or one with warm_start=False)."
            )

    def _check_moments(self, family, moments, shards, stacklevel=4):
        """Refuse rows that have no fit; warn of doubtful ones, or say so if `stacklevel` is 0."""
        if moments is None:
            raise TooFewRowsError(
                "All rows have weight zero or all shards are empty: nothing to fit."
            )
        n_distinct = len(moments.distinct)
        if n_distinct < self.n_components:
            raise TooFewRowsError(
                f"X has {n_distinct} distinct row(s) of positive weight in {shards.n_rows} rows, "
                f"fewer than n_components={self.n_components}: use fewer components."
            )
        doubt = family.check_moments(moments, columns_of(shards))
        if doubt is not None and stacklevel > 0:
            # the caller of fit or partial_fit, which a decorator wraps
            warnings.warn(doubt, UserWarning, stacklevel=stacklevel)
        return doubt


def _name(family) -> tuple[str, str]:
    return type(family).__module__, type(family).__qualname__
