"""Pictures of fitted models."""

from ._shard_display import ShardDisplay
from ._uncertainty_display import UncertaintyDisplay

__all__ = ["ShardDisplay", "UncertaintyDisplay"]
