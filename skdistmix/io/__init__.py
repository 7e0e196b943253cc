"""Files: predictions written piece by piece."""

from ._predictions import write_predictions

__all__ = ["write_predictions"]
