"""Sums over rows from which the standard errors of a Gaussian mixture are computed.

Scores (derivatives of a row's log-density) are taken in coordinates of the component itself: with
y = U'(x - mean) the whitened row and L the inverse of U', a component is moved to mean + L a and
its covariance L L' to L (I + S) L'. All of these maps are linear, so scores and second derivatives
in any other coordinates follow from these by the chain rule alone, and no digit depends on where a
component lies or how tight it is.

In these coordinates the scores of a single component are h(y) = [1, y, quadratic], the Hermite
polynomials up to degree 2, scaled so that the mean of h h' over the component is the unit matrix:
the quadratic ones are (y_i**2 - 1) / sqrt(2) and y_i y_j. The score of the mixture is h of each
component times the posterior of the component.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ._kernels import LOWEST_EXP, WORK_BYTES, whiten
from ._statistics import scratch

__all__ = ["ScoreKernel", "ScoreSums"]

# Posteriors below are set to zero. A sum with fourth powers of y would not notice them where they
# are right; exp() of what lies outside its range is not zero but LOWEST_EXP, which it might notice.
NEGLIGIBLE = 1e-40
FEWEST_ROWS = 1024  # of a block: for fewer, adding up matrices of size p x p takes longest


@dataclass(frozen=True)
class ScoreSums:
    """Sums over rows; adding two gives those of all rows.

    Attributes
    ----------
    weight : float
        Sum of row weights.
    products : ndarray of shape (p, p)
        Sums of s s', s being the score of the mixture at a row.
    complete : ndarray of shape (n_components, q, q)
        Sums of posterior * h h', the same were the component of each row known.
    """

    weight: float
    products: np.ndarray
    complete: np.ndarray

    def __add__(self, other: ScoreSums) -> ScoreSums:
        return ScoreSums(
            self.weight + other.weight,
            self.products + other.products,
            self.complete + other.complete,
        )


@dataclass(frozen=True)
class ScoreKernel:
    """What travels to the data, and answers with their :class:`ScoreSums`.

    Attributes
    ----------
    means : ndarray of shape (n_components, n_features)
    factors : ndarray of shape (n_components, n_features, n_features) or (n_components, n_features)
        Upper triangular U with precision U U', or the square roots of diagonal precisions.
    log_norm : ndarray of shape (n_components,)
        log(weight) + log-density at the mean.
    quadratics : {"outer", "square", "norm"}
        The quadratic scores: of matrices S, of diagonal ones, of multiples of the unit matrix.
    shared : bool
        Whether all components have one covariance, and so one S.
    """

    means: np.ndarray
    factors: np.ndarray
    log_norm: np.ndarray
    quadratics: str
    shared: bool

    @property
    def n_quadratics(self) -> int:
        """Quadratic scores of a component."""
        d = self.means.shape[1]
        return {"outer": d * (d + 1) // 2, "square": d, "norm": 1}[self.quadratics]

    @property
    def n_own(self) -> int:
        """Scores of a component, q."""
        return 1 + self.means.shape[1] + self.n_quadratics

    def place(self, component: int) -> np.ndarray:
        """Where the scores of a component stand among those of the mixture, shape (q,).

        The first n_components are those of the weights.
        """
        K, d = self.means.shape
        place = np.arange(self.n_own) * K + component
        if self.shared:
            place[1 + d :] = (1 + d) * K + np.arange(self.n_quadratics)
        return place

    @property
    def block_rows(self) -> int:
        """Rows of a block."""
        K, d = self.means.shape
        return max(WORK_BYTES // (8 * (2 * self.n_own * K + K + d)), FEWEST_ROWS) // 8 * 8

    def sums(self, blocks: Iterable) -> ScoreSums | None:
        """The sums over all rows of the blocks; None if there is no row."""
        total = None
        for block in blocks:
            part = self._of_block(np.asarray(block.X), block.weight)
            total = part if total is None else total + part
        return total

    def _of_block(self, X, weight) -> ScoreSums:
        (m, d), K, q = X.shape, len(self.means), self.n_own
        Z, h, scores, posteriors = scratch((d, m), (q, K, m), (q, K, m), (K, m))
        Z[:] = X.T
        self._polynomials(Z, h, posteriors, work=scores[:d])
        _to_posteriors(posteriors)
        if weight is not None:  # its root with each factor of a product
            h *= np.sqrt(weight)
        np.multiply(h, posteriors, out=scores)
        complete = np.empty((K, q, q))
        for k in range(K):
            np.matmul(scores[:, k], h[:, k].T, out=complete[k])
        flat = scores.reshape(q * K, m)
        if self.shared:  # the scores of the one S are sums over components
            n_others = (1 + d) * K
            flat[n_others : n_others + self.n_quadratics] = scores[1 + d :].sum(axis=1)
            flat = flat[: n_others + self.n_quadratics]
        total = float(m if weight is None else weight.sum())
        return ScoreSums(total, flat @ flat.T, complete)  # half the work: BLAS sees the symmetry

    def _polynomials(self, Z, h, log_joint, work) -> None:
        """h (q, n_components, n_rows) and the log-densities of rows Z (n_features, n_rows)."""
        d = len(Z)
        y, quadratic = h[1 : 1 + d], h[1 + d :]
        np.subtract(Z[:, None], self.means.T[:, :, None], out=work)
        if self.factors.ndim == 3:
            for k, factor in enumerate(self.factors):
                whiten(factor, work[:, k], y[:, k])
        else:
            np.multiply(work, self.factors.T[:, :, None], out=y)
        h[0] = 1.0
        if self.quadratics == "norm":
            np.einsum("dkm,dkm->km", y, y, out=quadratic[0])
            np.multiply(quadratic[0], -0.5, out=log_joint)
            quadratic -= d
            quadratic *= np.sqrt(0.5 / d)
        else:
            squares = quadratic[:d]
            np.multiply(y, y, out=squares)
            np.sum(squares, axis=0, out=log_joint)
            log_joint *= -0.5
            squares -= 1.0
            squares *= np.sqrt(0.5)
        log_joint += self.log_norm[:, None]
        if self.quadratics == "outer":
            _mixed_products(y, quadratic)


def _mixed_products(y, out) -> None:
    """Products of two different rows of y in the order of ``pairs``, after the d squares."""
    d, n_pairs = len(y), len(out)
    for shift in range(1, d // 2 + 1):
        rows = out[shift * d : min((shift + 1) * d, n_pairs)]
        n = len(rows)
        np.multiply(y[:shift], y[d - shift :], out=rows[:shift])
        np.multiply(y[shift:n], y[: n - shift], out=rows[shift:])


def _to_posteriors(log_joint) -> None:
    """Posteriors of the components in place of log-densities, both (n_components, n_rows)."""
    log_joint -= log_joint.max(axis=0)
    np.maximum(log_joint, LOWEST_EXP, out=log_joint)
    np.exp(log_joint, out=log_joint)
    log_joint /= log_joint.sum(axis=0)
    log_joint *= log_joint > NEGLIGIBLE
