"""What is Gaussian in DistributedGMM: the family of its parameters, and its attributes."""

from __future__ import annotations

from ..families import GaussianFamily, GaussianParams, gaussian_family
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
            reg_covar=self.reg_covar,
            covariance_penalty=self.covariance_penalty,
            prior=self.prior,
        )

    def _start(self, family, shards):
        return Start.checked(self, family, shards)

    def _family_and_params(self):
        params = self._fitted_params()
        family = gaussian_family(self.covariance_type_)(len(params.weights))
        return family.prepare(family.implied_moments(params)), params

    def _fitted_params(self):
        return GaussianParams(
            self.weights_, self.means_, self.covariances_, self.precisions_cholesky_
        )

    def _set_params(self, family, params):
        self.covariance_type_ = family.name  # parameters may be set to other values after fit
        self.weights_, self.means_ = params.weights, params.means
        self.covariances_ = params.covariances
        self.precisions_cholesky_ = params.precisions_cholesky
        self.precisions_ = family.precisions(params)
        self.n_parameters_ = family.n_parameters()

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
