"""What estimators of any family ask of Gaussian ones beside their mathematics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ._components import log_overlaps

__all__ = ["GaussianContract"]


class GaussianContract:
    """The part of the contract of a family that Gaussians meet by their other methods."""

    takes_foreign = is_trusted = True

    def log_density(self, X, params):
        alike = replace(params, weights=np.ones(len(params.weights)))  # whose logarithms are 0
        return self.kernel(alike).log_joint(X)

    def check_moments(self, moments, columns):
        constant = np.flatnonzero(moments.low == moments.high)
        if len(constant) == 0:
            return None
        names = [columns[j] for j in constant[:5]]
        which = f"{names}{' and more' if len(constant) > 5 else ''}"
        if self.reg_covar == 0:
            raise ValueError(
                f"Columns {which} are constant, and with reg_covar=0 no covariance is positive "
                "definite: drop them or set reg_covar above 0."
            )
        return f"Columns {which} are constant: their variances will all be reg_covar."

    def attributes(self, params):
        return {
            "weights": params.weights,
            "means": params.means,
            "covariances": params.covariances,
            "precisions_cholesky": params.precisions_cholesky,
            "precisions": self.precisions(params),
        }

    def widened(self, params):
        wide = self.of_covariance(self.moments.covariance)
        if self.per_component:
            wide = np.repeat(np.asarray(wide)[None], self.n_components, axis=0)
        return replace(params, covariances=wide, precisions_cholesky=self.factors_of(wide))

    def log_overlaps(self, a, b):
        return log_overlaps(a, b)
