"""Strands: fits in threads that read the rows together."""

import threading

import numpy as np
import pytest

from skdistmix import as_shards
from skdistmix.model_selection._strands import run_strands


class Director:
    """Begins some functions, lets all go on, and keeps what became of them."""

    def __init__(self, functions, then=()):
        self.pending, self.then, self.outcomes = list(functions), list(then), {}

    def more(self, idle):
        begun, self.pending = self.pending, []
        if not begun and idle:
            begun, self.then = self.then, []
        return begun

    def resting(self, indices, all_rows):
        return set()

    def finish(self, index, outcome):
        self.outcomes[index] = outcome


def test_strands_share_sweeps_and_wait_for_those_with_fewer_rows():
    many, few = as_shards(np.zeros((10, 1))), as_shards(np.zeros((3, 1)))
    sweeps = []

    def map_reduce(function, shards, block_rows=8192, check=False):
        sweeps.append((shards.n_rows, block_rows, check))
        return function([shards.n_rows])

    def rows(blocks):
        return blocks[0] if isinstance(blocks, list) else next(blocks)

    def quick(map_reduce):
        return map_reduce(rows, many, 16), map_reduce(rows, many, 16)

    def slow(map_reduce):
        return sum(map_reduce(rows, few) for _ in range(3)), map_reduce(rows, many, check=True)

    def broken(map_reduce):
        map_reduce(rows, few)
        raise ValueError("out of luck")

    director, seen = Director([quick, slow, broken], [quick]), []
    outcomes = run_strands(map_reduce, many, director.more, director, seen.append)
    assert outcomes[0].value == outcomes[3].value == (10, 10)
    assert outcomes[1].value == (9, 10)
    assert str(outcomes[2].error) == "out of luck"
    assert director.outcomes == dict(enumerate(outcomes))
    alone = [(10, 16, False)]
    assert sweeps == [(3, 8192, False)] * 3 + [(10, 16, True)] + alone + 2 * alone
    assert seen == [[0, 1], [0], [3], [3]]


def test_strands_end_when_a_sweep_breaks():
    shards, before = as_shards(np.zeros((10, 1))), threading.active_count()

    def map_reduce(function, shards, block_rows=8192, check=False):
        raise KeyboardInterrupt

    def fit(map_reduce):
        return map_reduce(len, shards)

    director = Director([fit, fit])
    with pytest.raises(KeyboardInterrupt):
        run_strands(map_reduce, shards, director.more, director, len)
    assert threading.active_count() == before
