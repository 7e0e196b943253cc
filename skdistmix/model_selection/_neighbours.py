"""Models with one component more or less than the best of a search start from it once more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .._em import EMFit, EMRun, attempted, em_together, first_pass
from .._sampling import bounded_sample
from .._splits import merged_start, split_starts
from ..families import DegenerateComponentError, Family

__all__ = ["NeighbourStart", "neighbours", "starts_freely"]

RACE_ROWS = 20_000  # on which starts by splitting race
RACE_ITER = 15
KEPT = 2  # starts that go on over all rows


def neighbours(cells: list[dict], index: int, default: int) -> list[int]:
    """The cells that differ by one component from a cell, and in nothing else.

    `default` is the number of components of a cell that does not say it.
    """

    def size(cell):
        return cell.get("n_components", default)

    def is_other(name):
        values = [cell.get(name, NOWHERE) for cell in (cells[index], cell)]
        return not (values[0] is values[1] or (_is_plain(values) and values[0] == values[1]))

    found = []
    for i, cell in enumerate(cells):
        names = (cell.keys() | cells[index].keys()) - {"n_components"}
        if abs(size(cell) - size(cells[index])) == 1 and not any(map(is_other, names)):
            found.append(i)
    return found


NOWHERE = object()


def _is_plain(values) -> bool:
    return all(value is None or isinstance(value, (bool, int, float, str)) for value in values)


def starts_freely(model) -> bool:
    """Whether a mixture is to look for its start, and for an optimum."""
    given = (getattr(model, f"{name}_init", None) for name in ("weights", "means", "precisions"))
    free = isinstance(model.init_params, str) and all(value is None for value in given)
    return free and model.max_iter > RACE_ITER


@dataclass(frozen=True)
class NeighbourStart:
    """Starts EM from a fitted mixture with one component more or less.

    Attributes
    ----------
    family, params : object
        The fitted mixture.
    seed : int
        Of the directions in which components are split, and of the rows that decide between them.
    """

    family: Family
    params: object
    seed: int

    def __call__(self, map_reduce: Callable, shards, family: Family) -> list:
        """Parameters to start from, or the errors of starts that degenerate.

        Of the many ways to split a component those are taken that lead furthest in a few iterations
        on some of the rows.
        """
        if family.n_components < self.family.n_components:
            return [merged_start(self.family, self.params, family)]
        starts = split_starts(self.family, self.params, family, self.seed)
        rows = bounded_sample(map_reduce, shards, family.moments, RACE_ROWS, self.seed)
        moments = first_pass(map_reduce, rows, family.full_scatter, family.n_components)
        small = family.prepare(moments)
        runs = [EMRun(small, start, "likelihood", RACE_ITER) for start in starts]
        fits = attempted(em_together, map_reduce, rows, runs)
        if isinstance(fits, DegenerateComponentError):
            return [fits]
        fits = [fit for fit in fits if isinstance(fit, EMFit)]
        fits.sort(key=lambda fit: fit.objectives[-1], reverse=True)
        return [fit.params for fit in fits[:KEPT]]
