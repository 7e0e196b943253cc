"""The cells of a grid: mixtures that are fitted side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state

from ._contest import Contest, NoContest
from ._neighbours import NeighbourStart, neighbours, starts_freely
from ._strands import Outcome, run_strands

__all__ = ["Grid"]

SWEEPS_A_LINE = 10  # of what verbose=1 prints
TIMID = 2.0  # log-likelihood still to gain that no warning is made of


@dataclass(frozen=True)
class Fitted:
    """A fitted mixture, what there is to warn of, and its criterion, smaller is better."""

    model: object
    doubt: str | None
    criterion: float = np.nan


class Grid:
    """The mixtures of a grid, fitted side by side.

    Attributes
    ----------
    fitted : list of Fitted or None
    criteria : ndarray of shape (n_cells,)
        NaN for cells that failed.
    stopped : list of bool
    errors : list of str
        Empty for cells that did not fail.
    """

    def __init__(self, plain, cells: list[dict], shards, criterion):
        self.plain, self.cells, self.shards, self.criterion = plain, cells, shards, criterion
        self.fitted: list[Fitted | None] = [None] * len(cells)
        self.criteria = np.full(len(cells), np.nan)
        self.stopped, self.errors = [False] * len(cells), [""] * len(cells)

    def fit(self, map_reduce: Callable, fast: bool, verbose: int) -> None:
        """Fit all cells; if fast stop some, and start the neighbours of the best once more."""
        known = isinstance(self.criterion, str)
        contest = Contest(self.criterion) if fast and known else NoContest()
        schedule = _Schedule(self, contest, fast, verbose)
        run_strands(map_reduce, self.shards, schedule.more, schedule, schedule.say)

    def unsure(self, best: int) -> list[int]:
        """Cells that stopped too early for their place to be certain."""
        least, found = self.criteria[best], []
        for i, one in enumerate(self.fitted):
            if one is None or self.stopped[i] or one.model.max_iter == 0:
                continue
            if one.model.converged_ and one.model.tol == "likelihood":
                continue
            gap = one.model.convergence_gap_
            known = isinstance(self.criterion, str)
            behind = (self.criteria[i] - least) / 2 if known and i != best else 0.0
            if gap > max(behind, TIMID) or (i == best and not one.model.converged_):
                found.append(i)
        return found

    def keep(self, index: int, outcome, stopped: bool) -> None:
        """Take note of a fit of a cell, if it is the first or the best."""
        if outcome.error is not None:
            if self.fitted[index] is None and not self.errors[index]:
                self.errors[index] = f"{type(outcome.error).__name__}: {outcome.error}"
        elif self.fitted[index] is None or outcome.value.criterion < self.criteria[index]:
            self.fitted[index] = outcome.value
            self.criteria[index] = outcome.value.criterion
            self.stopped[index] = stopped and not outcome.value.model.converged_
            self.errors[index] = ""

    def fit_one(self, index: int, watch, begin, map_reduce) -> Fitted:
        """The fitted mixture of a cell, from its own start or from what `begin` gives."""
        model = self.model(index)
        model._validate_params()
        doubt = model._fit_by(map_reduce, self.shards, quiet=True, watch=watch, begin=begin)
        return Fitted(model, doubt)

    def judged(self, outcome: Outcome) -> Outcome:
        """The outcome of a fit with its criterion, or why it has none."""
        if outcome.error is not None:
            return outcome
        model, of_model = outcome.value.model, self.criterion
        try:
            value = of_model(model) if callable(of_model) else getattr(model, f"{of_model}_")
            if not np.isfinite(value):
                raise ValueError(f"the criterion is {value}, not a finite number")
        except Exception as error:
            return Outcome(error=error.with_traceback(None))
        return Outcome(replace(outcome.value, criterion=float(value)))

    def model(self, index: int):
        """The unfitted mixture of a cell."""
        # Copies: values may have parameters of their own, which other cells set to something else.
        # Starts for all rows are large, and have none.
        own = {
            name: value if name == "init_params" else clone(value, safe=False)
            for name, value in self.cells[index].items()
        }
        model = clone(self.plain).set_params(**own)
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.plain, name):
                setattr(model, name, getattr(self.plain, name))
        return model


class _Schedule:
    """When the fits of a grid begin, and what becomes of them; see ``run_strands``."""

    def __init__(self, grid: Grid, contest, fast: bool, verbose: int):
        self.grid, self.contest, self.fast, self.verbose = grid, contest, fast, verbose
        self.cell_of: list[int] = []  # of each fit
        self.tried: set[tuple[int, int]] = set()  # cells that started from which
        self.n_sweeps = 0
        self.resting, self.end = contest.resting, contest.end

    def more(self, idle: bool) -> list[Callable]:
        """The fits to begin: first one of each cell, later the neighbours of the best."""
        if not self.cell_of:
            return [self._begun(index, None) for index in range(len(self.grid.cells))]
        origin = self._origin(idle) if self.fast else None
        if origin is None:
            return []
        best, family, params = origin
        if not family.costs:  # components that do not stand alone cannot be split or merged
            return []
        beside = neighbours(self.grid.cells, best, self.grid.plain.n_components)
        fresh = [i for i in beside if (i, best) not in self.tried]
        if not fresh:
            return []
        self.tried.update((i, best) for i in fresh)
        seed = int(
            check_random_state(self.grid.model(best).random_state).randint(np.iinfo(np.int32).max)
        )
        start = NeighbourStart(family, params, seed)
        return [self._begun(i, start) for i in fresh if starts_freely(self.grid.model(i))]

    def finish(self, fit: int, outcome) -> None:
        """Take note of what became of a fit.

        Criteria that are functions are called here, in the thread of the caller of `fit`, where
        they see the contexts that were entered there, as of joblib.
        """
        outcome = self.grid.judged(outcome)
        self.contest.finish(fit, outcome)
        self.grid.keep(self.cell_of[fit], outcome, self.contest.is_ended(fit))

    def say(self, active: list[int]) -> None:
        """Print how many go on."""
        self.n_sweeps += 1
        every = 1 if self.verbose >= 2 else SWEEPS_A_LINE
        if self.verbose and self.n_sweeps % every == 0:
            print(f"Sweep {self.n_sweeps}: {len(active)} of {len(self.cell_of)} fits go on")

    def _begun(self, index: int, begin) -> Callable:
        self.cell_of.append(index)
        return partial(self.grid.fit_one, index, self.contest.add(), begin)

    def _origin(self, idle: bool) -> tuple | None:
        """The best cell, the family and the parameters that its neighbours can start from."""
        leader = self.contest.leader()
        if leader is not None:
            return self.cell_of[leader[0]], *leader[1:]
        if not idle or np.isnan(self.grid.criteria).all():
            return None
        best = int(np.nanargmin(self.grid.criteria))
        return best, *self.grid.fitted[best].model._family_and_params()
