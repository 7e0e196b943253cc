"""Random data with known structure, Gaussian mixtures with a given overlap; and bundled data."""

from ._electricity import load_electricity_profiles
from ._overlap import mixture_overlap
from ._population import make_gaussian_population
from ._rows import make_gaussian_mixture, sample_gaussian_mixture

__all__ = [
    "load_electricity_profiles",
    "make_gaussian_mixture",
    "make_gaussian_population",
    "mixture_overlap",
    "sample_gaussian_mixture",
]
