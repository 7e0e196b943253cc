"""Mixture models for data that live in pieces, with the scikit-learn API."""

from ._shards import Shards, as_shards
from .mixture import BLBMixture, DistributedGMM, MixtureOfExpertsAggregator, reduce_mixtures

__version__ = "0.1.0.dev0"

__all__ = [
    "BLBMixture",
    "DistributedGMM",
    "MixtureOfExpertsAggregator",
    "Shards",
    "as_shards",
    "reduce_mixtures",
]
