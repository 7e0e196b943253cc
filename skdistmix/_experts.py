"""Several mixtures side by side as experts, and what a gate makes of them.

An expert is a mixture f_m with components of its own, each of which stands for one component z of
a global mixture. A gate gives each row shares g_m of the experts. If they do not depend on the row
(stacking), or only on side information u, then sum_m g_m f_m(x) is a density of x. If they depend
on x it is none, and all that the gate can combine are the experts' posterior probabilities.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .families import Family
from .families._base import LOG_OF_ZERO, logsumexp0

__all__ = ["ExpertKernel", "Experts"]


@dataclass(frozen=True)
class Experts:
    """The components of several mixtures, one mixture after the other.

    Attributes
    ----------
    kernel : object
        Of all components, with their weights within their own mixtures.
    first : ndarray of shape (n_experts,)
        The first component of each expert.
    targets : ndarray of shape (n_components,)
        The global component that each stands for.
    """

    kernel: object
    first: np.ndarray
    targets: np.ndarray

    @classmethod
    def of(cls, family: Family, models: Sequence, targets: np.ndarray) -> Experts:
        """From the components of each mixture."""
        first = np.cumsum([0, *(len(model) for model in models[:-1])])
        pooled = type(models[0]).join(models)
        return cls(family.components_kernel(pooled), first, targets)

    @property
    def owners(self) -> np.ndarray:
        """The expert of each component."""
        sizes = np.diff(np.append(self.first, len(self.targets)))
        return np.repeat(np.arange(len(self.first)), sizes)

    def log_densities(self, log_joint: np.ndarray) -> np.ndarray:
        """Log-densities of the experts, shape (n_experts, n_rows), from those of components."""
        ends = np.append(self.first, len(log_joint))
        return np.stack([logsumexp0(log_joint[a:b]) for a, b in itertools.pairwise(ends)])


@dataclass(frozen=True)
class ExpertKernel:
    """What a gate and experts say of rows, in the form of a family's kernel.

    Attributes
    ----------
    experts : Experts
    gate : object
        ``log_shares(U)`` gives shape (n_experts, n_rows), or (n_experts, 1) if all rows have the
        same.
    n_targets : int
        Number of global components.
    n_features : int
        Columns of x; what stands beside them in a block is the side information u.
    is_density : bool
        True: joint log-densities of row and global component. False: only the posterior, because
        the gate looks at x.
    """

    experts: Experts
    gate: object
    n_targets: int
    n_features: int
    is_density: bool

    @property
    def block_rows(self) -> int:
        """Rows of a block that suit the processor."""
        return self.experts.kernel.block_rows

    def log_joint(self, Z) -> np.ndarray:
        """Shape (n_targets, n_rows)."""
        X, U = Z[:, : self.n_features], Z[:, self.n_features :]
        log_joint = np.array(self.experts.kernel.log_joint(X))
        shares = self.gate.log_shares(U if self.is_density else X)
        if not self.is_density:
            shares = shares - self.experts.log_densities(log_joint)
        log_joint += shares[self.experts.owners]
        result = np.full((self.n_targets, log_joint.shape[1]), LOG_OF_ZERO)
        for z in range(self.n_targets):
            mine = self.experts.targets == z
            if mine.any():
                result[z] = np.maximum(logsumexp0(log_joint[mine]), LOG_OF_ZERO)
        return result
