"""The axes that covariances of all components have in common: models EVE and VVE.

With axes D (the columns of an orthogonal matrix), share_k of the rows and covariances S_k of the
components' rows, the variances along the axes follow in closed form from the diagonals of D'S_k D.
What is left to be minimised is a smooth function of D.

Each round tries a step of conjugate gradients in the angles between pairs of axes, in units of the
second derivatives there (Flury and Gautschi 1986 turn one pair at a time with the same aim). If no
step gains, D moves to the minimum of a linear function that lies above the objective and touches
it (Browne and McNicholas 2014): that never loses, but alone it needs thousands of rounds for some
tens of features. There are two such functions, which are used in turn.

References
----------
Browne, R. P. and McNicholas, P. D. (2014). Estimating common principal components in high
dimensions. Advances in Data Analysis and Classification 8, 217-226.

Flury, B. N. and Gautschi, W. (1986). An algorithm for simultaneous orthogonal transformation of
several positive definite symmetric matrices to nearly diagonal form. SIAM Journal on Scientific and
Statistical Computing 7, 169-184.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["best_axes", "shared_axes"]

ROUNDS, WARM_ROUNDS = 500, 10
FIRST_ROUNDS, MOST_COMPONENTS = 30, 10  # from each of many axes, of which the two best go on
SMALL_TURN = 1e-4  # that rounding may explain
SETTLED = 1e-10  # angle of the next step at which the axes are taken for the best
LARGEST_TURN = 0.7  # of a pair of axes in a round
N_TRIALS = 4  # lengths of a step that are tried
ROUNDING = 1e-14  # of the objective, relative


@dataclass(frozen=True)
class _Point:
    """Axes, and what follows from them."""

    axes: np.ndarray
    turned: np.ndarray  # S_k D, shape (n_components, n_features, n_features)
    along: np.ndarray  # diagonals of D'S_k D, shape (n_components, n_features)
    variances: np.ndarray  # that the model makes of these
    value: float


def best_axes(
    shares: np.ndarray, covariances: np.ndarray, variances_of: Callable, start=None
) -> tuple[np.ndarray, np.ndarray]:
    """Common axes that maximise the likelihood, and the variances along them.

    Parameters
    ----------
    shares : ndarray of shape (n_components,)
    covariances : ndarray of shape (n_components, n_features, n_features)
    variances_of : callable
        ``variances_of(shares, along)`` gives the variances of a model from those of the rows along
        the axes, both of shape (n_components, n_features).
    start : ndarray of shape (n_features, n_features), optional
        Axes of a step before: then a few rounds will do. None: the axes of the coordinates, of the
        mean covariance and of each covariance (of the largest components) are all tried. There are
        local optima, and where clusters are mirror images the first two are a saddle point.

    Returns
    -------
    axes : ndarray of shape (n_features, n_features)
        As columns.
    variances : ndarray of shape (n_components, n_features)
    """
    search = _Search(shares, covariances, variances_of)
    if start is not None:
        best = search.minimum(start, WARM_ROUNDS)
    else:
        largest = np.argsort(-shares, kind="stable")[:MOST_COMPONENTS]
        matrices = [np.tensordot(shares, covariances, 1), *covariances[largest]]
        starts = [np.eye(covariances.shape[1]), *(np.linalg.eigh(one)[1] for one in matrices)]
        found = [search.minimum(axes, FIRST_ROUNDS) for axes in starts]
        first, second = sorted(found, key=lambda point: point.value)[:2]
        first, second = (search.minimum(point.axes, ROUNDS) for point in (first, second))
        # of equal optima the same one, if rounding allows
        best = second if second.value < first.value - 1e-10 else first
    return best.axes, best.variances


def shared_axes(covariances: np.ndarray) -> np.ndarray:
    """Axes of covariances that have all axes in common.

    Those of a weighted sum, in which no two are mixed up that differ in one covariance; but where
    two variances of the sum are close rounding turns their axes, and a step of Jacobi's method with
    all covariances turns them back.
    """
    K, d, _ = covariances.shape
    sizes = np.trace(covariances, axis1=1, axis2=2) / d
    unequal = 1.0 + np.sqrt(np.arange(1, K + 1) * 2.0) % 1.0  # no simple ratios
    axes = np.linalg.eigh(np.tensordot(unequal / sizes, covariances, 1))[1]
    turned = axes.T @ covariances @ axes
    variances = np.diagonal(turned, axis1=1, axis2=2)
    apart = variances[:, None, :] - variances[:, :, None]
    share = apart / np.maximum(variances[:, None, :] * variances[:, :, None], np.finfo(float).tiny)
    angles, weight = (turned * share).sum(axis=0), (apart * share).sum(axis=0)
    angles = np.where(weight > 0, angles / np.where(weight > 0, weight, 1.0), 0.0)
    if np.abs(angles).max() > SMALL_TURN:  # not one set of axes
        return axes
    axes = axes @ (np.eye(d) + 0.5 * (angles - angles.T))
    return axes @ (1.5 * np.eye(d) - 0.5 * axes.T @ axes)  # orthogonal to rounding again


@dataclass(frozen=True)
class _Search:
    shares: np.ndarray
    covariances: np.ndarray
    variances_of: Callable

    def at(self, axes: np.ndarray) -> _Point:
        turned = self.covariances @ axes
        along = np.einsum("ij,kij->kj", axes, turned)
        variances = self.variances_of(self.shares, along)
        value = float(self.shares @ np.log(variances).sum(axis=1))
        return _Point(axes, turned, along, variances, value)

    def minimum(self, start: np.ndarray, rounds: int) -> _Point:
        here, direction, before = self.at(start), None, None
        for number in range(rounds):
            inverse = self.shares[:, None] / here.variances
            gradient, scaled = _turns(here, inverse)
            if np.abs(scaled).max(initial=0.0) < SETTLED:
                break
            direction = _conjugate(gradient, scaled, direction, before)
            there = self._step(here, direction)
            if there is None:
                direction = None
                there = self.at(_nearest_axes(-self._majoriser(here, inverse, number)))
                if not _is_no_worse(there, here):
                    break
            before = gradient, float((gradient * scaled).sum())
            here = there
        return here

    def _step(self, here: _Point, direction: np.ndarray) -> _Point | None:
        """The first of some ever shorter steps that does not lose; None if all do."""
        length = min(1.0, LARGEST_TURN / np.abs(direction).max())
        for _ in range(N_TRIALS):
            turn = length * direction
            turn = np.eye(len(turn)) + turn + 0.5 * turn @ turn
            there = self.at(_nearest_axes(here.axes @ turn))
            if _is_no_worse(there, here):
                return there
            length *= 0.3
        return None

    def _majoriser(self, here: _Point, inverse: np.ndarray, number: int) -> np.ndarray:
        """Coefficients of a linear function of the axes above sum_k tr(S_k D B_k^-1 D')."""
        product = np.einsum("kij,kj->ij", here.turned, inverse)
        if number % 2:
            return product - np.tensordot(inverse.max(axis=1), here.turned, 1)
        largest = np.linalg.eigvalsh(self.covariances)[:, -1]
        return product - here.axes * (largest @ inverse)


def _turns(here: _Point, inverse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives by the angles of pairs of axes, and these over the second derivatives.

    Both are antisymmetric, of shape (n_features, n_features).
    """
    inner = here.axes.T @ np.einsum("kij,kj->ij", here.turned, inverse)
    gradient = inner - inner.T
    curvature = here.along.T @ inverse  # (V_i - V_j) (1 / B_j - 1 / B_i), summed over components
    own = np.diag(curvature)
    curvature = curvature + curvature.T - own[:, None] - own[None, :]
    np.fill_diagonal(curvature, 1.0)
    return gradient, gradient / np.maximum(curvature, 1e-8 * curvature.max())


def _conjugate(gradient, scaled, direction, before) -> np.ndarray:
    """The next direction of conjugate gradients (Polak and Ribiere 1969)."""
    if direction is None:
        return -scaled
    last, norm = before
    beta = max(0.0, float(((gradient - last) * scaled).sum()) / norm)
    new = beta * direction - scaled
    return new if (new * gradient).sum() < 0 else -scaled


def _nearest_axes(matrix: np.ndarray) -> np.ndarray:
    """The orthogonal matrix nearest to a matrix."""
    left, _, right = np.linalg.svd(matrix)
    return left @ right


def _is_no_worse(there: _Point, here: _Point) -> bool:
    # Near the minimum gains are below rounding while the axes still move.
    return there.value <= here.value + ROUNDING * (1.0 + abs(here.value))
