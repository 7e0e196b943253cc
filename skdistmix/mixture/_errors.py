"""Standard errors of a fitted mixture, from the scores and the information of its rows."""

from __future__ import annotations

import warnings
from dataclasses import replace
from numbers import Integral

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import (
    Interval,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.validation import check_is_fitted

from .._compute import Workers
from .._em import first_pass
from .._sampling import bounded_sample
from .._validation import validated_shards
from ..families import SingularInformationError

__all__ = ["StandardErrors"]

CONSTRAINTS = {
    "method": [StrOptions({"information", "sandwich"})],
    "subsample": [Interval(Integral, 2, None, closed="left"), None],
}
# An interval of 95 % about an estimate so many standard errors from the maximum covers 92 %; the
# log-likelihood is lower there by up to half the square.
FAR = 0.5


class StandardErrors:
    """The method `standard_errors` of an estimator whose density is one mixture."""

    def standard_errors(self, X, method="information", subsample=None, sample_weight=None):
        """Standard errors of the parameters; of Gaussians of weights, means and covariances.

        How much the estimates would vary if as many rows were drawn anew, to first order in the
        number of rows. The rows are read once, and answer with sums.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            The rows that the mixture was fitted to, as for `fit`.
        method : {"information", "sandwich"}, default="information"
            "information": the inverse of the observed information (minus the second derivatives of
            the log-likelihood), right if the rows come from such a mixture. "sandwich": the sum of
            products of scores between two such inverses (White 1982), right also if they do not;
            then the errors are those about the mixture of highest expected log-likelihood. It
            needs more rows to be as stable.
        subsample : int, optional
            Number of rows, about, of a random sample that stands for all rows. The errors are those
            of all rows; they are estimated less exactly. All rows are taken if they are not more
            than twice as many.
        sample_weight : array-like of shape (n_samples,), list of arrays, path, str, optional
            As for `fit`: frequency weights, whose sum is the number of rows.

        Returns
        -------
        errors : Bunch
            weights, means, covariances : ndarray
                Standard errors, shaped like `weights_`, `means_` and `covariances_`. That the
                weights sum to one is taken into account: the only weight of one component has the
                error 0, as have weights that are held equal.
            names : list of str, of length p
                The free parameters, such as ``"means[0, 1]"``: all weights but the last (none if
                they are held equal), the means, and the entries of the covariances, of matrices
                those on and above the diagonal; row by row each. p is `n_parameters_`.
            estimates : ndarray of shape (p,)
                Their values.
            covariance_matrix : ndarray of shape (p, p)
                The covariance matrix of the estimates, for errors of functions of them.
            distance : float
                How far the estimates are from the maximum of the likelihood of X by a Newton step:
                the largest move of a parameter, in its standard errors. NaN with a random sample,
                whose own maximum is elsewhere.

        Raises
        ------
        NotFittedError
            If the mixture is not fitted.
        NotImplementedError
            If its family has no scores: of Gaussian ones, only the four covariance types of
            scikit-learn have. :class:`BLBMixture` resamples any.
        ValueError
            If the columns or weights do not fit, the rows are not more than the free parameters, a
            component has weight zero, or the information is not positive definite: the parameters
            are at no maximum of the likelihood.

        Warns
        -----
        ConvergenceWarning
            If `distance` is above 0.5; with a random sample, if `convergence_gap_` is above 0.125.

        Notes
        -----
        The information is that of the likelihood alone, without `prior` or `covariance_penalty`.
        Work and memory grow with the square of p.

        References
        ----------
        Boldea, O. and Magnus, J. R. (2009). Maximum likelihood estimation of the multivariate
        normal mixture model. JASA 104, 1539-1549.

        Louis, T. A. (1982). Finding the observed information matrix when using the EM algorithm.
        JRSS-B 44, 226-233.

        White, H. (1982). Maximum likelihood estimation of misspecified models. Econometrica 50,
        1-25.

        Examples
        --------
        >>> import numpy as np
        >>> from skdistmix import DistributedGMM
        >>> X = np.random.default_rng(0).normal(size=(400, 1))
        >>> gmm = DistributedGMM().fit(X)
        >>> errors = gmm.standard_errors(X)
        >>> bool(np.allclose(errors.means, X.std() / np.sqrt(400)))
        True
        >>> bool(np.allclose(errors.covariances, X.var() * np.sqrt(2 / 400)))
        True
        >>> errors.names
        ['means[0, 0]', 'covariances[0, 0, 0]']
        """
        check_is_fitted(self)
        values = {"method": method, "subsample": subsample}
        validate_parameter_constraints(CONSTRAINTS, values, "standard_errors")
        self._check_is_one_mixture()
        family, params = self._family_and_params()
        kernel = family.score_kernel(params)
        _check_weights(params.weights)
        shards = validated_shards(self, X, reset=False).with_weights(sample_weight).on_host()
        with Workers(self.n_jobs) as workers:
            rows, moments = shards, None
            if subsample is not None:
                moments = first_pass(workers.map_reduce, shards, False, 1)
                seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
                rows = bounded_sample(workers.map_reduce, shards, moments, subsample, seed)
            sums = workers.map_reduce(kernel.sums, rows, kernel.block_rows, check=True)
        _check_rows(sums.weight, family.n_parameters(), subsample)
        information = family.information(params, sums)
        if moments is not None:
            information = replace(information, weight=moments.weight)
        try:
            errors = _errors(information, params, method == "sandwich")
        except SingularInformationError as error:
            raise SingularInformationError(
                f"{error} {self._nearer}. If that changes nothing, the rows do not tell the "
                "components apart (take fewer, simpler ones, as by covariance_type of Gaussians, "
                "or more rows), or a prior, a penalty or reg_covar holds parameters far from "
                "their rows (take less)."
            ) from error
        if rows is not shards:
            errors.distance = np.nan
        self._warn_if_far(errors.distance)
        return errors

    #: How to come nearer to the maximum of the likelihood.
    _nearer = "Fit with tol='likelihood' and a large max_iter"

    def _check_is_one_mixture(self):
        """Refuse if the density is that of several mixtures."""

    def _warn_if_far(self, distance: float):
        gap = getattr(self, "convergence_gap_", 0.0)
        if distance > FAR:
            state = f"about {distance:.2g} standard errors from the maximum of the likelihood of X"
        elif np.isnan(distance) and gap > FAR**2 / 2:
            state = f"not at the maximum of the likelihood (convergence_gap_ is {gap:.2g})"
        else:
            return
        warnings.warn(
            f"The parameters are {state}, and intervals about them miss by as much. "
            f"{self._nearer}, and give the rows and weights of the fit. A prior, a "
            "covariance_penalty or a large reg_covar moves estimates on purpose: the errors do not "
            "count that.",
            ConvergenceWarning,
            stacklevel=3,
        )


def _errors(information, params, sandwich: bool) -> Bunch:
    covariance = information.covariance(sandwich)
    sizes = np.sqrt(np.diag(covariance))
    free = information.free
    return Bunch(
        **information.arrays_of(sizes, like=params),
        names=np.array(information.names)[free].tolist(),
        estimates=information.vector_of(params)[free],
        covariance_matrix=covariance[np.ix_(free, free)],
        distance=float(np.max(np.abs(information.newton_step()[free]) / sizes[free])),
    )


def _check_weights(weights) -> None:
    empty = np.flatnonzero(weights <= 0).tolist()
    if empty:
        raise ValueError(
            f"Components {empty} have weight 0, which is the boundary of what is possible, where "
            "there are no standard errors: fit fewer components."
        )


def _check_rows(weight: float, n_parameters: int, subsample) -> None:
    if weight > n_parameters:
        return
    remedy = (
        "more rows, fewer components or simpler ones, as by covariance_type of Gaussians (weights "
        "are frequencies: their sum is the number of rows)"
        if subsample is None
        else "a larger subsample"
    )
    raise ValueError(
        f"{weight:.6g} rows are too few for standard errors of {n_parameters} free parameters: "
        f"take {remedy}."
    )
