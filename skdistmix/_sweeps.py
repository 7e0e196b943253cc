"""Computations that read the data together.

A computation is a generator that yields each :class:`Sweep` it needs over the rows and receives
its sum. Run side by side, computations share their sweeps: every block is read once for all.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from itertools import islice

__all__ = ["Sweep", "run_alone", "run_together", "sum_together"]

BLOCKS_AT_ONCE = 8  # that one function works on before the next function does


@dataclass(frozen=True)
class Sweep:
    """One function of the blocks of all rows, to be summed."""

    function: Callable
    block_rows: int = 8192


def run_alone(map_reduce: Callable, shards, steps: Generator):
    """What the generator returns when each of its sweeps is made over the shards."""
    return run_together(map_reduce, shards, [steps])[0]


def run_together(
    map_reduce: Callable, shards, computations: list, resting: Callable | None = None
) -> list:
    """What each generator returns; those that still need sweeps share them.

    Parameters
    ----------
    map_reduce : callable
        See ``Workers``.
    shards : Shards
    computations : list of generators
        Yield :class:`Sweep`, receive the sum.
    resting : callable, optional
        Gives, before each shared sweep, the indices of computations that take no part in it. Those
        that still rest when the others have ended return None.
    """
    results: list = [None] * len(computations)
    wanted: dict[int, Sweep] = {}

    def advance(index, total):
        try:
            wanted[index] = computations[index].send(total)
        except StopIteration as stop:
            wanted.pop(index, None)
            results[index] = stop.value

    for index in range(len(computations)):
        advance(index, None)
    while going := sorted(wanted.keys() - (resting() if resting is not None else ())):
        totals = sum_together(map_reduce, shards, [wanted[index] for index in going])
        for index, total in zip(going, totals):
            advance(index, total)
    for index in wanted:
        computations[index].close()
    return results


def sum_together(map_reduce: Callable, shards, sweeps: list[Sweep], check=False) -> list:
    """The sums of sweeps, in one pass over the shards; None for each if there is no row."""
    if len(sweeps) == 1:
        return [map_reduce(sweeps[0].function, shards, sweeps[0].block_rows, check)]
    function = SideBySide(tuple(sweep.function for sweep in sweeps))
    total = map_reduce(function, shards, min(sweep.block_rows for sweep in sweeps), check)
    return [None] * len(sweeps) if total is None else list(total.values)


@dataclass(frozen=True)
class SideBySide:
    """Several functions of the same blocks."""

    functions: tuple

    def __call__(self, blocks: Iterable) -> Values | None:
        blocks, total = iter(blocks), None
        while some := list(islice(blocks, BLOCKS_AT_ONCE)):
            part = Values(tuple(function(iter(some)) for function in self.functions))
            total = part if total is None else total + part
        return total


@dataclass(frozen=True)
class Values:
    """Values that are added one by one."""

    values: tuple

    def __add__(self, other: Values) -> Values:
        return Values(tuple(a + b for a, b in zip(self.values, other.values, strict=True)))
