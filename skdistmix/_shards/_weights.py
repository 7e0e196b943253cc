"""Weights of rows, in every form in which they may come beside the rows."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ._dask import DaskShard, is_dask, on_workers
from ._files import ParquetShard, npy_shard
from ._input import dask_shards, expanded
from ._mapped import MappedShard
from ._shard import FrameShard, Shard
from ._shards import Shards, split_rows

__all__ = ["WeightFacts", "weight_facts", "weighted"]

READ_ROWS = 2**18  # weights read at once when they are checked
MAX_TOTAL = 1e150  # of the weights of a shard: they multiply squares of rows


@dataclass(frozen=True)
class WeightFacts:
    """What is to be known of the weights of a shard before they are used."""

    n_finite: int
    negative: tuple | None  # row and value of the first negative weight
    largest: float
    total: float


def weighted(shards: Shards, sample_weight) -> Shards:
    """Shards with weights; see ``Shards.with_weights``."""
    weights = _one_a_shard(shards, sample_weight)
    facts = weight_facts(weights)
    for shard, weight, found in zip(shards, weights, facts, strict=True):
        n_rows = len(weight)
        if n_rows != shard.n_rows:
            raise ValueError(
                f"sample_weight of {shard.name} has {n_rows} values, the shard has {shard.n_rows} "
                "rows: give one a row."
            )
        if found.n_finite < n_rows:
            raise ValueError(f"sample_weight of {shard.name} contains NaN or infinity.")
        if found.negative is not None:
            row, value = found.negative
            raise ValueError(
                f"sample_weight of {shard.name} is negative at row {row} ({value:g}). Weights must "
                "be at least zero."
            )
        if found.total > MAX_TOTAL:
            raise ValueError(
                f"sample_weight of {shard.name} has values up to {found.largest:g}, of which sums "
                "leave the range of floating-point numbers. Divide all weights by the largest."
            )
    if not any(found.largest > 0 for found in facts):
        raise ValueError("Sample weights must contain a value above zero: all are zero.")
    pairs = zip(shards, weights, strict=True)
    return Shards([replace(shard, weight=weight) for shard, weight in pairs])


def weight_facts(weights: list) -> list[WeightFacts]:
    """Facts of each array or one-column shard of weights, found where the weights are."""
    remote = [isinstance(w, DaskShard) and w.client is not None for w in weights]
    parts = [w for w, there in zip(weights, remote) if there]
    facts = []
    if parts:
        function = partial(_facts_of_part, columns=parts[0].columns)
        facts = on_workers(parts[0].client, function, [w.part for w in parts])
    found = iter(facts)
    return [next(found) if there else _facts(w) for w, there in zip(weights, remote)]


def _facts_of_part(part, columns) -> WeightFacts:
    part = part if columns is None else part[columns[0]]
    return _facts(np.asarray(part, dtype=np.float64).reshape(-1))


def _facts(weight) -> WeightFacts:
    reads = [weight] if isinstance(weight, np.ndarray) else weight.reads(0, len(weight), READ_ROWS)
    n_finite, row, total, negative, largest = 0, 0, 0.0, None, 0.0
    for part in reads:
        part = np.asarray(part, dtype=np.float64).reshape(-1)
        below = part < 0
        if negative is None and below.any():
            first = int(np.argmax(below))
            negative = (row + first, float(part[first]))
        n_finite += int(np.isfinite(part).sum())
        largest = max(largest, float(part.max(initial=0.0)))
        with np.errstate(over="ignore"):
            total += float(part.sum())
        row += len(part)
    return WeightFacts(n_finite, negative, largest, total)


def _one_a_shard(shards: Shards, values) -> list:
    """Weights of each shard: an array or a shard of one column."""
    is_list = isinstance(values, (list, tuple)) and len(values) > 0
    if is_dask(values) or (is_list and all(is_dask(v) for v in values)):
        return list(_same_number(dask_shards(values, shards.client, n_columns=1), shards))
    if isinstance(values, str) and not values.endswith(".npy"):
        return [_column(shard, values) for shard in shards]
    if _is_npy_path(values) or (is_list and any(_is_npy_path(v) for v in values)):
        return _from_files(shards, values if is_list else [values])
    return split_rows(values, shards, "sample_weight")


def _from_files(shards: Shards, values) -> list:
    """Weights in .npy files, or partly in files and partly in arrays, one a shard."""
    pieces = [p for v in values for p in (expanded(v) if _is_npy_path(v) else [v])]
    if len(pieces) == 1 and len(shards) > 1:
        whole = np.load(pieces[0], mmap_mode="r", allow_pickle=False)
        return split_rows(whole, shards, "sample_weight")
    return [
        npy_shard(piece, f"sample_weight {i} ({piece})", ndim=1)
        if _is_npy_path(piece)
        else split_rows(piece, Shards([shards[i]]), "sample_weight")[0]
        for i, piece in enumerate(_same_number(pieces, shards))
    ]


def _is_npy_path(value) -> bool:
    return isinstance(value, (str, os.PathLike)) and os.fspath(value).endswith(".npy")


def _same_number(weights, shards):
    if len(weights) != len(shards):
        raise ValueError(
            f"sample_weight comes in {len(weights)} pieces, X in {len(shards)} shards: give one a "
            "shard."
        )
    return weights


def _column(shard: Shard, name: str) -> Shard:
    """A column of a shard's file or frame as its weights."""
    while isinstance(shard, MappedShard):  # as a step of a pipeline gives it: the rows are the same
        shard = shard.source
    there = ()
    if isinstance(shard, (ParquetShard, DaskShard)):
        there = shard.available or ()
    elif isinstance(shard, FrameShard):
        there = tuple(shard.frame.columns)
    if name not in there:
        raise ValueError(
            f"sample_weight={name!r}: {shard.name} has no such column. Give the name of a column "
            "of parquet files or DataFrames, the path of a .npy file, or the weights themselves."
        )
    if name in shard.columns:
        raise ValueError(
            f"sample_weight={name!r} is also a feature of {shard.name}: choose the features with "
            "as_shards(X, columns=[...])."
        )
    return replace(shard.with_columns([name]), weight=None)
