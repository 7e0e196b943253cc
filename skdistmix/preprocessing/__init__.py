"""Transformers for sharded data."""

from ._shardwise import Shardwise

__all__ = ["Shardwise"]
