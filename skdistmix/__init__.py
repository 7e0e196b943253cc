"""Mixture models for data that live in pieces, with the scikit-learn API."""

from importlib.util import find_spec

from ._shards import Shards, as_shards
from .mixture import (
    BLBMixture,
    DistributedGMM,
    DistributedMixture,
    MixtureOfExpertsAggregator,
    reduce_mixtures,
)

__version__ = "0.1.0.dev0"

__all__ = [
    "BLBMixture",
    "DistributedGMM",
    "DistributedMixture",
    "MixtureOfExpertsAggregator",
    "Shards",
    "as_shards",
    "reduce_mixtures",
]

# Not in __all__: its imports are heavy, and "import *" is to work without them.
_LAZY = {"DeepEmbeddedClustering"}


def __getattr__(name):
    if name in _LAZY:
        from .deep import DeepEmbeddedClustering

        return DeepEmbeddedClustering
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    there = all(find_spec(name) is not None for name in ("torch", "skorch"))
    return sorted(set(globals()) | (_LAZY if there else set()))  # help() takes all that is listed
