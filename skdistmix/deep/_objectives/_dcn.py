"""Deep clustering network: codes are drawn to the means of their clusters."""

from __future__ import annotations

import numpy as np
import torch

from ._base import Objective, Targets

__all__ = ["DCN"]


class DCN(Objective):
    """Deep clustering network (Yang, Fu, Sidiropoulos and Hong 2017).

    Half the squared distances of codes from their nearest centres. Centres do not follow gradients:
    after each step they move to the codes that are nearest to them, by one over the number of codes
    that they have seen.
    """

    learns_centers = False
    gamma = 0.01  # ten times as much ends with fewer rows in their class than the start on USPS

    def __init__(self):
        self.counts = None

    def refresh(self, codes, log_q, head, rng):
        labels = log_q.argmax(axis=1)
        n_clusters = len(head.centers)
        self.counts = np.bincount(labels, minlength=n_clusters).astype(np.float64)
        return Targets(labels)

    def value(self, code, head, labels, target):
        nearest = head.squared_distances(code).min(dim=1).values
        return nearest.mean() / 2

    @torch.no_grad()
    def after_step(self, code, head):
        labels = head.squared_distances(code).argmin(dim=1)
        one_hot = torch.nn.functional.one_hot(labels, len(head.centers)).to(code.dtype)
        seen = one_hot.sum(0)
        self.counts = self.counts + seen.double().cpu().numpy()
        # A batch at once: each centre moves as far as by its codes one after the other.
        counts = torch.as_tensor(self.counts, dtype=code.dtype, device=code.device).clamp_min(1.0)
        head.centers += (one_hot.T @ code - seen[:, None] * head.centers) / counts[:, None]
