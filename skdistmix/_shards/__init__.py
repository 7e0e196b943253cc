"""Where rows live: arrays, frames, memmaps, ``.npy`` files, and lists of them.

A :class:`Shard` knows its shape and reads row ranges; :class:`Shards` is the light sequence of
them that the rest of the package works on. Nothing here knows what is done with the rows.
"""

from ._input import as_shards, cut_rows, is_frame, is_sharded, refuse_unusable
from ._shard import (
    ArrayShard,
    Block,
    FrameShard,
    MappedShard,
    NpyShard,
    Shard,
    Shards,
    split_rows,
)

__all__ = [
    "ArrayShard",
    "Block",
    "FrameShard",
    "MappedShard",
    "NpyShard",
    "Shard",
    "Shards",
    "as_shards",
    "cut_rows",
    "is_frame",
    "is_sharded",
    "refuse_unusable",
    "split_rows",
]
