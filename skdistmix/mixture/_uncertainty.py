"""What resamples of a mixture say of its parameters, and of anything computed from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.utils import Bunch

from .._bootstrap import Replicates
from .._intervals import bounds
from ..families import Family
from ..families._base import posteriors0

__all__ = ["ProbabilityBounds", "Uncertainty"]

NAMES = ("weights", "means", "covariances")
BOUNDS_ELEMENTS = 2**22  # probabilities of a block under all resamples: 32 MB


@dataclass(frozen=True)
class Uncertainty:
    """The fit of all rows, and how the fits of resamples deviate from those of their subsets.

    A resample deviates from its subset as the fit of all rows deviates from the truth. So the
    deviations are taken from that fit: the centred, or basic, bootstrap (Davison and Hinkley 1997,
    section 5.2). They are in coordinates without boundaries, where everything gives valid
    parameters; intervals are quantiles of what follows from these parameters.

    Attributes
    ----------
    family : Family
    params : object
        Of all rows.
    found : sequence of Replicates
        Of each subset.
    """

    family: Family
    params: object
    found: Sequence[Replicates]

    @property
    def n_draws(self) -> int:
        """Resamples of the subset that has the fewest."""
        return min(len(replicates.points) for replicates in self.found)

    @property
    def reflected(self) -> list[list]:
        """Parameters that the truth may have, a list for each subset."""
        points = self._reflected_points()
        return [[self._params(x) for x in some] for some in points]

    def _reflected_points(self) -> list[np.ndarray]:
        at = self.family.coordinates(self.params)
        return [at - replicates.deviations for replicates in self.found]

    def standard_errors(self) -> Bunch:
        """Standard deviations of parameters over resamples, averaged over subsets."""
        # Of differences: those of a parameter that is held are zero, not only nearly so.
        return self._averaged(lambda draws, own: np.std(draws - own, axis=0, ddof=1))

    def biases(self) -> Bunch:
        """Means of parameters over resamples less those of their subset, averaged over subsets."""
        return self._averaged(lambda draws, own: np.mean(draws, axis=0) - own)

    def intervals(self, level: float) -> Bunch:
        """Bunches `lower` and `upper` of ends of intervals, shaped like the parameters."""
        draws = [self._params(points) for points in self._reflected_points()]
        ends = {name: bounds([getattr(one, name) for one in draws], level) for name in NAMES}
        return Bunch(
            lower=Bunch(**{name: ends[name][0] for name in NAMES}),
            upper=Bunch(**{name: ends[name][1] for name in NAMES}),
        )

    def interval(self, statistic: Callable, level: float) -> np.ndarray:
        """Ends of the interval of ``statistic(params)``, shape (2, ...)."""
        draws = [[_numbers(statistic(params)) for params in some] for some in self.reflected]
        shapes = sorted({value.shape for some in draws for value in some})
        if len(shapes) > 1:
            raise ValueError(
                "statistic must return arrays of one shape for all mixtures, got the shapes "
                f"{', '.join(map(str, shapes[:3]))}."
            )
        return bounds([np.array(some) for some in draws], level)

    def probability_bounds(self, level: float, n_features: int, columns) -> ProbabilityBounds:
        """The function of blocks that gives the ends of intervals of posterior probabilities."""
        kernels = tuple(tuple(map(self.family.kernel, some)) for some in self.reflected)
        return ProbabilityBounds(kernels, level, n_features, columns)

    def _params(self, points: np.ndarray):
        """Parameters of a point, or of several, one after the other along the first axis."""
        return self.family.params_of_coordinates(points, self.params)

    def _averaged(self, summary: Callable) -> Bunch:
        values: dict[str, list] = {name: [] for name in NAMES}
        for replicates in self.found:
            draws, own = self._params(replicates.points), self._params(replicates.at)
            for name in NAMES:
                values[name].append(summary(getattr(draws, name), getattr(own, name)))
        return Bunch(**{name: np.mean(values[name], axis=0) for name in NAMES})


@dataclass(frozen=True)
class ProbabilityBounds:
    """Ends of intervals of the posterior probabilities of the rows of a block."""

    kernels: tuple[tuple, ...]
    level: float
    n_features: int
    columns: tuple | None

    def __call__(self, block) -> np.ndarray:
        """Array of shape (n_rows, n_components, 2)."""
        if block.X.shape[1] != self.n_features:
            raise ValueError(
                f"X has {block.X.shape[1]} features, but the model was fitted to "
                f"{self.n_features} features."
            )
        draws = [
            np.array([_posteriors(k.log_joint(block.X)) for k in some]) for some in self.kernels
        ]
        return np.ascontiguousarray(np.moveaxis(bounds(draws, self.level), 0, -1))

    @property
    def block_rows(self) -> int:
        """Rows of a block."""
        n_sets = sum(map(len, self.kernels))
        n_components = len(self.kernels[0][0].log_joint(np.zeros((1, self.n_features))))
        return max(BOUNDS_ELEMENTS // (n_sets * n_components), 1)


def _posteriors(log_joint: np.ndarray) -> np.ndarray:
    return posteriors0(log_joint).T


def _numbers(value) -> np.ndarray:
    """What a statistic returned, as an array."""
    try:
        array = np.asarray(value)
    except ValueError:  # a ragged list
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"statistic must return a number or an array of numbers, got {value!r:.50}")
    return array.astype(np.float64)
