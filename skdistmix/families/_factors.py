"""Triangular factors of covariances and precisions, and what to say when there are none."""

from __future__ import annotations

import numpy as np
from scipy.linalg import lapack

from ._base import DegenerateComponentError

__all__ = [
    "add_to_diagonal",
    "degenerate",
    "diagonal_of",
    "factor_of_precision",
    "inverse_roots",
    "nearest_covariances",
    "precision_factor",
    "roots_of_precisions",
]


def add_to_diagonal(matrices: np.ndarray, value: float) -> np.ndarray:
    """Copies of square matrices (last two axes) with `value` added to the diagonal."""
    return matrices + value * np.eye(matrices.shape[-1])


def diagonal_of(covariance: np.ndarray) -> np.ndarray:
    """Variances of a covariance matrix, or of its diagonal."""
    return np.diag(covariance) if covariance.ndim == 2 else covariance


def nearest_covariances(values: np.ndarray, are_matrices: bool) -> np.ndarray:
    """Symmetric matrices, or variances, with what is negative in them set to zero."""
    if not are_matrices:
        return np.maximum(values, 0.0)
    sizes, axes = np.linalg.eigh(values)
    if (sizes >= 0).all():
        return values
    return (axes * np.maximum(sizes, 0.0)[..., None, :]) @ np.swapaxes(axes, -1, -2)


def precision_factor(covariance: np.ndarray, component: int | None) -> np.ndarray:
    """Upper triangular U with U U' the inverse of a covariance."""
    _check_finite(covariance)
    lower, failed = lapack.dpotrf(covariance, lower=1, clean=1)
    if failed == 0:
        inverse, failed = lapack.dtrtri(lower, lower=1)
    if failed != 0:
        raise DegenerateComponentError(degenerate(component))
    return np.ascontiguousarray(inverse.T)


def factor_of_precision(precision: np.ndarray, component: int | None) -> np.ndarray:
    """Upper triangular U with U U' = precision."""
    which = "The shared precision" if component is None else f"Precision {component}"
    if not np.allclose(precision, precision.T):
        raise DegenerateComponentError(f"{which} in precisions_init is not symmetric.")
    # Reversing rows and columns turns the lower factor of the reversed matrix into an upper one.
    lower, failed = lapack.dpotrf(precision[::-1, ::-1], lower=1, clean=1)
    if failed != 0:
        raise DegenerateComponentError(f"{which} in precisions_init is not positive definite.")
    return np.ascontiguousarray(lower[::-1, ::-1])


def _check_finite(covariances: np.ndarray) -> None:
    if not np.isfinite(covariances).all():
        raise DegenerateComponentError(
            "Covariances left the range of floating-point numbers: the values of X are too large. "
            "Divide the columns by their scale, for example with StandardScaler."
        )


def inverse_roots(variances: np.ndarray) -> np.ndarray:
    """Square roots of precisions from variances."""
    _check_finite(variances)
    bad = ~(variances > 0)
    if bad.any():
        raise DegenerateComponentError(degenerate(int(np.argwhere(bad)[0][0])))
    return 1.0 / np.sqrt(variances)


def roots_of_precisions(precisions: np.ndarray) -> np.ndarray:
    if not (precisions > 0).all():
        raise DegenerateComponentError("Values of precisions_init must all be above zero.")
    return np.sqrt(precisions)


def degenerate(component: int | None) -> str:
    """What to say of a covariance, of one component or of all, that is not positive definite."""
    which = (
        "The shared covariance" if component is None else f"The covariance of component {component}"
    )
    return (
        f"{which} is not positive definite: its rows lie in fewer dimensions than there are "
        "features, or are a single point. Try fewer components, a larger reg_covar, or drop "
        "constant and duplicate columns."
    )
