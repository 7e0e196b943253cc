"""Soft assignment of codes to centres."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

__all__ = ["ASSIGNMENTS", "Head"]

ASSIGNMENTS = ("student_t", "gaussian")
SMALLEST_SPREAD = 1e-12


class Head(nn.Module):
    """Centres of clusters in the space of codes, and the probabilities that follow from them.

    Parameters
    ----------
    centers : tensor of shape (n_clusters, n_components)
    assignment : {"student_t", "gaussian"}
        "student_t": proportional to (1 + d^2 / alpha)^(-(alpha + 1) / 2) at the distance d from the
        centre (van der Maaten and Hinton 2008; Xie, Girshick and Farhadi 2016). "gaussian":
        proportional to exp(-d^2 / (2 s^2)), where s^2 is the mean square of the distances of codes
        from their own centres, in one direction.
    alpha : float
        Degrees of freedom.
    """

    def __init__(self, centers: torch.Tensor, assignment: str, alpha: float):
        super().__init__()
        self.centers = nn.Parameter(centers.clone())
        self.assignment, self.alpha = assignment, alpha
        self.register_buffer("spread", torch.ones((), dtype=centers.dtype))

    @classmethod
    def of(cls, centers: np.ndarray, assignment: str, alpha: float, spread: float) -> Head:
        """A head from its centres and `facts`."""
        head = cls(torch.from_numpy(centers), assignment, alpha)
        head.spread.fill_(spread)
        return head

    @property
    def facts(self) -> tuple:
        """What it is beside its centres."""
        return self.assignment, self.alpha, float(self.spread)

    def squared_distances(self, code: torch.Tensor) -> torch.Tensor:
        """Shape (n_rows, n_clusters)."""
        # Differences rather than products: codes near a centre keep their digits.
        return ((code[:, None, :] - self.centers) ** 2).sum(dim=2)

    def forward(self, code: torch.Tensor) -> torch.Tensor:
        """Logarithms of the probabilities, shape (n_rows, n_clusters)."""
        return self.of_distances(self.squared_distances(code))

    def of_distances(self, squared: torch.Tensor) -> torch.Tensor:
        """The same from the squared distances."""
        if self.assignment == "student_t":
            scores = torch.log1p(squared / self.alpha) * (-(self.alpha + 1) / 2)
        else:
            scores = squared * (-0.5 / self.spread)
        return torch.log_softmax(scores, dim=1)

    @torch.no_grad()
    def measure(self, squared: np.ndarray) -> None:
        """Note the spread of codes around their centres, from squared distances of all codes."""
        mean_square = float(squared.min(axis=1).mean(dtype=np.float64))
        spread = max(mean_square / self.centers.shape[1], SMALLEST_SPREAD)
        if math.isfinite(spread):
            self.spread.fill_(spread)
