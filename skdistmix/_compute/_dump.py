"""Rows in memory, written once for backends of processes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .._shards import NpyShard, Shard, Shards, npy_shard

__all__ = ["dump_shards"]

STEP_ELEMENTS = 2**20  # numbers written at once


def dump_shards(shards: Shards, prefix: str) -> Shards:
    """Write in-memory (or computed) rows and weights to .npy files named after `prefix`."""

    def on_disk(index: int, shard: Shard) -> Shard:
        weight = shard.weight
        if weight is not None and not (isinstance(weight, Shard) and weight.travels):
            weight = _written(weight, f"{prefix}-weight-{index}.npy", shard.name)
        if shard.travels:
            return replace(shard, weight=weight)
        written = _written(shard, f"{prefix}-{index}.npy", shard.name)
        return replace(written, columns=shard.columns, weight=weight)

    return Shards([on_disk(index, shard) for index, shard in enumerate(shards)])


def _written(rows, path: str, name: str) -> NpyShard:
    """An array of weights, or the rows of a shard, in a file."""
    if isinstance(rows, np.ndarray):
        np.save(path, rows.reshape(-1, 1))
        return npy_shard(path, name)
    shape, dtype = (rows.n_rows, rows.n_features), rows.read(0, min(1, rows.n_rows)).dtype
    out = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    first = 0
    for X in rows.reads(0, rows.n_rows, max(1, STEP_ELEMENTS // rows.n_features)):
        out[first : first + len(X)] = X
        first += len(X)
    out.flush()
    return npy_shard(path, name)
