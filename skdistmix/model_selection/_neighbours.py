"""The neighbours of the best model of a search start from it once more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral

from .._em import EMFit, EMRun, attempted, em_together, first_pass
from .._sampling import bounded_sample
from .._seeding import params_from_responsibilities
from .._splits import merged_start, split_starts
from ..families import DegenerateComponentError, Family
from ..families._base import posteriors0

__all__ = ["NeighbourStart", "neighbours", "starts_freely"]

RACE_ROWS = 10_000  # on which starts by splitting race
RACE_ITER = 15
KEPT = 2  # starts that go on over all rows


def neighbours(cells: list[dict], index: int, default: int) -> list[int]:
    """The cells that differ from a cell by one component or in the covariance type only.

    `default` is the number of components of a cell that does not say it.
    """

    def size(cell):
        return cell.get("n_components", default)

    def is_other(name):
        values = [cell.get(name, NOWHERE) for cell in (cells[index], cell)]
        return not (values[0] is values[1] or (_is_plain(values) and values[0] == values[1]))

    found = []
    for i, cell in enumerate(cells):
        if not isinstance(size(cell), Integral):  # it fails for itself
            continue
        names = (cell.keys() | cells[index].keys()) - {"n_components"}
        others = {name for name in names if is_other(name)}
        change = abs(size(cell) - size(cells[index]))
        if (change, others) in ((1, set()), (0, {"covariance_type"})):
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
    """Starts EM from a fitted mixture with one component more or less, or of another type.

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
        on some of the rows. These rows, shared out by the fitted mixture, start another type.
        """
        if family.n_components < self.family.n_components:
            return [merged_start(self.family, self.params, family)]
        rows = bounded_sample(map_reduce, shards, family.moments, RACE_ROWS, self.seed)
        moments = first_pass(map_reduce, rows, family.full_scatter, family.n_components)
        small = family.prepare(moments)
        if family.n_components == self.family.n_components:
            shares = Posterior(self.family.kernel_for_other_rows(self.params))
            return [attempted(params_from_responsibilities, map_reduce, rows, small, shares)]
        starts = split_starts(self.family, self.params, family, self.seed)
        runs = [EMRun(small, start, "likelihood", RACE_ITER) for start in starts]
        fits = attempted(em_together, map_reduce, rows, runs)
        if isinstance(fits, DegenerateComponentError):
            return [fits]
        fits = [fit for fit in fits if isinstance(fit, EMFit)]
        fits.sort(key=lambda fit: fit.objectives[-1], reverse=True)
        return [fit.params for fit in fits[:KEPT]]


@dataclass(frozen=True)
class Posterior:
    """Posterior probabilities of the rows of a block, shape (n_components, n_rows)."""

    kernel: object

    def __call__(self, block):
        return posteriors0(self.kernel.log_joint(block.X))
