"""What is Gaussian in DistributedGMM: the family of its parameters, and its attributes."""

from __future__ import annotations

import numpy as np

from .._noise import prepared
from ..families import (
    GaussianFamily,
    GaussianParams,
    NoiseFamily,
    NoiseParams,
    gaussian_family,
)
from ._family_model import FamilyModel
from ._start import Start

__all__ = ["GaussianModel"]


class GaussianModel(FamilyModel):
    """A Gaussian mixture with the parameters and attributes of scikit-learn's."""

    def _validate_params(self):
        super()._validate_params()
        gaussian_family(self.covariance_type)  # an error names types that are written nearly so

    def _spec(self):
        return GaussianFamily(
            self.covariance_type,
            weights=self.weights,
            reg_covar=self.reg_covar,
            covariance_penalty=self.covariance_penalty,
            prior=self.prior,
        )

    def _family(self, n_features: int):
        family = super()._family(n_features)
        if self.noise is None:
            return family
        if isinstance(self.noise, (bool, np.bool_)):  # a number, as Python has it
            raise ValueError(
                f"noise={self.noise} is neither 'auto' nor a volume: noise='auto' takes that of a "
                "box that holds all rows, noise=None fits without."
            )
        return NoiseFamily(family, None if self.noise == "auto" else float(np.log(self.noise)))

    def _prepared(self, map_reduce, shards, family, moments):
        return prepared(map_reduce, shards.on_host(), family, moments)

    def _start(self, family, shards):
        return Start.checked(self, family, shards)

    def _refuse_noise(self, what: str, remedy: str):
        if self.noise is not None or self._has_noise:
            given = "" if self.noise is None else f" (noise={self.noise!r})"
            raise ValueError(f"{what} does not support the noise component{given}: {remedy}.")

    def _family_and_params(self):
        params = self._fitted_params()
        kind, equal = gaussian_family(self.covariance_type_), getattr(self, "_equal_weights", False)
        family = kind(len(params.weights), equal_weights=equal)
        if self._has_noise:
            family = NoiseFamily(family, float(np.log(self.noise_volume_)), self._noise_box)
        return family.prepare(family.implied_moments(params)), params

    def _fitted_params(self):
        arrays = (self.weights_, self.means_, self.covariances_, self.precisions_cholesky_)
        return (
            NoiseParams(*arrays, self.noise_weight_) if self._has_noise else GaussianParams(*arrays)
        )

    @property
    def _has_noise(self) -> bool:
        """Whether the fitted mixture has a noise component."""
        return hasattr(self, "noise_weight_")

    def _set_params(self, family, params):
        # Parameters may be set to other values after fit.
        self.covariance_type_, self._equal_weights = family.name, family.equal_weights
        self.weights_, self.means_ = params.weights, params.means
        self.covariances_ = params.covariances
        self.precisions_cholesky_ = params.precisions_cholesky
        self.precisions_ = family.precisions(params)
        self.n_parameters_ = family.n_parameters()
        if isinstance(family, NoiseFamily):
            self.noise_weight_, self._noise_box = float(params.noise_weight), family.box
            given = family.box is None  # as a number, which exp(log()) would round
            self.noise_volume_ = float(self.noise if given else np.exp(family.log_volume))
        else:
            for name in ("noise_weight_", "noise_volume_", "_noise_box"):  # of an earlier fit
                self.__dict__.pop(name, None)

    @property
    def volumes_(self):
        """d-th roots of the determinants of the covariances, shape (n_components,)."""
        return self._decomposition()[0]

    @property
    def shapes_(self):
        """Variances along the axes over the volume, shape (n_components, n_features)."""
        return self._decomposition()[1]

    @property
    def orientations_(self):
        """Axes of the components as columns, shape (n_components, n_features, n_features)."""
        return self._decomposition()[2]

    def _decomposition(self):
        if not hasattr(self, "covariances_"):  # an attribute of fitted models, as all others
            raise AttributeError(f"This {type(self).__name__} is not fitted yet: call fit first.")
        family, params = self._family_and_params()
        return family.decomposition(params)

    def _check_previous(self, family, n_features: int, what: str):
        """Refuse to go on from parameters of another type or shape."""
        shape = (self.n_components, n_features)
        if self.covariance_type_ != family.name or self.means_.shape != shape:
            raise ValueError(
                f"{what} goes on from the previous solution, which has {self.covariance_type_} "
                f"covariances and means of shape {self.means_.shape}, but now {family.name} "
                f"covariances and means of shape {shape} are needed: set the previous n_components "
                "and covariance_type, or fit a new estimator (or one with warm_start=False)."
            )
