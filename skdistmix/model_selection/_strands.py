"""Fits that read the rows together, each written as if it were alone.

A fit is ordinary code that calls ``map_reduce`` now and then. Here each runs in a thread of its own
that waits inside this call, and only one thread runs at a time; when all wait, what they want of
the same rows is computed in one sweep. Fewer rows come first, so those who are still busy with a
sample catch up, and all are ready when the many rows are read.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import partial

import numpy as np
from sklearn import config_context, get_config

from .._sweeps import SideBySide

__all__ = ["Outcome", "run_strands"]

LARGE = 2**16  # numbers of an array that is not compared by its values


@dataclass(frozen=True)
class Outcome:
    """What a strand returned, or what is wrong."""

    value: object = None
    error: Exception | None = None


@dataclass(frozen=True)
class Request:
    """The arguments of a call of ``map_reduce``."""

    function: Callable
    shards: object
    block_rows: int = 8192
    check: bool = False


def run_strands(
    map_reduce: Callable, shards, more: Callable, judge, on_sweep: Callable
) -> list[Outcome]:
    """Outcomes of functions of a ``map_reduce``, which share their sweeps.

    Parameters
    ----------
    map_reduce : callable
        See ``Workers``.
    shards : Shards
        All rows; the functions may ask for sweeps over others, such as samples.
    more : callable
        ``more(idle)`` gives a list of functions to begin, called first and before each sweep over
        all rows; `idle` says that none is going on. Each is called with a ``map_reduce``. An
        exception ends one, not the others, unless it asks to stop, as KeyboardInterrupt; an
        exception in a sweep ends all, because it speaks of the rows.
    judge : object
        ``resting(indices, all_rows)`` is the set of those that are to wait while others go on over
        the same rows; ``end(index)`` is called when no other does, before it goes on itself;
        ``finish(index, outcome)`` when it has ended.
    on_sweep : callable
        Called with the indices of those who share a sweep over all rows, before it.
    """
    strands: list[Strand] = []
    waiting: dict[int, Strand] = {}

    def go_on(index, answer=None):
        strand = strands[index]
        strand.go_on(answer)
        if strand.request is not None:
            waiting[index] = strand
        else:
            waiting.pop(index, None)
            judge.finish(index, strand.outcome)

    try:
        while True:
            rows = _next_rows(waiting, shards)
            if rows is shards and (functions := more(not waiting)):
                strands += map(Strand, functions)
                for index in range(len(strands) - len(functions), len(strands)):
                    go_on(index)
                continue
            if not waiting:
                break
            here = [i for i, strand in waiting.items() if strand.request.shards is rows]
            active = sorted(set(here) - judge.resting(here, rows is shards))
            if not active:
                active = sorted(here)
                for index in active:
                    judge.end(index)
            if rows is shards:
                on_sweep(active)
            answers = _swept(map_reduce, rows, [waiting[i].request for i in active])
            for index, answer in zip(active, answers):
                go_on(index, answer)
    finally:
        for strand in strands:
            strand.abandon()
    return [strand.outcome for strand in strands]


def _next_rows(waiting: dict, shards):
    """The shards to sweep over: all rows last, else the fewest rows first."""
    wanted = [strand.request.shards for _, strand in sorted(waiting.items())]
    return min(wanted, key=lambda rows: (rows is shards, rows.n_rows), default=shards)


def _swept(map_reduce, shards, requests: list[Request]) -> list:
    """The answers to requests, in one sweep that computes equal ones once."""
    different: dict = {}
    places = [different.setdefault(key_of(r.function), len(different)) for r in requests]
    first = {place: r for place, r in reversed(list(zip(places, requests)))}
    functions = tuple(first[place].function for place in range(len(different)))
    block_rows, check = min(r.block_rows for r in requests), any(r.check for r in requests)
    if len(functions) == 1:
        values = [map_reduce(functions[0], shards, block_rows, check)]
    else:
        total = map_reduce(SideBySide(functions), shards, block_rows, check)
        values = [None] * len(functions) if total is None else total.values
    return [values[place] for place in places]


def key_of(value):
    """What two functions (or arguments) that give the same results have in common."""
    if isinstance(value, partial):
        named = tuple((name, key_of(v)) for name, v in sorted(value.keywords.items()))
        return (value.func, *map(key_of, value.args), named)
    if isinstance(value, np.ndarray) and value.size <= LARGE and value.dtype != object:
        return value.shape, value.dtype.str, value.tobytes()
    if is_dataclass(value) and not isinstance(value, type):
        return (type(value), *(key_of(getattr(value, one.name)) for one in fields(value)))
    if value is None or isinstance(value, (bool, int, float, str)):
        return type(value), value
    return "object", id(value)  # which the requests keep alive


class Abandoned(BaseException):
    """Ends a strand whose result nobody wants any more."""


class Strand:
    """A function in a thread that runs only while all others wait."""

    def __init__(self, function: Callable):
        self.request: Request | None = None
        self.outcome: Outcome | None = None
        self._turn, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._answer, self._abandoned = None, False
        self._stop: BaseException | None = None
        run = partial(contextvars.copy_context().run, self._run, function, get_config())
        self._thread = threading.Thread(target=run, daemon=True)

    def go_on(self, answer=None) -> None:
        """Run to the next request, or to the end; the answer is that to the last request."""
        self.request, self._answer = None, answer
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._turn.release()
        self._back.acquire()
        if self._stop is not None:
            raise self._stop

    def abandon(self) -> None:
        """End the thread wherever it is."""
        self._abandoned = True
        if self._thread.ident is not None:
            self._turn.release()
            self._thread.join()

    def _run(self, function, config) -> None:
        try:
            with config_context(**config):  # of the thread that asked
                self.outcome = Outcome(function(self._map_reduce))
        except Abandoned:
            pass
        except Exception as error:
            self.outcome = Outcome(error=error.with_traceback(None))
        except BaseException as stop:  # no failure: somebody wants everything to end
            self._stop = stop
        finally:
            self._back.release()

    def _map_reduce(self, function, shards, block_rows=8192, check=False):
        if self._abandoned:
            raise Abandoned
        self.request = Request(function, shards, block_rows, check)
        self._back.release()
        self._turn.acquire()
        if self._abandoned:
            raise Abandoned
        answer, self._answer = self._answer, None
        return answer
