"""Mixture models fitted to sharded data."""

from ._aggregator import MixtureOfExpertsAggregator
from ._blb import BLBMixture
from ._distributed_gmm import DistributedGMM
from ._distributed_mixture import DistributedMixture
from ._reduce import reduce_mixtures

__all__ = [
    "BLBMixture",
    "DistributedGMM",
    "DistributedMixture",
    "MixtureOfExpertsAggregator",
    "reduce_mixtures",
]
