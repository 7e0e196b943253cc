"""What one component is: parameters, log-density, statistics that add, M-step.

The algorithms of this package know these objects only through the contract in
:class:`~skdistmix.families.Family`.
"""

from ._base import DegenerateComponentError, Family, Moments
from ._gaussian import (
    GAUSSIAN_FAMILIES,
    DiagonalGaussian,
    FullGaussian,
    GaussianParams,
    SphericalGaussian,
    TiedGaussian,
)
from ._kernels import FeatureKernel, GaussianStatistics, TriangularKernel

__all__ = [
    "GAUSSIAN_FAMILIES",
    "DegenerateComponentError",
    "DiagonalGaussian",
    "Family",
    "FeatureKernel",
    "FullGaussian",
    "GaussianParams",
    "GaussianStatistics",
    "Moments",
    "SphericalGaussian",
    "TiedGaussian",
    "TriangularKernel",
]
