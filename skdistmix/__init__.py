"""Mixture models for data that live in pieces, with the scikit-learn API."""

from ._shards import Shards, as_shards
from .mixture import BLBMixture, DistributedGMM, MixtureOfExpertsAggregator, reduce_mixtures

__version__ = "0.1.0.dev0"

__all__ = [
    "BLBMixture",
    "DeepEmbeddedClustering",
    "DistributedGMM",
    "MixtureOfExpertsAggregator",
    "Shards",
    "as_shards",
    "reduce_mixtures",
]


def __getattr__(name):
    if name == "DeepEmbeddedClustering":  # its imports are heavy
        from .deep import DeepEmbeddedClustering

        return DeepEmbeddedClustering
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
