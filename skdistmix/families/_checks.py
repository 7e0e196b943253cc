"""Whether a family does what its contract says: one clear error, before any long work."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from numbers import Integral
from typing import Any

import numpy as np

__all__ = [
    "FamilyError",
    "check_names",
    "check_params",
    "check_prepared",
    "check_prior",
    "check_sample",
    "check_sums",
    "checked_m_step",
]


class FamilyError(ValueError):
    """A family does not do what the contract of :class:`Family` says."""


def checked_m_step(family, stats, previous=None) -> Any:
    """The parameters of an M-step; statistics and parameters of unknown families are checked.

    Raises
    ------
    FamilyError
        If one of them has another form than the contract says, or holds NaN or infinity.
    """
    if family.is_trusted:
        return family.m_step(stats, previous)
    check_sums(family, stats)
    total, name = family.moments.weight, type(family).__name__
    if not np.isclose(stats.weight, total, rtol=1e-6, atol=0.0):
        raise FamilyError(
            f"The statistics of {name} have weight {stats.weight:.8g}, but the weights of all rows "
            f"sum to {total:.8g}: statistics has to count each row once, times its weight."
        )
    params = family.m_step(stats, previous)
    check_params(family, params)
    if previous is not None:
        _check_shapes(family, params, previous)
    check_prior(family, params)
    return params


def check_prepared(family, moments) -> Any:
    """The family that knows the summary of the first pass."""
    prepared = family.prepare(moments)
    if family.is_trusted:
        return prepared
    if getattr(prepared, "moments", None) is not moments:
        raise FamilyError(
            f"{type(family).__name__}.prepare has to return a family whose attribute moments is "
            "what it was given: begin it with family = super().prepare(moments)."
        )
    number = prepared.n_parameters()
    if not isinstance(number, Integral) or number < 0:
        raise FamilyError(
            f"{type(family).__name__}.n_parameters gave {number!r}: expected the number of free "
            "parameters, mixing weights included, for criteria such as BIC."
        )
    return prepared


def check_sums(family, stats) -> None:
    """Refuse statistics that cannot be added, or hold what is no number."""
    wanted = (
        f"{type(family).__name__}.statistics has to return a frozen dataclass of arrays that "
        "supports + and has the fields weight and log_likelihood"
    )
    if not _is_value(stats, ("weight", "log_likelihood")) or not hasattr(stats, "__add__"):
        raise FamilyError(f"{wanted}, such as Sums; got {_described(stats)}.")
    wrong = _not_finite(stats)
    if wrong is not None:
        raise FamilyError(f"{wanted}; its field {wrong} holds NaN or infinity.")


def check_params(family, params) -> None:
    """Refuse parameters without mixing weights, or that hold what is no number."""
    K = family.n_components
    wanted = (
        f"{type(family).__name__}.m_step has to return a frozen dataclass of arrays with a field "
        f"weights of shape (n_components,), here ({K},)"
    )
    if not _is_value(params, ("weights",)):
        raise FamilyError(f"{wanted}; got {_described(params)}.")
    weights = params.weights
    listed = [f.name for f in fields(params) if isinstance(getattr(params, f.name), (list, tuple))]
    if listed:
        raise FamilyError(f"{wanted}; its field {listed[0]} is no array but a list or tuple.")
    if np.shape(weights) != (K,):
        raise FamilyError(f"{wanted}; got weights of shape {np.shape(weights)}.")
    wrong = _not_finite(params)
    if wrong is not None:
        raise FamilyError(f"{wanted}; its field {wrong} holds NaN or infinity.")
    if not ((np.asarray(weights) >= 0).all() and np.isclose(np.sum(weights), 1.0)):
        raise FamilyError(f"{wanted} that are at least 0 and sum to 1; got {weights}.")


def check_prior(family, params) -> None:
    """Refuse a log-prior that is no number: no objective could be compared."""
    value = family.log_prior(params)
    if np.ndim(value) != 0 or not value < np.inf:
        raise FamilyError(
            f"{type(family).__name__}.log_prior gave {value}: expected one number, the logarithm "
            "of the prior of all parameters together."
        )


def check_names(family, names, taken) -> None:
    """Refuse parameters that an estimator could not show, as it has results of the same names."""
    hidden = sorted(set(names) & set(taken))
    if hidden:
        raise FamilyError(
            f"{type(family).__name__} has parameters {hidden}, but {hidden[0]}_ is what an "
            "estimator says of its fit: give them other names, in the parameters or in attributes."
        )


def check_sample(family, X, n_samples: int) -> None:
    """Refuse rows that are more or fewer than were to be drawn."""
    wanted = (n_samples, family.n_features)
    if np.shape(X) != wanted:
        raise FamilyError(
            f"{type(family).__name__}.sample gave an array of shape {np.shape(X)}: expected "
            f"(sum of counts, n_features), here {wanted}."
        )


def _check_shapes(family, params, previous) -> None:
    """Refuse arrays of new shapes: broadcasting may have made them of a wrong start."""
    for field in fields(params):
        shape, before = np.shape(getattr(params, field.name)), getattr(previous, field.name, None)
        if before is not None and np.shape(before) != shape:
            raise FamilyError(
                f"{type(family).__name__}.m_step gave {field.name} of shape {shape}, but they had "
                f"the shape {np.shape(before)} in the parameters before (of an M-step, or given as "
                "params_init): a fit needs parameters of the same shapes throughout."
            )


def _is_value(value, names: tuple) -> bool:
    is_instance = is_dataclass(value) and not isinstance(value, type)
    return is_instance and all(hasattr(value, name) for name in names)


def _described(value) -> str:
    name = type(value).__name__
    if not is_dataclass(value):
        return name
    return f"{name} with the fields {[field.name for field in fields(value)]}"


def _not_finite(value) -> str | None:
    """The name of the first field that holds a number that is not finite."""
    for field in fields(value):
        array = np.asarray(getattr(value, field.name))
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            return field.name
    return None
