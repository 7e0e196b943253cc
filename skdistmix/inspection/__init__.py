"""Pictures of fitted models."""

from ._dynamics import AssignmentDynamics
from ._embedding_display import EmbeddingDisplay
from ._map_display import AssignmentMapDisplay
from ._shard_display import ShardDisplay

__all__ = ["AssignmentDynamics", "AssignmentMapDisplay", "EmbeddingDisplay", "ShardDisplay"]
