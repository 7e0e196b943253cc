"""Shards of arrays of other libraries than NumPy, on the device where they lie or on another."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from .._arrays import (
    beside,
    computes_float64,
    device_of,
    is_accelerator,
    library_of,
    moved,
    namespace_of,
    to_host,
    usable_device,
)
from ._mapped import MappedShard
from ._shard import Block, Shard, check_finite

__all__ = ["DeviceShard", "HostShard", "device_shard"]


@dataclass(frozen=True)
class DeviceShard(Shard):
    """A 2-D array of a library of the array API, whose blocks stay arrays of this library.

    Attributes
    ----------
    array : array of shape (n_rows, n_features)
    device : object or None
        Where blocks are computed; None: where the array lies.
    """

    array: object = field(kw_only=True)
    device: object = field(default=None, kw_only=True)

    on_device = True

    def read(self, start, stop):
        return self.array[start:stop, :]

    @property
    def library(self):
        return library_of(self.array)

    @property
    def wide(self):
        return is_accelerator(device_of(self.array) if self.device is None else self.device)

    def computed_on(self, device):
        usable_device(self.array, device)
        return replace(self, device=device)

    def on_host(self):
        return HostShard(
            self.n_rows, self.n_features, self.name, self.columns, weight=self.weight, source=self,
            function=to_host,
        )  # fmt: skip

    def returned(self, values):
        xp, home = namespace_of(self.array), device_of(self.array)
        if not computes_float64(xp, home) and "float64" in str(values.dtype):
            if isinstance(values, np.ndarray):
                values = values.astype(np.float32)
            else:
                values = xp.astype(values, xp.float32)
        if isinstance(values, np.ndarray):
            return beside(self.array, values)
        return moved(values, home)

    def blocks_of(self, first, X, weight, size, offset, check):
        xp = namespace_of(X)
        for start in range(0, X.shape[0], size):
            stop = min(start + size, X.shape[0])  # beyond the end the standard is silent
            part = moved(X[start:stop, :], self.device)
            part = xp.astype(part, xp.float64, copy=False)
            if check and not bool(xp.isfinite(xp.sum(part))):
                check_finite(to_host(part), self, first + start)
            row, n_rows = offset + first + start, part.shape[0]
            if weight is None:
                yield Block(part, None, range(row, row + n_rows))
                continue
            w = weight[start:stop]
            keep = np.flatnonzero(w)
            if len(keep) == n_rows:
                yield Block(part, w, range(row, row + n_rows))
            elif len(keep):
                yield Block(xp.take(part, beside(part, keep), axis=0), w[keep], row + keep)


@dataclass(frozen=True)
class HostShard(MappedShard):
    """The rows of a :class:`DeviceShard` brought to the host as they are read."""

    def _mapped(self, X):
        return self.function(X)

    @property
    def library(self):
        return self.source.library

    def computed_on(self, device):
        return replace(self.source.computed_on(device), weight=self.weight)

    def returned(self, values):
        return self.source.returned(values)


def device_shard(X, name: str) -> Shard:
    """The shard of a 2-D array of another library.

    A device without float64 cannot take the sums: its rows are computed on the host.

    Raises
    ------
    ValueError
        If the array is not a dense 2-D array of real numbers, or its device cannot be used.
    """
    library = library_of(X)
    if X.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {X.ndim}D array instead: {name} is an array of {library} of "
            f"shape {tuple(X.shape)}. Reshape your data: one row a sample, one column a feature."
        )
    layout = str(getattr(X, "layout", "torch.strided"))
    if layout != "torch.strided":
        raise ValueError(
            f"{name} is sparse (layout {layout}), dense rows are needed: give X.to_dense()."
        )
    xp = namespace_of(X)
    if not xp.isdtype(X.dtype, ("bool", "integral", "real floating")):
        raise ValueError(f"{name} holds values of dtype {X.dtype}: expected real numbers.")
    n_rows, n_features = (int(n) for n in X.shape)
    if n_features == 0:
        raise ValueError(
            f"{name} has 0 feature(s) (shape={(n_rows, n_features)}): at least 1 is required."
        )
    if getattr(X, "requires_grad", False):
        X = X.detach()  # nothing is differentiated here
    try:
        precise = computes_float64(xp, device_of(X))
    except Exception as error:
        raise ValueError(
            f"{name} lies on the device {device_of(X)}, which cannot be computed on ({error}). "
            "Move it to another device."
        ) from error
    shard = DeviceShard(n_rows, n_features, name, None, array=X)
    return shard if precise else shard.on_host()
