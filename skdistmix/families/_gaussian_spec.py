"""Gaussian components as an estimator takes them: parameters, from which a fit makes a family."""

from __future__ import annotations

from numbers import Real

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import (
    Interval,
    StrOptions,
    validate_parameter_constraints,
)

from ._covariance_types import gaussian_family
from ._gaussian_base import GaussianBase
from ._prior import ConjugatePrior, CovariancePenalty

__all__ = ["GaussianFamily"]


class GaussianFamily(BaseEstimator):
    """Gaussian components, for the parameter `family` of :class:`DistributedMixture`.

    Parameters
    ----------
    covariance_type : str, default="full"
        How free covariances are: "full", "tied", "diag", "spherical", or one of the fourteen names
        EII ... VVV of R's mclust. :class:`DistributedGMM` has a table of them.
    weights : {"free", "equal"}, default="free"
        Whether weights are estimated, or all one over the number of components.
    reg_covar : float, default=1e-6
        Added to the diagonal of covariances, in the squared units of the columns.
    covariance_penalty : "auto" or float, optional
        Strength of the penalty of Chen and Tan (2009), under which no component can collapse;
        "auto": one over the root of the sum of weights.
    prior : "auto" or ConjugatePrior, optional
        Conjugate prior of means and covariances (Fraley and Raftery 2007); "auto" is
        ``ConjugatePrior()``. Only for the four types of scikit-learn.

    See Also
    --------
    DistributedGMM : The estimator of Gaussian mixtures, which has these parameters itself.

    References
    ----------
    Chen, J. and Tan, X. (2009). Inference for multivariate normal mixtures. Journal of Multivariate
    Analysis 100, 1367-1383.

    Fraley, C. and Raftery, A. E. (2007). Bayesian regularization for normal mixture estimation and
    model-based clustering. Journal of Classification 24, 155-181.

    Examples
    --------
    >>> from skdistmix import DistributedMixture
    >>> from skdistmix.families import GaussianFamily
    >>> mixture = DistributedMixture(3, family=GaussianFamily("diag"))
    >>> mixture.set_params(family__covariance_type="VVE").family
    GaussianFamily(covariance_type='VVE')
    """

    _parameter_constraints: dict = {
        "covariance_type": [str],  # `frozen` looks it up
        "weights": [StrOptions({"free", "equal"})],
        "reg_covar": [Interval(Real, 0.0, None, closed="left")],
        "covariance_penalty": [
            StrOptions({"auto"}),
            Interval(Real, 0.0, None, closed="neither"),
            None,
        ],
        "prior": [StrOptions({"auto"}), ConjugatePrior, None],
    }

    def __init__(
        self,
        covariance_type="full",
        *,
        weights="free",
        reg_covar=1e-6,
        covariance_penalty=None,
        prior=None,
    ):
        self.covariance_type = covariance_type
        self.weights = weights
        self.reg_covar = reg_covar
        self.covariance_penalty = covariance_penalty
        self.prior = prior

    def frozen(self, n_components: int, n_features: int) -> GaussianBase:
        """The family for a fit, before it knows the data.

        Parameters
        ----------
        n_components, n_features : int

        Returns
        -------
        Family

        Raises
        ------
        ValueError
            If a parameter is wrong, the type is not known, it has no conjugate prior, or both a
            prior and a penalty are given.
        """
        values = self.get_params(deep=False)
        validate_parameter_constraints(self._parameter_constraints, values, type(self).__name__)
        kind = gaussian_family(self.covariance_type, n_features)
        prior = self.prior
        if prior is not None and self.covariance_penalty is not None:
            raise ValueError(
                "Both covariance_penalty and prior are given, and they do the same work: leave one "
                "of them None."
            )
        if prior is not None and not kind.has_conjugate_prior:
            raise ValueError(
                f"There is no conjugate prior for covariance_type={self.covariance_type!r}, only "
                "for 'full', 'tied', 'diag' and 'spherical'. covariance_penalty='auto' keeps "
                "components from collapsing with every type."
            )
        if prior is not None:
            prior = ConjugatePrior() if prior == "auto" else prior
            prior = prior.checked(n_features, kind.has_matrices)
        elif self.covariance_penalty is not None:
            automatic = self.covariance_penalty == "auto"
            prior = CovariancePenalty(None if automatic else self.covariance_penalty)
        equal = self.weights == "equal"
        return kind(n_components, self.reg_covar, prior, equal_weights=equal)
