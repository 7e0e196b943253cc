"""Fitted models to and from scikit-learn's GaussianMixture."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import sklearn
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture
from sklearn.utils.fixes import parse_version
from sklearn.utils.validation import check_is_fitted

from .._validation import described
from ..families import DegenerateComponentError, GaussianParams, gaussian_family

__all__ = ["SklearnConversion", "checked_params", "from_sklearn", "to_sklearn"]

PARAMETERS = ("weights_", "means_", "covariances_", "precisions_cholesky_")
COPIED = ("converged_", "n_iter_", "lower_bound_", "lower_bounds_")
NAMES = ("n_features_in_", "feature_names_in_")
HAS_LOWER_BOUNDS = parse_version(sklearn.__version__) >= parse_version("1.7")
SAME_METHODS = {"kmeans", "k-means++", "random", "random_from_data"}  # of init_params
TOLERANCES = {"float32": 0.05, "float64": 1e-3}  # of U' C U = I, generous to flat components


class SklearnConversion:
    """The methods `to_sklearn` and `from_sklearn` of an estimator of Gaussian mixtures."""

    def to_sklearn(self) -> GaussianMixture:
        """The same fitted model as a :class:`sklearn.mixture.GaussianMixture`.

        It predicts the same and shares no memory with this one. Parameters of the constructor are
        carried over where they mean the same there; `tol` and `init_params` are scikit-learn's
        defaults where it does not know the value. Types that it does not know become the nearest
        that it has, with equal covariances but more parameters, for its BIC and further fits: VEE,
        EVE, VVE, EEV, VEV and EVV "full", EEI, VEI and EVI "diag", EII "spherical". It has no
        equal weights either, and counts them as free.

        Returns
        -------
        sklearn.mixture.GaussianMixture
            Fitted. `lower_bound_` and `lower_bounds_` are as scikit-learn would have them, of the
            parameters one iteration before; minus infinity and none without an iteration.

        Raises
        ------
        NotFittedError
            If this model is not fitted.

        Examples
        --------
        >>> import numpy as np
        >>> from skdistmix import DistributedGMM
        >>> X = np.random.default_rng(0).normal(size=(100, 2))
        >>> theirs = DistributedGMM(2, random_state=0).fit(X).to_sklearn()
        >>> theirs
        GaussianMixture(n_components=2, random_state=0)
        >>> theirs.predict(X).shape
        (100,)
        """
        return to_sklearn(self)

    @classmethod
    def from_sklearn(cls, model: GaussianMixture):
        """A fitted :class:`sklearn.mixture.GaussianMixture` as an estimator of this class.

        It predicts the same, shares no memory with `model`, and goes on from its parameters if
        `warm_start` is set before `fit`.

        Parameters
        ----------
        model : sklearn.mixture.GaussianMixture
            Fitted; a subclass will do.

        Returns
        -------
        DistributedGMM
            Fitted. It has no `objectives_`, `objective_`, `convergence_gap_`, `init_scores_`,
            `bic_`, `aic_` and `icl_`: they would need the data, or what scikit-learn does not
            keep. `lower_bound_` and `lower_bounds_` are scikit-learn's, of the parameters one
            iteration before the last; `lower_bounds_` only if the model has it.

        Raises
        ------
        TypeError
            If `model` is not a GaussianMixture.
        NotFittedError
            If it is not fitted.
        ValueError
            If its arrays do not fit each other, or are no parameters of a mixture.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.mixture import GaussianMixture
        >>> from skdistmix import DistributedGMM
        >>> X = np.random.default_rng(0).normal(size=(100, 2))
        >>> theirs = GaussianMixture(2, random_state=0).fit(X)
        >>> ours = DistributedGMM.from_sklearn(theirs)
        >>> bool(np.allclose(ours.score_samples(X), theirs.score_samples(X)))
        True
        """
        return from_sklearn(cls, model)


def to_sklearn(estimator) -> GaussianMixture:
    """See :meth:`SklearnConversion.to_sklearn`."""
    name = type(estimator).__name__
    check_is_fitted(
        estimator,
        "means_",
        msg=f"This {name} is not fitted yet, so there are no parameters to hand over: call fit "
        "before to_sklearn.",
    )
    estimator._refuse_noise("to_sklearn", "scikit-learn's mixtures have none")
    model = GaussianMixture()
    values = _shared_parameters(estimator, model)
    if values["tol"] == "likelihood":
        del values["tol"]
    if not _is_method(values["init_params"]):
        del values["init_params"]
    # A fit may have been followed by set_params; what is handed over is the fit.
    values["n_components"] = len(estimator.weights_)
    values["covariance_type"] = gaussian_family(estimator.covariance_type_).sklearn_name
    model.set_params(**values)
    _copy_attributes(estimator, model, (*PARAMETERS, "precisions_", *COPIED, *NAMES))
    if hasattr(estimator, "objectives_"):
        # Scikit-learn keeps the value before each M-step. It compares the last with that of the
        # parameters when it goes on, and would stop at once if they were the same.
        model.lower_bounds_ = list(estimator.objectives_[:-1])
        model.lower_bound_ = model.lower_bounds_[-1] if model.lower_bounds_ else -np.inf
    if not HAS_LOWER_BOUNDS and hasattr(model, "lower_bounds_"):
        del model.lower_bounds_
    return model


def from_sklearn(cls, model: GaussianMixture):
    """See :meth:`SklearnConversion.from_sklearn`."""
    _check_type(cls, model)
    family, params = checked_params(model)
    estimator = cls()
    estimator.set_params(**_shared_parameters(model, estimator))
    estimator.set_params(n_components=len(params.weights))
    estimator._set_params(family.prepare(family.implied_moments(params)), params)
    estimator.converged_, estimator.n_iter_ = False, 0  # of a model made by hand
    _copy_attributes(model, estimator, (*COPIED, *NAMES))
    estimator.n_features_in_ = params.means.shape[1]
    return estimator


def _is_method(init_params) -> bool:
    return isinstance(init_params, str) and init_params in SAME_METHODS


def _shared_parameters(source, target) -> dict:
    """Copies of the parameters of the constructor that both estimators have."""
    names = target.get_params(deep=False)
    return {name: copy.deepcopy(getattr(source, name)) for name in names if hasattr(source, name)}


def _copy_attributes(source, target, names) -> None:
    for name in names:
        if hasattr(source, name):
            setattr(target, name, copy.deepcopy(getattr(source, name)))


# --------------------------------------------------------------------------- checks


def _check_type(cls, model) -> None:
    wanted = f"{cls.__name__}.from_sklearn expects a fitted sklearn.mixture.GaussianMixture"
    if isinstance(model, type):
        raise TypeError(f"{wanted}, got the class {model.__name__}: fit an instance of it first.")
    if not isinstance(model, GaussianMixture):
        hint = ": it needs no conversion." if isinstance(model, SklearnConversion) else "."
        raise TypeError(f"{wanted}, got {described(model)}{hint}")
    missing = [name for name in PARAMETERS if not hasattr(model, name)]
    if missing:
        raise NotFittedError(
            f"This {type(model).__name__} is not fitted yet (it has no {missing[0]}): call its fit "
            "before from_sklearn."
        )


def checked_params(model) -> tuple:
    """Family and parameters of a fitted mixture of Gaussians, as float64 copies."""
    kind = getattr(model, "covariance_type_", model.covariance_type)
    kind = gaussian_family(str(kind)).name
    dtype = str(np.asarray(model.precisions_cholesky_).dtype)
    values = {name: _finite(name, getattr(model, name)) for name in PARAMETERS}
    means = values["means_"]
    if means.ndim != 2 or means.size == 0:
        raise ValueError(
            f"means_ of the model has shape {means.shape}: expected (n_components, n_features)."
        )
    K, d = means.shape
    family = gaussian_family(kind)(K, 0.0)
    one = family.of_covariance(np.eye(d)).shape
    shape = (K, *one) if family.per_component else one
    expected = {"weights_": (K,), "covariances_": shape, "precisions_cholesky_": shape}
    for name, wanted in expected.items():
        if values[name].shape != wanted:
            raise ValueError(
                f"{name} of the model has shape {values[name].shape}, but its means_ of shape "
                f"{(K, d)} and covariance_type={kind!r} need {wanted}."
            )
    weights = values["weights_"]
    if not ((weights >= 0).all() and np.isclose(weights.sum(), 1.0, atol=1e-4)):
        raise ValueError(
            f"weights_ of the model must be at least 0 and sum to 1, got {weights} with the sum "
            f"{weights.sum():.6g}."
        )
    params = GaussianParams(*(values[name] for name in PARAMETERS))
    factors = _checked_factors(family, params, TOLERANCES.get(dtype, TOLERANCES["float64"]))
    return family, replace(params, precisions_cholesky=factors)


def _finite(name, value) -> np.ndarray:
    try:
        value = np.array(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} of the model is not an array of numbers: {error}.") from error
    if not np.isfinite(value).all():
        raise ValueError(f"{name} of the model contains NaN or infinity.")
    return value


def _checked_factors(family, params, tolerance: float) -> np.ndarray:
    """Factors of the precisions, refused if they or the covariances are none.

    Those of the model are kept, because scikit-learn predicts by them, except lower triangular ones
    that somebody set: scikit-learn does not mind, but our kernels count on zeros below.
    """
    C, U = params.covariances, params.precisions_cholesky
    if family.full_scatter and not np.allclose(C, np.swapaxes(C, -1, -2), rtol=1e-4):
        raise ValueError("covariances_ of the model are not symmetric.")
    try:
        factors = family.factors_of(C)
    except DegenerateComponentError as error:
        raise ValueError(f"covariances_ of the model cannot be used. {error}") from error
    if family.full_scatter:
        whitened = np.swapaxes(U, -1, -2) @ C @ U
        agree = np.allclose(whitened, np.eye(C.shape[-1]), atol=tolerance)
    else:
        agree = (U > 0).all() and np.allclose(U**2 * C, 1.0, atol=tolerance)
    if not agree:
        raise ValueError(
            "precisions_cholesky_ of the model does not belong to its covariances_: if you set "
            "one, set the other too (U with U U' the inverse of the covariance)."
        )
    return U if not family.full_scatter or np.array_equal(U, np.triu(U)) else factors
