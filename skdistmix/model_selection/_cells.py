"""The cells of a grid: mixtures that are fitted side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state

from ._contest import Contest, NoContest
from ._neighbours import NeighbourStart, neighbours, starts_freely
from ._strands import run_strands

__all__ = ["Grid"]

SWEEPS_A_LINE = 10  # of what verbose=1 prints
TIMID = 2.0  # log-likelihood still to gain that no warning is made of


@dataclass(frozen=True)
class Fitted:
    """A fitted mixture and its criterion, smaller is better."""

    model: object
    criterion: float


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
        self._n_sweeps = 0

    def fit(self, map_reduce: Callable, fast: bool, verbose: int) -> None:
        """Fit all cells, and if fast the neighbours of the best once more."""
        self._round(map_reduce, {i: None for i in range(len(self.cells))}, fast, verbose)
        best = None
        for _ in self.cells if fast and not np.isnan(self.criteria).all() else ():
            best, before = int(np.nanargmin(self.criteria)), best
            starts = {} if best == before else self._starts_beside(best)
            if not starts:
                break
            self._round(map_reduce, starts, fast, verbose)

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

    def _round(self, map_reduce, starts: dict, fast: bool, verbose: int) -> None:
        """Fit cells, each from its own start (None) or one that is given, and keep the better."""
        places = list(starts)
        contest = NoContest()
        if fast and isinstance(self.criterion, str):
            known = self.criteria[~np.isnan(self.criteria)]
            contest = Contest(self.criterion, len(places), min(known, default=np.inf))
        functions = [
            partial(self._fit_one, index, contest.watch(place), starts[index])
            for place, index in enumerate(places)
        ]
        say = partial(self._say, verbose, len(places))
        outcomes = run_strands(map_reduce, self.shards, functions, contest, say)
        for place, (index, outcome) in enumerate(zip(places, outcomes)):
            if outcome.error is not None:
                if self.fitted[index] is None and not self.errors[index]:
                    self.errors[index] = f"{type(outcome.error).__name__}: {outcome.error}"
            elif self.fitted[index] is None or outcome.value.criterion < self.criteria[index]:
                self.fitted[index] = outcome.value
                self.criteria[index] = outcome.value.criterion
                self.stopped[index] = contest.is_ended(place) and not outcome.value.model.converged_
                self.errors[index] = ""

    def _fit_one(self, index: int, watch, begin, map_reduce) -> Fitted:
        model = self._model(index)
        model._validate_params()
        model._fit_by(map_reduce, self.shards, quiet=True, watch=watch, begin=begin)
        known = isinstance(self.criterion, str)
        value = getattr(model, f"{self.criterion}_") if known else self.criterion(model)
        if not np.isfinite(value):
            raise ValueError(f"the criterion is {value}, not a finite number")
        return Fitted(model, float(value))

    def _model(self, index: int):
        model = clone(self.plain).set_params(**self.cells[index])
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.plain, name):
                setattr(model, name, getattr(self.plain, name))
        return model

    def _starts_beside(self, best: int) -> dict:
        """Starts from the best model, by cell, for those with one component more or less."""
        model = self.fitted[best].model
        family, params = model._family_and_params()
        if not family.costs:  # components that do not stand alone cannot be split or merged
            return {}
        seed = int(check_random_state(model.random_state).randint(np.iinfo(np.int32).max))
        start = NeighbourStart(family, params, seed)
        beside = neighbours(self.cells, best, self.plain.n_components)
        return {i: start for i in beside if starts_freely(self._model(i))}

    def _say(self, verbose: int, n_models: int, active: list[int]) -> None:
        self._n_sweeps += 1
        if verbose >= 2 or (verbose == 1 and self._n_sweeps % SWEEPS_A_LINE == 0):
            print(f"Sweep {self._n_sweeps}: {len(active)} of {n_models} models go on")
