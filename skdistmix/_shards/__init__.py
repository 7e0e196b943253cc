"""Where rows live: arrays, frames, memmaps, files, Dask partitions, and lists of them.

A :class:`Shard` knows its shape and reads row ranges; :class:`Shards` is the light sequence of
them that the rest of the package works on. Nothing here knows what is done with the rows.
"""

from ._dask import (
    ScatteredShard,
    cancelled_if_it_fails,
    computed,
    is_array,
    is_collection,
    is_dask,
    loaded,
    lost_cluster,
)
from ._files import NpyShard, is_zarr, npy_shard
from ._generated import GeneratedShard
from ._input import as_shards, cut_rows, is_frame, is_sharded, refuse_unusable
from ._read import ReadAhead, read_rows
from ._shard import ArrayShard, Block, FrameShard, Shard, default_n_shards
from ._shards import Shards, split_rows

__all__ = [
    "ArrayShard",
    "Block",
    "FrameShard",
    "GeneratedShard",
    "NpyShard",
    "ReadAhead",
    "ScatteredShard",
    "Shard",
    "Shards",
    "as_shards",
    "cancelled_if_it_fails",
    "computed",
    "cut_rows",
    "default_n_shards",
    "is_array",
    "is_collection",
    "is_dask",
    "is_frame",
    "is_sharded",
    "is_zarr",
    "loaded",
    "lost_cluster",
    "npy_shard",
    "read_rows",
    "refuse_unusable",
    "split_rows",
]
