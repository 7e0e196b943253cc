"""Pictures of fitted models."""

from ._criterion_display import CriterionDisplay
from ._dynamics import AssignmentDynamics
from ._embedding_display import EmbeddingDisplay
from ._map_display import AssignmentMapDisplay
from ._shard_display import ShardDisplay
from ._slope_display import SlopeHeuristicDisplay
from ._uncertainty_display import UncertaintyDisplay

__all__ = [
    "AssignmentDynamics",
    "AssignmentMapDisplay",
    "CriterionDisplay",
    "EmbeddingDisplay",
    "ShardDisplay",
    "SlopeHeuristicDisplay",
    "UncertaintyDisplay",
]
