"""Rows of shards, on their way into a transformer: blocks of bounded size."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
from sklearn.utils import _safe_indexing

from .._shards import FrameShard, Shards

__all__ = ["frame_rows", "read_only", "row_blocks"]

READ_BYTES = 2**24  # rows read at once, as float64; a joined block holds at most twice as much
MIN_BLOCK_ROWS = 1024  # rows of small shards are put together up to this number


def row_blocks(shards: Shards, fewest: int = 1) -> Iterator[tuple]:
    """All rows in order, in blocks of bounded size that small shards share.

    Parameters
    ----------
    shards : Shards
    fewest : int
        Blocks have at least this number of rows, unless all shards together have fewer.

    Yields
    ------
    rows : ndarray or DataFrame of shape (m, n_features)
        DataFrames if all shards are DataFrames of one kind.
    weight : ndarray of shape (m,) or None
    where : str
        Names of the shards they come from.
    """
    as_frames = (
        all(isinstance(shard, FrameShard) for shard in shards)
        and len({type(shard.frame) for shard in shards}) == 1
    )
    size = max(1, fewest, READ_BYTES // (8 * shards.n_features))
    enough = max(fewest, min(size, MIN_BLOCK_ROWS))
    held, waiting, n_waiting = [], [], 0  # a complete block, which takes a remainder; the next one
    for shard in shards:
        for block in shard.blocks(0, shard.n_rows, size):
            if as_frames:
                rows = frame_rows(shard, np.asarray(block.rows))
            else:
                rows = read_only(block.X)
            waiting.append((rows, block.weight, shard.name))
            n_waiting += len(block.X)
            if n_waiting >= enough:
                if held:
                    yield _joined(held)
                held, waiting, n_waiting = waiting, [], 0
    if held and n_waiting >= fewest:
        yield _joined(held)
        held = []
    if held or waiting:
        yield _joined(held + waiting)


def frame_rows(shard: FrameShard, picks):
    """Rows of a DataFrame as a DataFrame, its columns in the order of the shard."""
    rows = _safe_indexing(shard.frame, picks)
    return rows if tuple(rows.columns) == shard.columns else rows[list(shard.columns)]


def read_only(rows: np.ndarray) -> np.ndarray:
    """A view that no transformer with copy=False can write to: shards are read many times."""
    view = rows.view()
    view.flags.writeable = False
    return view


def _joined(pieces: list) -> tuple:
    rows, weights, names = zip(*pieces)
    names = list(dict.fromkeys(names))
    where = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
    if len(pieces) == 1:
        return rows[0], weights[0], where
    # pandas and polars both call it concat, and one of them has been imported if there are frames
    library = sys.modules[type(rows[0]).__module__.partition(".")[0]]
    join = np.concatenate if isinstance(rows[0], np.ndarray) else library.concat
    return join(rows), None if weights[0] is None else np.concatenate(weights), where
