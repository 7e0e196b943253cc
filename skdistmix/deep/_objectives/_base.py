"""The contract of an objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch

from .._heads import Head

__all__ = ["Objective", "Targets"]


@dataclass(frozen=True)
class Targets:
    """What codes are drawn to until the next refresh.

    Attributes
    ----------
    labels : ndarray of int, shape (n_rows,)
    values : ndarray of shape (n_rows, n_clusters) or None
        Probabilities that soft assignments are drawn to, for methods that have them.
    """

    labels: np.ndarray
    values: np.ndarray | None = None


class Objective(ABC):
    """A method of learning codes and clusters together.

    A refresh looks at the codes of all rows and says what they are drawn to; a step minimises
    ``reconstruction + gamma * clustering`` over a batch, the reconstruction being the squared error
    averaged over columns and rows, `value` the clustering.

    Attributes
    ----------
    reconstructs : bool
        Whether the reconstruction counts.
    learns_centers : bool
        Whether centres follow gradients.
    soft : bool
        Whether soft assignments are drawn to targets, which may also come from a batch.
    gamma : float
        Weight of the clustering by default.
    learning_rate : float
        By default, of the optimiser.
    update_interval : int or "epoch"
        Steps between refreshes by default.
    """

    reconstructs = True
    learns_centers = True
    soft = False
    gamma = 0.1
    learning_rate = 1e-4
    update_interval: int | str = "epoch"

    @abstractmethod
    def refresh(self, codes: np.ndarray, log_q: np.ndarray, head: Head, rng) -> Targets:
        """Targets of all rows; may move the centres.

        Parameters
        ----------
        codes : ndarray of shape (n_rows, n_components)
        log_q : ndarray of shape (n_rows, n_clusters)
            What the head says of them.
        head : Head
        rng : numpy.random.RandomState
        """

    @abstractmethod
    def value(self, code: torch.Tensor, head: Head, labels, target) -> torch.Tensor:
        """Clustering of a batch, averaged over its rows.

        Parameters
        ----------
        code : tensor of shape (n_rows, n_components)
        head : Head
        labels : tensor of int of shape (n_rows,)
            Of the last refresh.
        target : tensor of shape (n_rows, n_clusters) or None
            Of the last refresh; None: of this batch.
        """

    def finish(self, codes: np.ndarray, head: Head, rng) -> None:  # noqa: B027 - most do nothing
        """What is done with the final codes of all rows."""

    def after_step(self, code: torch.Tensor, head: Head) -> None:  # noqa: B027 - as above
        """What is done after a step of the optimiser, with the codes from before it."""
