"""What one component is: parameters, log-density, statistics that add, M-step.

The algorithms of this package know these objects only through the contract in
:class:`~skdistmix.families.Family`.
"""

from ._base import DegenerateComponentError, Family, Moments
from ._checks import FamilyError
from ._components import GaussianComponents
from ._covariance_types import GAUSSIAN_FAMILIES, gaussian_family
from ._density import DensityKernel, Sums
from ._gaussian import (
    DiagonalGaussian,
    FullGaussian,
    SphericalGaussian,
    TiedGaussian,
)
from ._gaussian_base import GaussianBase, GaussianParams
from ._gaussian_spec import GaussianFamily
from ._information import Information, SingularInformationError
from ._kernels import FeatureKernel, TriangularKernel
from ._noise import NoiseFamily, NoiseParams
from ._prior import ConjugatePrior, CovariancePenalty
from ._scores import ScoreKernel, ScoreSums
from ._statistics import GaussianStatistics

__all__ = [
    "GAUSSIAN_FAMILIES",
    "ConjugatePrior",
    "CovariancePenalty",
    "DegenerateComponentError",
    "DensityKernel",
    "DiagonalGaussian",
    "Family",
    "FamilyError",
    "FeatureKernel",
    "FullGaussian",
    "GaussianBase",
    "GaussianComponents",
    "GaussianFamily",
    "GaussianParams",
    "GaussianStatistics",
    "Information",
    "Moments",
    "NoiseFamily",
    "NoiseParams",
    "ScoreKernel",
    "ScoreSums",
    "SingularInformationError",
    "SphericalGaussian",
    "Sums",
    "TiedGaussian",
    "TriangularKernel",
    "gaussian_family",
]
