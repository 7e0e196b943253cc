"""What a trained network says of rows."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from .._row_values import row_values, seen_shards
from .._shards import Block
from ._rows import TrainingRows, scaled
from ._runtime import agreed_threads

__all__ = ["NetworkValues", "codes_of", "encoded", "in_batches"]

PADDED = 256  # rows of a forward pass, always: a row gets the same bits whatever stands beside it
QUICK = 1024  # where bits do not matter


@dataclass(frozen=True)
class NetworkValues:
    """What a method gives for the rows of a block.

    Attributes
    ----------
    module : torch.nn.Module
        With `encode` and `decode`, ready to be evaluated.
    head : Head or None
    method : {"transform", "error", "predict", "predict_proba", "distance"}
    shift, scale : float
        Rows are (X - shift) / scale for the network.
    n_features : int
    n_values : int
        Columns of what the network gives.
    prefix : str
        The name of the estimator.
    columns : tuple or None
        Names of columns seen in fit.
    """

    module: nn.Module
    head: nn.Module | None
    method: str
    shift: float
    scale: float
    n_features: int
    n_values: int
    prefix: str
    columns: tuple | None = None

    check = True
    block_rows = 16 * PADDED

    def __call__(self, block) -> np.ndarray:
        if block.X.shape[1] != self.n_features:
            raise ValueError(
                f"X has {block.X.shape[1]} features, but {self.prefix} was fitted to "
                f"{self.n_features} features."
            )
        rows = torch.from_numpy(scaled(np.asarray(block.X), self.shift, self.scale))
        return self._values(in_batches(self._of_batch, rows, self.device, PADDED, padded=True))

    def _of_batch(self, rows: torch.Tensor) -> torch.Tensor:
        code = self.module.encode(rows)
        if self.method == "transform":
            return code
        if self.method == "distance":
            return self.head.squared_distances(code).min(dim=1, keepdim=True).values
        if self.method == "error":
            return ((self.module.decode(code) - rows) ** 2).mean(dim=1, keepdim=True)
        return self.head(code)

    def _values(self, values: np.ndarray) -> np.ndarray:
        if self.method == "predict":
            return values.argmax(axis=1)
        if self.method == "predict_proba":
            values = np.exp(values.astype(np.float64))
            return values / values.sum(axis=1, keepdims=True)
        if self.method in ("error", "distance"):
            return values[:, 0].astype(np.float64)
        return values

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next((p.device for p in self.module.parameters()), torch.device("cpu"))

    @property
    def names(self) -> list[str]:
        """What the values are called."""
        if self.empty.ndim == 1:
            return [self.prefix.lower()]
        return [f"{self.prefix.lower()}{i}" for i in range(self.n_values)]

    @property
    def empty(self) -> np.ndarray:
        """The values of no rows."""
        return self._values(np.empty((0, self.n_values), dtype=np.float32))


def encoded(estimator, X, values: NetworkValues):
    """Codes in the form of X; lazy for a path or glob, so that a next step can read them."""
    if not isinstance(X, (str, os.PathLike)):
        return row_values(estimator, X, values, 1, on_host=True)
    shards = seen_shards(estimator, X, on_host=True)
    return shards.map(_OfRows(values), values.n_values, values.names)


@dataclass(frozen=True)
class _OfRows:
    values: NetworkValues

    def __call__(self, X: np.ndarray) -> np.ndarray:
        return self.values(Block(X, None, range(len(X))))


def in_batches(function: Callable, rows, device, size: int = QUICK, padded=False) -> np.ndarray:
    """A function of tensors for the rows of a tensor, so many at a time.

    With `padded` the last batch is filled with zeros, whose values are left out.
    """
    agreed_threads()
    parts = []
    with torch.inference_mode():
        for first in range(0, len(rows), size):
            part = rows[first : first + size]
            n_rows = len(part)
            if padded and n_rows < size:
                part = torch.cat([part, part.new_zeros(size - n_rows, part.shape[1])])
            parts.append(function(part.to(device))[:n_rows].float().cpu().numpy())
    return np.concatenate(parts)


def codes_of(module: nn.Module, rows: TrainingRows, autocast=None) -> np.ndarray:
    """Codes of all rows in order, shape (n_rows, n_components), float32."""
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    was_training = module.training
    module.eval()
    with torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
        parts = [in_batches(module.encode, torch.from_numpy(X), device) for _, X in rows.chunks()]
    module.train(was_training)
    return np.concatenate(parts)
