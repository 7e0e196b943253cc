"""Tasks: pieces of shards, the blocks of a task, and the tree in which results are added."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from .._shards import Block, ReadAhead, Shard, Shards

__all__ = [
    "Piece",
    "Task",
    "TreeSum",
    "cut_tasks",
    "reduce_body",
    "rows_body",
    "tree_of",
    "useful_block_rows",
]

FAN_IN = 8  # partial results added at one node of the reduction tree
TASK_ELEMENTS = 2**18  # numbers of X in one task: about 2 MB
FILE_TASK_ELEMENTS = 2**20  # the same where rows are read from files: a few larger reads
MIN_TASK_ROWS, MAX_TASK_ROWS = 2**10, 2**16
# Accelerators: blocks so many times larger, up to these rows and numbers, and so many in a task,
# at whose end the sums come back.
WIDER, MAX_WIDE_ROWS, MAX_WIDE_ELEMENTS, WIDE_BLOCKS = 32, 2**18, 2**24, 4


def useful_block_rows(shards: Shards, block_rows: int) -> int:
    """Rows of a block where `block_rows` suit the processor."""
    if not any(shard.wide for shard in shards):
        return block_rows
    most = min(WIDER * block_rows, MAX_WIDE_ROWS, MAX_WIDE_ELEMENTS // shards.n_features)
    return max(block_rows, most)


def cut_tasks(shards: Shards, block_rows: int) -> list[list[tuple[int, int, int]]]:
    """Cut shards into tasks, each a list of (shard, start, stop), by size alone.

    Large shards are split at multiples of `block_rows`, or where their storage can be entered (row
    groups, chunks); small ones share a task.
    """
    tasks, task, room = [], [], 0
    for index, shard in enumerate(shards):
        if task and shard.on_device:  # the arrays of a task lie on one device
            tasks.append(task)
            task = []
        task_rows = _task_rows(shard, block_rows)
        room = min(room, task_rows) if task else task_rows
        for start, stop in shard.ranges(task_rows, room):
            task.append((index, start, stop))
            room -= stop - start
            if room <= 0:
                tasks.append(task)
                task, room = [], task_rows
    if task:
        tasks.append(task)
    return tasks


def _task_rows(shard: Shard, block_rows: int) -> int:
    if shard.wide:
        return WIDE_BLOCKS * block_rows
    elements = FILE_TASK_ELEMENTS if shard.read_anew else TASK_ELEMENTS
    wanted = min(MAX_TASK_ROWS, max(MIN_TASK_ROWS, elements // shard.n_features))
    return max(1, round(wanted / block_rows)) * block_rows


@dataclass(frozen=True)
class Piece:
    """A row range of one shard, and the global index of the shard's first row."""

    shard: Shard
    index: int
    start: int
    stop: int
    offset: int

    @classmethod
    def of(cls, shards: Shards, index: int, start: int, stop: int) -> Piece:
        """A piece of shards by index."""
        return cls(shards[index], index, start, stop, int(shards.offsets[index]))

    def reads(self, block_rows: int, read_rows: int) -> Iterator[tuple]:
        """The rows as they are read: this piece, the first row, rows, and weights."""
        rows = block_rows
        if self.shard.read_anew:  # a read holds whole blocks
            rows = max(block_rows, read_rows - read_rows % block_rows)
        for read in self.shard.weighted_reads(self.start, self.stop, rows):
            yield self, *read


@dataclass
class Task:
    """A body and the pieces whose blocks it gets.

    A task holds the shards it reads and no others: there may be thousands.
    """

    body: Callable
    function: Callable
    pieces: list[Piece]
    block_rows: int
    read_rows: int
    check: bool
    begun: Iterable | None = None

    @property
    def reads_files(self) -> bool:
        """Whether it pays to read ahead."""
        return any(piece.shard.read_anew for piece in self.pieces)

    def begin(self, executor: Executor) -> None:
        """Begin to read, if there is anything to read from files."""
        if self.reads_files:
            self.begun = ReadAhead(self._reads(), executor)

    def __call__(self):
        reads, self.begun = self.begun or self._reads(), None
        return self.body(self.function, self._blocks(reads), self.block_rows)

    def _reads(self) -> Iterator[tuple]:
        for piece in self.pieces:
            yield from piece.reads(self.block_rows, self.read_rows)

    def _blocks(self, reads) -> Iterator[tuple[int, Block]]:
        for piece, *read in reads:
            for block in piece.shard.blocks_of(*read, self.block_rows, piece.offset, self.check):
                yield piece.index, block


def reduce_body(function: Callable, pairs: Iterable, block_rows: int):
    """``function`` of all blocks; rows of small shards are put into blocks of useful size."""
    return function(_useful_blocks(pairs, block_rows))


def rows_body(function: Callable, pairs: Iterable, block_rows: int) -> list:
    """``function`` of each block, beside the index of its shard."""
    return [(index, function(block)) for index, block in pairs]


def _useful_blocks(pairs, block_rows) -> Iterator[Block]:
    waiting: list[Block] = []
    n_waiting = 0
    for _, block in pairs:
        if not isinstance(block.X, np.ndarray):
            yield block
            continue
        if waiting and n_waiting + len(block.X) > block_rows:
            yield _joined(waiting)
            waiting, n_waiting = [], 0
        waiting.append(block)
        n_waiting += len(block.X)
    if waiting:
        yield _joined(waiting)


def _joined(blocks: list[Block]) -> Block:
    if len(blocks) == 1:
        return blocks[0]
    weights = None
    if any(b.weight is not None for b in blocks):
        weights = np.concatenate(
            [np.ones(len(b.X)) if b.weight is None else b.weight for b in blocks]
        )
    return Block(
        np.concatenate([b.X for b in blocks]),
        weights,
        np.concatenate([b.rows for b in blocks]),
    )


class TreeSum:
    """Adds values in a tree of fixed shape, keeping one partial sum a level."""

    def __init__(self):
        self._levels: list[list] = []  # [number of values added, their sum]

    def add(self, value, level: int = 0) -> None:
        if value is None:
            return
        if level == len(self._levels):
            self._levels.append([0, None])
        node = self._levels[level]
        node[0], node[1] = node[0] + 1, value if node[1] is None else node[1] + value
        if node[0] == FAN_IN:
            full, self._levels[level] = node[1], [0, None]
            self.add(full, level + 1)

    def result(self):
        total = None
        for _, value in self._levels:
            if value is not None:
                total = value if total is None else value + total
        return total


def tree_of(nodes: list, add: Callable, rest=None):
    """The sum of nodes in the tree of :class:`TreeSum`, by calls of ``add(*nodes)``.

    `rest` is the sum of the nodes that are left over one level below.
    """
    while nodes:
        n_full = len(nodes) // FAN_IN * FAN_IN
        if left := nodes[n_full:]:
            total = left[0] if len(left) == 1 else add(*left)
            rest = total if rest is None else add(total, rest)
        nodes = [add(*nodes[i : i + FAN_IN]) for i in range(0, n_full, FAN_IN)]
    return rest
