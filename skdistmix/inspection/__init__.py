"""Pictures of fitted models."""

from ._shard_display import ShardDisplay

__all__ = ["ShardDisplay"]
