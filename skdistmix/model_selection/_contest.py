"""Which models of a search cannot win any more: a heuristic.

While EM runs, a model's criterion falls. What it will still fall is extrapolated from its gains
(Aitken's rule, as Boehning et al. 1994 use it for EM), and multiplied by a generous factor, because
EM may rest on a plateau. A model that even then stays above the best one waits; when the others
have ended, it ends too, or goes on if the best one failed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

__all__ = ["PENALTIES", "Contest", "NoContest"]

WINDOW = 4  # passes whose gains are added up: those of single ones are uneven if accelerated
CAUTION = 10.0  # times the extrapolated gain that a model is allowed
# Passes in which a model may also gain what one component costs: early in EM gains often shrink
# for a while before a component finds its place.
PATIENCE = 40
MATURE = 15  # passes after which the best model is worth starting others from
# On a sample of m rows, mean log-likelihoods of two models whose difference is D have a difference
# with a variance of about 2 D / m: it is beyond chance when m D is well above 2 z^2, here z = 5.
CHANCE = 50.0

#: What criteria add to -2 log L for p parameters and rows of weight n, at least.
PENALTIES = {
    "bic": lambda p, n: p * np.log(n),
    "icl": lambda p, n: p * np.log(n),  # and twice an entropy, known at the end of EM
    "aic": lambda p, n: 2 * p,
}


class NoContest:
    """All models run to their end."""

    def add(self) -> None:
        """Nobody watches EM of a model."""
        return None

    def resting(self, indices: list[int], all_rows: bool) -> set[int]:
        """Who is to wait: nobody."""
        return set()

    def end(self, index: int) -> None:
        """Call off a model; none is."""

    def finish(self, index: int, outcome) -> None:
        """Take note of a model that has ended."""

    def is_ended(self, index: int) -> bool:
        """Whether a model was called off: no."""
        return False

    def leader(self) -> tuple | None:
        """The best model that still runs: it is not known."""
        return None


@dataclass
class Entry:
    """What is known of a model: its runs of EM on a sample, and on all rows."""

    sample: list = field(default_factory=list)  # of Trace
    rows: list = field(default_factory=list)
    is_doomed: bool = False  # called off on a sample
    is_ended: bool = False  # called off on all rows
    has_failed: bool = False
    final: float | None = None


@dataclass(frozen=True)
class Trace:
    """A run of EM on rows of some weight, to be judged for all rows."""

    run: object
    weight: float
    total: float
    on_sample: bool = False
    params: object = None  # that the run is at

    @property
    def is_sound(self) -> bool:
        """Likelihoods soar before a component degenerates: no model is measured by such a run."""
        return bool(self.run.values) and np.isfinite(self.run.objectives[-1])

    @property
    def n_parameters(self) -> int:
        return self.run.family.n_parameters()

    def still_to_gain(self) -> float:
        """Mean log-likelihood that the run is still to gain; infinity if it is too early to say."""
        values = self.run.values
        if len(values) <= 2 * WINDOW:
            return np.inf
        last = values[-1] - values[-1 - WINDOW]
        before = values[-1 - WINDOW] - values[-1 - 2 * WINDOW]
        if last <= 0:  # to rounding
            return 0.0
        rate = last / before if before > 0 else 1.0
        return last * rate / (1 - rate) if rate < 1 else np.inf


class Contest:
    """Judges the models of a search while they are fitted; see ``run_strands``.

    Parameters
    ----------
    criterion : {"bic", "icl", "aic"}
    """

    def __init__(self, criterion: str):
        self.criterion = criterion
        self.entries: list[Entry] = []

    def add(self) -> Watch:
        """What EM of one more model calls after each pass."""
        self.entries.append(Entry())
        return Watch(self.entries[-1])

    def resting(self, indices: list[int], all_rows: bool) -> set[int]:
        """The models that are to wait, at their next sweep over all rows or over fewer."""
        best, best_parameters = self._best(all_rows)

        def rests(entry):
            if entry.is_ended or (entry.is_doomed and not all_rows):
                return False
            traces = entry.rows if all_rows else entry.sample
            return bool(traces) and min(map(partial(self._hope, best_parameters), traces)) > best

        return {index for index in indices if rests(self.entries[index])}

    def end(self, index: int) -> None:
        """Call a model off: on a sample if it has not come to all rows yet."""
        entry = self.entries[index]
        entry.is_ended = bool(entry.rows)
        entry.is_doomed = True

    def finish(self, index: int, outcome) -> None:
        """Take note of the criterion of a model that has ended, or of its failure."""
        entry = self.entries[index]
        entry.has_failed = outcome.error is not None
        if not entry.has_failed:
            entry.final = outcome.value.criterion

    def is_ended(self, index: int) -> bool:
        """Whether a model was called off."""
        return self.entries[index].is_doomed

    def leader(self) -> tuple | None:
        """The index, family and parameters of the best model, if it still runs and is far enough.

        None for criteria that are not known before the end.
        """
        if self.criterion == "icl":
            return None
        known = [
            (self._now(trace), index, trace)
            for index, entry in enumerate(self.entries)
            for trace in entry.rows
            if not entry.has_failed and trace.is_sound
        ]
        if not known:
            return None
        _, index, trace = min(known, key=lambda one: one[:2])
        mature = self.entries[index].final is None and len(trace.run.values) >= MATURE
        return (index, trace.run.family, trace.params) if mature else None

    def _best(self, all_rows: bool) -> tuple[float, int]:
        """The best criterion so far, and the number of parameters of its model."""
        best, n_parameters = np.inf, 0
        for entry in self.entries:
            if entry.has_failed:
                continue
            if all_rows and entry.final is not None and entry.final < best:
                best = entry.final
            if self.criterion == "icl":  # the entropy of a model that runs is not known
                continue
            for trace in entry.rows if all_rows else entry.sample:
                if trace.is_sound and (value := self._now(trace)) < best:
                    best, n_parameters = value, trace.n_parameters
        return best, n_parameters

    def _now(self, trace: Trace) -> float:
        """The criterion, or what it is at least, of the parameters that a run is at."""
        penalty = PENALTIES[self.criterion](trace.n_parameters, trace.total)
        return penalty - 2 * trace.total * trace.run.values[-1]

    def _hope(self, best_parameters: int, trace: Trace) -> float:
        """What the criterion may still fall to."""
        if not trace.is_sound:
            return np.inf if trace.run.values else -np.inf
        gain = CAUTION * trace.total * trace.still_to_gain()
        if len(trace.run.values) < PATIENCE:
            penalty = PENALTIES[self.criterion](trace.n_parameters, trace.total)
            gain += penalty / trace.run.family.n_components
        if trace.on_sample:  # a model fits its sample better by half its parameters
            chance = CHANCE + trace.n_parameters + best_parameters
            gain += chance * trace.total / trace.weight
        return self._now(trace) - 2 * gain


class Watch:
    """Follows the runs of a model; true calls a run off."""

    def __init__(self, entry: Entry):
        self._entry = entry

    def __call__(self, run, point) -> bool:
        """After a pass over all rows."""
        weight = point.stats.weight
        _note(self._entry.rows, Trace(run, weight, weight, params=point.params))
        return self._entry.is_ended or self._entry.is_doomed

    def on_sample(self, total: float) -> Callable:
        """What to call after a pass over a sample of rows of a total weight."""

        def after_pass(run, point):
            _note(self._entry.sample, Trace(run, point.stats.weight, total, on_sample=True))
            return self._entry.is_doomed

        return after_pass


def _note(traces: list, trace: Trace) -> None:
    """Put a trace in the place of an older one of the same run."""
    traces[:] = [known for known in traces if known.run is not trace.run] + [trace]
