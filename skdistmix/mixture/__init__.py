"""Mixture models fitted to sharded data."""

from ._distributed_gmm import DistributedGMM

__all__ = ["DistributedGMM"]
