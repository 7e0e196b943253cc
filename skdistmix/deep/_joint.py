"""Codes and clusters learn together."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import nn

from ._heads import Head
from ._inference import codes_of, in_batches
from ._net import AutoencoderNet, Diverged, Settled
from ._objectives import Objective, Targets
from ._rows import TrainingRows
from ._starts import reseeded

__all__ = ["ClusteringNet", "JointModule", "Progress", "squared_distances"]

CERTAINTY = 0.95  # of the labels that codes are drawn to at the start


class JointModule(nn.Module):
    """An autoencoder's network and the centres of clusters of its codes."""

    def __init__(self, network: nn.Module, head: Head, reconstructs: bool):
        super().__init__()
        self.network, self.head, self.reconstructs = network, head, reconstructs

    def forward(self, X):
        """(reconstruction or nothing, codes)."""
        code = self.network.encode(X)
        return (self.network.decode(code) if self.reconstructs else code.new_zeros(0)), code


@dataclass
class Progress:
    """What codes are drawn to, and how it changes.

    Attributes
    ----------
    rows : TrainingRows
    objective : Objective
    interval : int or "epoch"
        Steps between refreshes.
    tol : float
        Share of rows that change their label below which training ends.
    start : ndarray of int of shape (n_rows,)
        Labels at the start.
    n_start_epochs : int
        Epochs in which codes are drawn to these.
    seed : int
    watch : callable or None
        Called with the probabilities of all rows after every refresh.
    """

    rows: TrainingRows
    objective: Objective
    interval: int | str
    tol: float
    start: np.ndarray
    n_start_epochs: int
    seed: int
    from_batch: bool = False
    watch: object = None
    targets: Targets | None = field(default=None, init=False)
    changed: float = field(default=np.nan, init=False)
    n_reseeded: int = field(default=0, init=False)
    n_steps: int = field(default=0, init=False)
    n_epochs: int = field(default=0, init=False)
    converged: bool = field(default=False, init=False)
    has_looked: bool = field(default=False, init=False)

    def begin_epoch(self, net) -> None:
        """Look at all rows, if it is time."""
        self.n_epochs += 1
        if self.n_epochs <= self.n_start_epochs:
            self._draw_to_start(net.module_.head)
        elif self.interval == "epoch" or self.targets is None:
            self.refresh(net)

    def begin_step(self, net) -> None:
        """Look at all rows, if it is time."""
        is_later = self.n_steps > 0 and self.n_epochs > self.n_start_epochs
        if self.interval != "epoch" and is_later and self.n_steps % self.interval == 0:
            self.refresh(net)
        self.n_steps += 1

    def of_batch(self, numbers: torch.Tensor, device) -> tuple:
        """(labels, target) of the rows of a batch."""
        at = numbers.cpu().numpy()
        labels = torch.as_tensor(self.targets.labels[at], device=device)
        values = self.targets.values
        if values is None or (self.from_batch and self.n_epochs > self.n_start_epochs):
            return labels, None
        return labels, torch.as_tensor(values[at], device=device, dtype=torch.float32)

    def refresh(self, net) -> None:
        """New targets of all rows.

        Raises
        ------
        Settled
            If hardly a row changes its label.
        Diverged
            If the network gives a code that is not finite.
        """
        module = net.module_
        codes = codes_of(module.network, self.rows, net.autocast)
        squared = squared_distances(codes, module.head)
        if not np.isfinite(squared).all():
            raise Diverged
        head, rng = module.head, check_random_state((self.seed + self.n_steps) % 2**32)
        centers = head.centers.detach().cpu().numpy()
        moved = reseeded(codes, centers, squared.argmin(axis=1), rng)
        if moved is not None:
            self.n_reseeded += int((moved != centers).any(axis=1).sum())
            with torch.no_grad():
                head.centers.copy_(torch.as_tensor(moved))
            squared = squared_distances(codes, head)
        head.measure(squared)
        log_q = in_batches(head.of_distances, torch.from_numpy(squared), head.centers.device)
        previous = self.start if self.targets is None else self.targets.labels
        self.targets = self.objective.refresh(codes, log_q, head, rng)
        if self.watch is not None:
            self.watch(np.exp(log_q))
        first, self.has_looked = not self.has_looked, True
        self.changed = float(np.mean(self.targets.labels != previous))
        if self.changed < self.tol and not first:
            self.converged = True
            raise Settled

    def finish(self, net) -> None:
        """Let the objective look at the final codes."""
        codes, head = codes_of(net.module_.network, self.rows), net.module_.head
        self.objective.finish(codes, head, check_random_state(self.seed))
        head.measure(squared_distances(codes, head))

    def _draw_to_start(self, head: Head) -> None:
        if self.targets is None:
            n_clusters = len(head.centers)
            values = np.full((len(self.start), n_clusters), (1 - CERTAINTY) / n_clusters)
            values[np.arange(len(self.start)), self.start] += CERTAINTY
            self.targets = Targets(self.start, values.astype(np.float32))


def squared_distances(codes: np.ndarray, head: Head) -> np.ndarray:
    """Of codes from centres, shape (n_rows, n_clusters)."""
    return in_batches(head.squared_distances, torch.from_numpy(codes), head.centers.device)


class ClusteringNet(AutoencoderNet):
    """A skorch net for a network and a head.

    Parameters
    ----------
    progress : Progress
    gamma : float
        Weight of the clustering beside the reconstruction.
    """

    def __init__(self, *args, progress=None, gamma=0.1, **kwargs):
        self.progress, self.gamma = progress, gamma
        super().__init__(*args, **kwargs)

    def on_epoch_begin(self, net, **kwargs):
        """Refresh targets."""
        super().on_epoch_begin(net, **kwargs)
        self.progress.begin_epoch(self)
        self.history.record("changed", self.progress.changed)
        self.sums = np.zeros(3)

    def on_epoch_end(self, net, **kwargs):
        """Note what the parts of the loss were."""
        reconstruction, clustering, n_rows = self.sums
        self.history.record("reconstruction_loss", reconstruction / n_rows)
        self.history.record("clustering_loss", clustering / n_rows)
        super().on_epoch_end(net, **kwargs)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """The objective for a batch; `y_true` are numbers of rows."""
        reconstruction, code = y_pred
        objective = self.progress.objective
        labels, target = self.progress.of_batch(y_true, code.device)
        clustering = objective.value(code, self.module_.head, labels, target)
        loss = self.gamma * clustering
        rebuilt = self.criterion_(reconstruction, X) if objective.reconstructs else None
        self.sums += [
            0.0 if rebuilt is None else rebuilt.item() * len(code),
            clustering.item() * len(code),
            len(code),
        ]
        return loss if rebuilt is None else loss + rebuilt

    def train_step(self, batch, **fit_params):
        """A step of the optimiser, and what the objective does after it."""
        self.progress.begin_step(self)
        step = super().train_step(batch, **fit_params)
        self.progress.objective.after_step(step["y_pred"][1].detach(), self.module_.head)
        return step
