"""Transformers for sharded data."""

from ._autoencoder import MarginalizedDenoisingAutoencoder
from ._shardwise import Shardwise

__all__ = ["MarginalizedDenoisingAutoencoder", "Shardwise"]
