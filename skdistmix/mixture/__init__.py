"""Mixture models fitted to sharded data."""

from ._aggregator import MixtureOfExpertsAggregator
from ._blb import BLBMixture
from ._distributed_gmm import DistributedGMM
from ._reduce import reduce_mixtures

__all__ = ["BLBMixture", "DistributedGMM", "MixtureOfExpertsAggregator", "reduce_mixtures"]
