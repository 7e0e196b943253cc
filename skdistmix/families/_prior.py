"""What is known of components before the data: penalties and conjugate priors of Gaussians.

Both act in the M-step like rows that were seen before: they add to the scatter and to the number
of rows from which a covariance is computed, and a conjugate prior draws means to a point.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, validate_parameter_constraints

__all__ = ["ConjugatePrior", "CovariancePenalty", "PriorRows"]


@dataclass(frozen=True)
class PriorRows:
    """What a prior adds to the statistics of each covariance.

    Attributes
    ----------
    count : float
        Added to the divisor of the covariance.
    scatter : ndarray or float
        Added to the scatter, in the shape of one covariance of the family.
    shrinkage : float
        Rows at `mean` that are added to each component's mean.
    mean : ndarray of shape (n_features,)
    """

    count: float
    scatter: np.ndarray | float
    shrinkage: float
    mean: np.ndarray


@dataclass(frozen=True)
class CovariancePenalty:
    """Penalty of Chen and Tan (2009) that draws covariances to that of all rows.

    The log-likelihood less ``strength * sum_k (trace(S Sigma_k^-1) + log det Sigma_k)``, with S the
    covariance of all rows, is bounded, so that no component can collapse; estimates follow any
    affine change of the data.

    Parameters
    ----------
    strength : float or None
        None: n ** -0.5, n being the sum of the row weights.
    """

    strength: float | None = None

    def rows(self, family) -> PriorRows:
        """For a family that knows the first-pass summary of the data."""
        moments = family.moments
        strength = moments.weight**-0.5 if self.strength is None else self.strength
        rows = 2.0 * strength * (1 if family.per_component else family.n_components)
        scatter = rows * family.scatter_of(moments.covariance)
        return PriorRows(float(family.divisor(rows)), scatter, 0.0, moments.mean)


class ConjugatePrior(BaseEstimator):
    """Conjugate prior of the means and covariances of Gaussian components.

    Means are normal about `mean` with the component's covariance over `shrinkage`; covariances are
    inverse Wishart (full, tied) or their variances inverse gamma (diag, spherical) with `dof`
    degrees of freedom and scale `scale`. EM then maximises the posterior density. The defaults are
    those of Fraley and Raftery (2007) and of ``priorControl`` in R's mclust.

    Parameters
    ----------
    shrinkage : float, default=0.01
        Weight of the prior mean, in rows.
    mean : array-like of shape (n_features,), optional
        None: the mean of all rows.
    dof : float, optional
        None: n_features + 2.
    scale : array-like of shape (n_features, n_features) or float, optional
        A matrix for full and tied covariances, a number for diagonal and spherical ones. None: the
        covariance S of all rows, or the mean of its diagonal, over
        n_components ** (2 / n_features).

    References
    ----------
    Fraley, C. and Raftery, A. E. (2007). Bayesian regularization for normal mixture estimation and
    model-based clustering. Journal of Classification 24, 155-181. Section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistmix import DistributedGMM
    >>> from skdistmix.families import ConjugatePrior
    >>> X = np.array([[0.0], [0.1], [0.2], [5.0], [5.0], [5.0]])  # the last three have no spread
    >>> gmm = DistributedGMM(2, prior=ConjugatePrior(), reg_covar=0, random_state=0).fit(X)
    >>> bool(gmm.covariances_.min() > 0.1)
    True
    """

    _parameter_constraints: dict = {
        "shrinkage": [Interval(Real, 0.0, None, closed="left")],
        "mean": ["array-like", None],
        "dof": [Interval(Real, 0.0, None, closed="left"), None],
        "scale": ["array-like", Interval(Real, 0.0, None, closed="neither"), None],
    }

    def __init__(self, shrinkage=0.01, mean=None, dof=None, scale=None):
        self.shrinkage = shrinkage
        self.mean = mean
        self.dof = dof
        self.scale = scale

    def checked(self, n_features: int, is_matrix: bool) -> ConjugatePrior:
        """A copy with arrays, of the right shapes.

        Raises
        ------
        ValueError
            If a shape does not fit the data and the family, or the scale is not positive definite.
        """
        validate_parameter_constraints(
            self._parameter_constraints, self.get_params(deep=False), type(self).__name__
        )
        mean = None if self.mean is None else np.array(self.mean, dtype=np.float64)
        scale = None if self.scale is None else np.array(self.scale, dtype=np.float64)
        _check("mean", mean, (n_features,), "one number a feature")
        what = "a matrix for full and tied covariances" if is_matrix else "a number for diagonal"
        shape = (n_features, n_features) if is_matrix else ()
        _check("scale", scale, shape, f"{what}{'' if is_matrix else ' and spherical covariances'}")
        if scale is not None:
            symmetric = np.allclose(scale, scale.T)
            if not symmetric or np.linalg.eigvalsh(np.atleast_2d(scale)).min() <= 0:
                raise ValueError("scale of the prior must be symmetric and positive definite.")
        return ConjugatePrior(self.shrinkage, mean, self.dof, scale)

    def rows(self, family) -> PriorRows:
        """For a family that knows the first-pass summary of the data."""
        moments, K = family.moments, family.n_components
        d = len(moments.mean)
        dof = d + 2 if self.dof is None else self.dof
        count = family.conjugate_count(dof, self.shrinkage > 0)
        scale = self.scale
        if scale is None:
            # the covariance with divisor n - 1, as in R
            scale = moments.covariance * (moments.weight / max(moments.weight - 1.0, 1.0))
            if not family.has_matrices:
                scale = (np.diag(scale) if scale.ndim == 2 else scale).mean()
            scale = scale / K ** (2 / d)
        mean = moments.mean if self.mean is None else self.mean
        return PriorRows(count, scale, self.shrinkage, mean)


def _check(name: str, value, shape: tuple, expected: str) -> None:
    if value is not None and value.shape != shape:
        raise ValueError(
            f"{name} of the prior has the shape {value.shape}, expected {shape}: {expected}."
        )
    if value is not None and not np.isfinite(value).all():
        raise ValueError(f"{name} of the prior contains NaN or infinity.")
