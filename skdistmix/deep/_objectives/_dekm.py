"""Deep embedded k-means: the least telling direction of the codes is drawn to the centres."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.cluster import KMeans

from ._base import Objective, Targets

__all__ = ["DEKM"]


class DEKM(Objective):
    """Deep embedded k-means (Guo, Lin and Ye 2021).

    Every refresh runs k-means on the codes, from the centres that there are, and turns the space of
    codes so that its axes are the eigenvectors of the scatter within clusters. Steps then draw each
    code to its centre along the axis of largest scatter only. There is no decoder.
    """

    reconstructs = False
    learns_centers = False
    gamma = 1.0
    learning_rate = 1e-3
    update_interval = 40

    def __init__(self):
        self.axis = None

    def finish(self, codes, head, rng):
        start = head.centers.detach().cpu().numpy()
        kmeans = KMeans(len(start), init=start, n_init=1, random_state=rng).fit(codes)
        with torch.no_grad():
            head.centers.copy_(torch.as_tensor(kmeans.cluster_centers_))
        return kmeans.cluster_centers_, kmeans.labels_.astype(np.int64)

    def refresh(self, codes, log_q, head, rng):
        centers, labels = self.finish(codes, head, rng)
        within = codes - centers[labels]
        _, axes = np.linalg.eigh(within.T.astype(np.float64) @ within)
        self.axis = torch.as_tensor(
            axes[:, -1], dtype=head.centers.dtype, device=head.centers.device
        )
        return Targets(labels)

    def value(self, code, head, labels, target):
        along = (code - head.centers[labels].detach()) @ self.axis
        return (along**2).mean()
