"""Fixed points of EM for many row weights of the same rows.

EM shrinks whatever it is started from only a little in each step, so resamples that are not
iterated to their end resemble their start, and their spread is too small. But the maps of
resamples of the same rows hardly differ: near the fixed point x of one, with Jacobian J, the step
x + (I - J)^-1 (EM(x) - x) leads almost to the fixed point of another. Such chord-Newton steps
converge in a few passes where EM takes hundreds. Where they do not, EM itself is iterated.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import solve_triangular

from ._acceleration import MAX_MOVE, Anderson
from ._em import maximise
from ._shards import Block
from .families import DegenerateComponentError, Family

__all__ = [
    "REMAINING",
    "EMMap",
    "Outline",
    "ShardsMap",
    "by_chords",
    "by_em_steps",
    "informed",
    "newton_matrix",
    "outlined",
]

REMAINING = 0.02  # change of a coordinate still to come, in standard errors, at which a run ends
NEGLIGIBLE = 1e-3  # the same for a step that is followed by no other, whatever its rate
MAX_CHORDS = 20
# Steps that do not shrink by this factor: it is left to EM. Two steps tell little of the rate at
# which they shrink, so twice of what they show is counted on, and a fifth at least.
SLOW_CHORDS = 0.5
MAX_EM_STEPS = 5_000
PLAIN_STEPS = 10  # of EM that must confirm that little remains: their fast parts die out
SETS_AT_ONCE = 100  # components of all parameter sets that are evaluated together
MAX_COORDINATES = 1500  # beyond, a Jacobian costs more passes than it saves
JACOBIAN_ROWS = 100_000  # of which it is computed if there are more
STEP = 0.02  # of differences for the Jacobian, in units of the spread of EM steps


def em_step(family: Family, x: np.ndarray, like, kernel_of: Callable) -> Generator:
    """The image of coordinates under EM, and the objective there; None if a component is lost.

    Yields kernels and receives their statistics; the first is ``kernel_of(params)``.
    """
    params = family.params_of_coordinates(x, like)
    stats = yield kernel_of(params)
    objective = stats.log_likelihood + family.log_prior(params)
    image = yield from maximise(family, lambda a: family.kernel(params, a), stats, params)
    image = family.coordinates(image)
    return None if image is None else (image, objective)


def _driven(steps: Generator, statistics: Callable) -> tuple | None:
    """What the generator returns; None if a component degenerates."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # of a step that leads far away
            kernel = next(steps)
            while True:
                kernel = steps.send(statistics(kernel))
    except StopIteration as stop:
        return stop.value
    except (DegenerateComponentError, np.linalg.LinAlgError):
        return None


@dataclass(frozen=True)
class ShardsMap:
    """EM as a map of coordinates for all rows of shards; as :class:`EMMap`, for one point."""

    family: Family
    map_reduce: Callable
    shards: object
    like: object

    def __call__(self, points: np.ndarray, weights=None) -> tuple[np.ndarray, np.ndarray]:
        """The image of the point, and the objective there."""
        steps = em_step(self.family, points[0], self.like, self.family.kernel)
        found = _driven(steps, lambda k: self.map_reduce(k.statistics, self.shards, k.block_rows))
        image, objective = (np.full(points.shape[1], np.nan), np.nan) if found is None else found
        return image[None], np.array([objective])


@dataclass(frozen=True)
class EMMap:
    """EM as a map of coordinates, for any weights of some rows.

    Attributes
    ----------
    family : Family
        With coordinates, prepared with the summary of all rows.
    X : ndarray of shape (n_rows, n_features)
    like : object
        Parameters whose shapes those of all points have.
    """

    family: Family
    X: np.ndarray
    like: object

    def __call__(self, points: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Images of points under EM, and the objectives at the points.

        Parameters
        ----------
        points : ndarray of shape (n_points, n_coordinates)
        weights : ndarray of shape (n_points, n_rows) or (1, n_rows)
            Row weights for each point, or for all.

        Returns
        -------
        images : ndarray of shape (n_points, n_coordinates)
            NaN where a component degenerates or loses all its rows.
        objectives : ndarray of shape (n_points,)
            Total log-likelihood and log-prior.
        """
        images = np.full(points.shape, np.nan)
        objectives = np.full(len(points), np.nan)
        size = max(1, SETS_AT_ONCE // self.family.n_components)
        for first in range(0, len(points), size):
            part = slice(first, first + size)
            own = weights if len(weights) == 1 else weights[part]
            found = self.family.em_of_many(self.X, own, points[part], self.like)
            if found is not None:
                images[part], objectives[part] = found
                continue
            for i, x in enumerate(points[part]):
                value = self._image(x, own[min(i, len(own) - 1)])
                if value is not None:
                    images[first + i], objectives[first + i] = value
        return images, objectives

    def _image(self, x, weight) -> tuple | None:
        """The image of one point and the objective there; None if it has none."""
        steps = em_step(self.family, x, self.like, self.family.kernel_for_other_rows)
        return _driven(steps, lambda kernel: self._statistics(kernel, weight))

    def _statistics(self, kernel, weight):
        rows = np.flatnonzero(weight)
        X, w = self.X[rows], weight[rows].astype(np.float64)
        size = kernel.block_rows
        return kernel.statistics(
            Block(X[i : i + size], w[i : i + size], range(i, min(i + size, len(X))))
            for i in range(0, len(X), size)
        )


def newton_matrix(em_map: EMMap, x: np.ndarray, weight: np.ndarray, unit: np.ndarray):
    """(I - J)^-1 with the Jacobian J of EM at a point, or None if it is of no use.

    Parameters
    ----------
    em_map : EMMap
    x : ndarray of shape (n_coordinates,)
    weight : ndarray of shape (n_rows,)
    unit : ndarray of shape (n_coordinates,)
        Sizes of steps in which EM is nearly linear.

    Notes
    -----
    I - J is the share of the information of complete data that the rows have (Dempster, Laird and
    Rubin 1977), so that a chord-Newton step is a step of Fisher's scoring.
    """
    if len(x) > MAX_COORDINATES:
        return None
    every = -(-len(weight) // JACOBIAN_ROWS)
    some = replace(em_map, X=em_map.X[::every])
    weight = weight[::every] * (weight.sum() / weight[::every].sum())
    points = np.vstack([x, x + np.diag(STEP * unit)])
    images, _ = some(points, weight[None])
    if not np.isfinite(images).all():
        return None
    jacobian = (images[1:] - images[0]).T / (STEP * unit)
    try:
        matrix = np.linalg.inv(np.eye(len(x)) - jacobian)
    except np.linalg.LinAlgError:
        return None
    return matrix if np.isfinite(matrix).all() else None


@dataclass(frozen=True)
class Outline:
    """How EM behaves near a point, for all weights that are like each other.

    Attributes
    ----------
    matrix : ndarray of shape (n_coordinates, n_coordinates) or None
        See :func:`newton_matrix`.
    scale : ndarray of shape (n_coordinates,)
        Standard errors of the coordinates, far too large where the matrix is nearly singular.
    unit : ndarray of shape (n_coordinates,)
        Sizes of the first steps of EM for other weights, which are less than standard errors.
    """

    matrix: np.ndarray | None
    scale: np.ndarray
    unit: np.ndarray

    def fixed_points(self, em_map: EMMap, weights, start, remaining=REMAINING) -> tuple:
        """Where EM leads from a start, for each of several row weights.

        Parameters
        ----------
        em_map : EMMap
        weights : ndarray of shape (n_points, n_rows)
        start : ndarray of shape (n_coordinates,)
        remaining : float
            Largest change of a coordinate still to come, in units of `scale`. Where chords do not
            lead to an end the matrix is not to be trusted, nor is `scale`: then in units of `unit`.

        Returns
        -------
        points : ndarray of shape (n_points, n_coordinates)
            NaN where EM did not converge, or a component degenerated or lost all its rows.
        n_steps : int or inf
            Largest number of chord-Newton steps; infinite if EM had to be iterated.
        """
        points, n_steps = np.full((len(weights), len(start)), np.nan), np.inf
        if self.matrix is not None:
            points, n_steps = by_chords(em_map, weights, start, self.matrix, self.scale, remaining)
        for i in np.flatnonzero(~np.isfinite(points).all(axis=1)):
            own, n_steps = weights[i : i + 1], np.inf

            def image_of(x, own=own):
                images, objectives = em_map(x[None], own)
                return images[0], objectives[0]

            points[i] = by_em_steps(image_of, start, self.unit, remaining)
        return points, n_steps


def informed(family: Family, params, information) -> Outline | None:
    """The outline of EM at a maximum of the likelihood, from the information that rows have there.

    A step of EM is the score over the information that complete rows would have, a step of Newton
    the score over that which the rows have (Dempster, Laird and Rubin 1977). None where there is a
    prior besides.
    """
    if family.log_prior(params) != 0:
        return None
    directions = [
        family.coordinate_change(params, information.arrays_of(column, params))
        for column in information.jacobian.T
    ]
    # Steps of EM have no part outside of these: one coordinate of the weights is redundant.
    q, r = np.linalg.qr(np.transpose(directions))
    outward, inward = q @ r, solve_triangular(r, q.T)
    newton = outward @ information.inverse
    errors = [(m @ information.products * m).sum(axis=1) for m in (newton, outward)]
    rounding = 1e-12 * (1 + np.abs(family.coordinates(params)))
    spread, unit = (np.maximum(np.sqrt(e / information.weight), rounding) for e in errors)
    return Outline(newton @ information.complete @ inward, spread, unit)


def outlined(em_map: EMMap, x: np.ndarray, base: np.ndarray, trials: np.ndarray) -> Outline | None:
    """The outline of EM at a point; None where EM breaks down.

    Parameters
    ----------
    em_map : EMMap
    x : ndarray of shape (n_coordinates,)
    base : ndarray of shape (n_rows,)
        Weights of the rows.
    trials : ndarray of shape (n_trials, n_rows)
        Weights of some resamples of them. The first chord-Newton step leads almost to its end, so
        the spread of the first steps is the standard error. That of steps of EM is less.
    """
    images, _ = em_map(np.tile(x, (len(trials), 1)), trials)
    image, _ = em_map(x[None], base[None])
    images = images[np.isfinite(images).all(axis=1)]
    if not len(images) or not np.isfinite(image).all():
        return None
    moves, rounding = images - image, 1e-12 * (1 + np.abs(x))
    unit = np.maximum(_root_mean_square(moves), rounding)
    matrix = newton_matrix(em_map, x, base, unit)
    spread = unit if matrix is None else _root_mean_square(moves @ matrix.T)
    return Outline(matrix, np.maximum(spread, rounding), unit)


def _root_mean_square(values) -> np.ndarray:
    return np.sqrt((values**2).mean(axis=0))


def by_chords(em_map: Callable, weights, start, matrix, scale, remaining=REMAINING) -> tuple:
    """Fixed points by chord-Newton steps, and the number of steps.

    NaN where steps do not shrink fast.
    """
    n = len(weights)
    points, found = np.tile(start, (n, 1)), np.zeros(n, dtype=bool)
    sizes, going = np.full(n, np.inf), np.arange(n)
    for n_steps in range(1, MAX_CHORDS + 1):  # noqa: B007 - it is returned
        images, _ = em_map(points[going], weights if len(going) == n else weights[going])
        steps = (images - points[going]) @ matrix.T
        before, sizes[going] = sizes[going], (np.abs(steps) / scale).max(axis=1)
        size = sizes[going]
        with np.errstate(invalid="ignore"):
            rates = np.where(np.isinf(before), SLOW_CHORDS, size / before)
            careful = np.where(np.isinf(before), SLOW_CHORDS, np.maximum(2 * rates, 0.2))
            left = size * careful / (1.0 - careful)
            small = (size < NEGLIGIBLE * remaining) | ((careful < 1) & (left < remaining))
            good = (np.abs(steps).max(axis=1) < MAX_MOVE) & (small | (rates <= SLOW_CHORDS))
        points[going[good]] += steps[good]
        points[going[~good]] = np.nan
        found[going[good & small]] = True
        going = going[good & ~small]
        if len(going) == 0:
            break
    points[~found] = np.nan
    return points, n_steps


def by_em_steps(image_of: Callable, start, scale, remaining=REMAINING) -> np.ndarray:
    """The fixed point that EM leads to, by steps of EM and bold ones; NaN if there is none.

    What remains after a step of size s is s r / (1 - r), with r the largest rate at which the last
    steps shrank. Bold steps change which parts of the way are left; so when little seems to remain,
    some steps of EM must confirm it.

    Parameters
    ----------
    image_of : callable
        ``image_of(x)`` gives the image of x under EM and the objective at x.
    start, scale : ndarray of shape (n_coordinates,)
    remaining : float
    """
    prolong, x, x_objective = Anderson(), start, -np.inf
    fallback = None  # where EM's own step would have led, after a bold step
    rates: deque = deque(maxlen=PLAIN_STEPS)
    before, checking, n_checked = np.inf, False, 0
    for _ in range(MAX_EM_STEPS):
        image, objective = image_of(x)
        lost = not np.isfinite(image).all()
        if fallback is not None and (lost or objective < x_objective):
            prolong.rejected()
            x, fallback, before = fallback, None, np.inf
            continue
        if lost:
            break
        size = float((np.abs(image - x) / scale).max())
        if np.isfinite(before):
            rates.append(size / max(before, 1e-300))
        rate = max(rates, default=np.inf)
        is_near = size < NEGLIGIBLE**2 or (rate < 1 and size * rate / (1 - rate) < remaining)
        n_checked = n_checked + 1 if checking else 0
        if is_near and n_checked >= PLAIN_STEPS:
            return image
        checking = is_near or (checking and n_checked < PLAIN_STEPS)
        ahead = None if checking else prolong.propose(x, image)
        x_objective = objective
        if ahead is None or not np.abs(ahead - image).max() < MAX_MOVE:
            x, fallback, before = image, None, size
        else:
            x, fallback, before = ahead, image, np.inf
    return np.full(len(start), np.nan)
