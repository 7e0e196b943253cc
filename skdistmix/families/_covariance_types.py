"""Covariance types by name: the four of scikit-learn and the fourteen of R's mclust."""

from __future__ import annotations

from difflib import get_close_matches

from ._eigen import (
    EEIGaussian,
    EEVGaussian,
    EIIGaussian,
    EVEGaussian,
    EVIGaussian,
    EVVGaussian,
    VEEGaussian,
    VEIGaussian,
    VEVGaussian,
    VVEGaussian,
)
from ._gaussian import DiagonalGaussian, FullGaussian, SphericalGaussian, TiedGaussian

__all__ = ["GAUSSIAN_FAMILIES", "SAME_TYPES", "gaussian_family"]

#: The families by `covariance_type`.
GAUSSIAN_FAMILIES = {
    family.name: family
    for family in (
        *(FullGaussian, TiedGaussian, DiagonalGaussian, SphericalGaussian),
        *(EIIGaussian, EEIGaussian, VEIGaussian, EVIGaussian),
        *(VEEGaussian, EVEGaussian, VVEGaussian, EEVGaussian, VEVGaussian, EVVGaussian),
    )
}
#: Other names of the same types, those of mclust.
SAME_TYPES = {"VVV": "full", "EEE": "tied", "VVI": "diag", "VII": "spherical"}
ONE_COLUMN = {"E": "EII", "V": "spherical"}


def gaussian_family(name: str, n_features: int | None = None) -> type:
    """The family of a covariance type.

    Parameters
    ----------
    name : str
    n_features : int, optional
        For "E" and "V", which are for one feature. None: not known yet.

    Raises
    ------
    ValueError
        If there is none; it names those that are written nearly so.
    """
    known = [*GAUSSIAN_FAMILIES, *SAME_TYPES]
    if name in ONE_COLUMN and n_features in (1, None):
        return GAUSSIAN_FAMILIES[ONE_COLUMN[name]]
    if name in known:
        return GAUSSIAN_FAMILIES[SAME_TYPES.get(name, name)]
    if name in ONE_COLUMN:
        raise ValueError(
            f"covariance_type={name!r} is for one column, and there are {n_features}: with more, "
            f"volume, shape and orientation have a letter each, such as {name}II, {name}EE or "
            f"{name}VV."
        )
    near = get_close_matches(name.upper(), known, 3, 0.6) + get_close_matches(name.lower(), known)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise ValueError(
        f"covariance_type={name!r} is not known.{hint} There are {', '.join(known)}, and E and V "
        "for one column."
    )
