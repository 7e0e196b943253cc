"""Deep embedded clustering: soft assignments learn from sharper ones."""

from __future__ import annotations

import numpy as np
import torch

from ._base import Objective, Targets

__all__ = ["DEC", "IDEC", "sharpened"]


def sharpened(q, frequency):
    """Targets p, proportional to q^2 / f, of soft assignments q (Xie et al. 2016, eq. 3).

    Parameters
    ----------
    q : ndarray or tensor of shape (n_rows, n_clusters)
    frequency : ndarray or tensor of shape (n_clusters,)
        Sums of q over the rows.
    """
    weighted = q**2 / frequency
    return weighted / weighted.sum(1)[:, None]


class IDEC(Objective):
    """Improved deep embedded clustering (Guo, Gao, Liu and Yin 2017).

    Kullback-Leibler divergence of targets from soft assignments, beside the reconstruction. With a
    convolutional network it is DCEC (Guo, Liu, Zhu and Yin 2017).
    """

    soft = True

    def refresh(self, codes, log_q, head, rng):
        q = np.exp(log_q)
        return Targets(log_q.argmax(axis=1), sharpened(q, np.maximum(q.sum(axis=0), 1e-30)))

    def value(self, code, head, labels, target):
        log_q = head(code)
        if target is None:
            with torch.no_grad():
                q = log_q.exp()
                target = sharpened(q, q.sum(0).clamp_min(1e-30))
        return torch.nn.functional.kl_div(log_q, target, reduction="batchmean")


class DEC(IDEC):
    """Deep embedded clustering (Xie, Girshick and Farhadi 2016): the same without a decoder."""

    reconstructs = False
    gamma = 1.0
