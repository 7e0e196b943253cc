"""Two ways to run the E-step of a Gaussian mixture on a block and add up its statistics.

Both work on feature-major blocks, where every array operation runs along the rows' axis.

* :class:`FeatureKernel`: a Gaussian log-density is linear in phi(x) = [x, 1, products of x], so all
  log-densities of a block are one matrix product and all statistics another. Fast for few
  features; sums of raw products lose digits when a component is tight against the data's spread.
* :class:`TriangularKernel`: whitens x - mean by a triangular factor, one component at a time, and
  takes sums about given anchors. Accurate whatever the offset and the scale.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np

from . import _array_api
from ._base import logsumexp0
from ._statistics import AnchoredSums, GaussianStatistics, scratch

__all__ = ["FeatureKernel", "TriangularKernel", "pairs", "whiten"]

LOWEST_EXP = -700.0  # exp() of less leaves the normal numbers and the fast path of the library
RESCUE_BELOW = np.exp(-650.0)
# OpenBLAS multiplies without packing its operands, up to twice faster, while m*n*k is at most this
# and, where the second operand is transposed, the result has at most so many numbers.
SMALL_PRODUCT = 1_000_000
SMALL_RESULT = 1200
SLICE = 24  # rows of a triangular factor that are multiplied at once
WORK_BYTES = 4_500_000  # size of a block's work arrays: fewer, larger calls release the GIL less


# --------------------------------------------------------------------------- features


@dataclass(frozen=True)
class FeatureKernel:
    """E-step and statistics as two matrix products over features of centred rows.

    Attributes
    ----------
    products : {"outer", "square", "norm"}
        The quadratic features: all products of two (see :func:`pairs`), squares, or their sum.
    center : ndarray of shape (n_features,)
        Rows enter as z = x - center.
    theta : ndarray of shape (n_components, p)
        log(weight) + log-density = theta @ phi, phi = [z, 1, quadratic features].
    peak : float
        An upper bound of all log-densities; densities are computed relative to it.
    whitening : ndarray of shape (n_features, n_features) or None
        With "norm": the feature is the squared norm of whitening' z.
    """

    products: str
    center: np.ndarray
    theta: np.ndarray
    peak: float
    whitening: np.ndarray | None = None

    @cached_property
    def width(self) -> int:
        """Rows of a part of a block: few enough for BLAS's path for small products."""
        K, p = self.theta.shape
        width = min(max(SMALL_PRODUCT // (K * p), 200), 4000) // 8 * 8
        return width - 8 if width % 512 == 0 else width  # such strides collide in the cache

    @cached_property
    def n_slices(self) -> int:
        """Equal slices of the features in the second product: each gives a small result."""
        K, p = self.theta.shape
        fewest = -(-K * p // SMALL_RESULT)
        usable = (n for n in range(fewest, p // 8 + 1) if p % n == 0)
        return next(usable, 1)

    @property
    def block_rows(self) -> int:
        """Rows of a block: a whole number of parts."""
        K, p = self.theta.shape
        return self.width * min(max(WORK_BYTES // (8 * (K + p) * self.width), 1), 32)

    def log_joint(self, X: np.ndarray) -> np.ndarray:
        """log(weight) + log-density of each row, shape (n_components, n_rows)."""
        if not isinstance(X, np.ndarray):
            return _array_api.feature_log_joint(self, X)
        phi, spare, resp, _, _ = self._features(X)
        basis = self._density_features(phi, spare)
        np.matmul(self.density_theta, _split(basis, self.width), out=_split(resp, self.width))
        return resp[:, : len(X)].copy()

    def statistics(self, blocks: Iterable) -> GaussianStatistics | None:
        """Statistics of all rows of the blocks, under this kernel's parameters."""
        blocks, foreign = _array_api.peeked(blocks)
        if foreign:
            return self._unpacked(*_array_api.feature_sums(self, blocks))
        sums, total, weight, empty = np.zeros_like(self.theta), 0.0, 0.0, True
        theta = self.density_theta.copy()
        theta[:, len(self.center)] -= self.peak
        for block in blocks:
            empty = False
            phi, spare, resp, density, logs = self._features(block.X)
            w = _padded(block.weight, len(block.X), phi.shape[1])
            basis = self._density_features(phi, spare)
            np.matmul(theta, _split(basis, self.width), out=_split(resp, self.width))
            np.maximum(resp, LOWEST_EXP, out=resp)
            np.exp(resp, out=resp)
            np.sum(resp, axis=0, out=density)
            if density.min() < RESCUE_BELOW:
                total += _rescue(theta, basis, resp, density, w)
            np.log(density, out=logs)
            np.divide(1.0 if w is None else w, density, out=density)
            resp *= density
            self._add_products(sums, resp, phi)
            block_weight = len(block.X) if block.weight is None else block.weight.sum()
            total += (logs.sum() if w is None else w @ logs) + self.peak * block_weight
            weight += block_weight
        return None if empty else self._unpacked(sums, weight, total)

    #: Rows of further features that log-densities need, see `_density_features`.
    n_spare = 0

    @property
    def density_theta(self) -> np.ndarray:
        """Coefficients of the log-densities, for the features that `_density_features` gives."""
        return self.theta

    def _density_features(self, phi: np.ndarray, spare: np.ndarray) -> np.ndarray:
        """Features of log-densities: those of statistics, unless fewer will do."""
        return phi

    def _features(self, X: np.ndarray) -> tuple:
        """phi of shape (p, m), and work arrays (n_spare, m), (n_components, m), (m,) and (m,).

        m is the number of rows, filled up with zeros to a multiple of `width`. All arrays are
        valid until the next call in this thread.
        """
        (n_rows, d), (K, p) = X.shape, self.theta.shape
        m = -(-n_rows // self.width) * self.width
        lead = d // 2 if self.products == "outer" else 0
        shapes = ((lead + p, m), (self.n_spare, m), (K, m), (m,), (m,))
        work, spare, resp, density, logs = scratch(*shapes)
        phi = work[lead:]
        z, one, quadratic = phi[:d], phi[d], phi[d + 1 :]
        np.subtract(X.T, self.center[:, None], out=z[:, :n_rows])
        z[:, n_rows:] = 0.0
        one[:] = 1.0
        if self.products == "outer":
            # All pairs by cyclic shifts: with its last rows repeated in front, z times z shifted
            # is one operation, and there are only d / 2 shifts.
            work[:lead] = z[d - lead :]
            for shift in range(lead + 1):
                rows = slice(shift * d, min((shift + 1) * d, len(quadratic)))
                n_pairs = rows.stop - rows.start
                shifted = work[lead - shift : lead - shift + n_pairs]
                np.multiply(z[:n_pairs], shifted, out=quadratic[rows])
        elif self.products == "square":
            np.multiply(z, z, out=quadratic)
        else:
            y = z if self.whitening is None else self.whitening.T @ z
            np.einsum("dm,dm->m", y, y, out=quadratic[0])
        return phi, spare, resp, density, logs

    def _add_products(self, sums: np.ndarray, resp: np.ndarray, phi: np.ndarray) -> None:
        """``sums += resp @ phi.T``, in slices of features that BLAS multiplies without packing."""
        (K, p), n_slices = sums.shape, self.n_slices
        features = _split(phi, self.width).reshape(-1, n_slices, p // n_slices, self.width)
        # The slices of a part come one after the other, so that it is still in the cache.
        products = _split(resp, self.width)[:, None] @ features.transpose(0, 1, 3, 2)
        sums += products.sum(axis=0).transpose(1, 0, 2).reshape(K, p)

    def _unpacked(self, sums: np.ndarray, weight: float, total: float) -> GaussianStatistics:
        K, d = len(sums), len(self.center)
        counts, first, rest = sums[:, d].copy(), sums[:, :d].copy(), sums[:, d + 1 :]
        if self.products == "outer":
            second = np.empty((K, d, d))
            i, j = pairs(d)
            second[:, i, j] = second[:, j, i] = rest
        elif self.products == "square":
            second = rest.copy()
        else:
            second = None if self.whitening is not None else rest[:, 0].copy()
        anchors = np.broadcast_to(self.center, (K, d))
        return GaussianStatistics(float(weight), float(total), counts, first, second, anchors)


@lru_cache(maxsize=32)
def pairs(d: int) -> tuple[np.ndarray, np.ndarray]:
    """Every unordered pair of features once, in the order of cyclic shifts."""
    place = np.arange(d * (d + 1) // 2)
    return place % d, (place % d - place // d) % d


def _padded(weight, n_rows: int, m: int) -> np.ndarray | None:
    """Weights of shape (m,), zero for padding; None when all would be one."""
    if weight is None and m == n_rows:
        return None
    w = np.zeros(m)
    w[:n_rows] = 1.0 if weight is None else weight
    return w


def _rescue(theta, phi, resp, density, w) -> float:
    """Redo rows so far from every component that their densities left the range of exp.

    Sets their entries of `resp` and `density` relative to their own largest log-density; returns
    the weighted sum of these largest log-densities.
    """
    rows = np.flatnonzero(density < RESCUE_BELOW)
    log_joint = theta @ phi[:, rows]  # (n_components, n_rescued)
    top = log_joint.max(axis=0)
    resp[:, rows] = np.exp(log_joint - top)
    density[rows] = resp[:, rows].sum(axis=0)
    return float(top.sum() if w is None else w[rows] @ top)


# --------------------------------------------------------------------------- triangular


@dataclass(frozen=True)
class TriangularKernel:
    """E-step by whitening, statistics about anchors over the rows that matter.

    Attributes
    ----------
    means : ndarray of shape (n_components, n_features)
    factors : ndarray of shape (n_components, n_features, n_features) or (n_components, n_features)
        Upper triangular U with precision U U', or the square roots of diagonal precisions.
    log_norm : ndarray of shape (n_components,)
        log(weight) + log-density at the mean.
    anchors : ndarray of shape (n_components, n_features)
    """

    means: np.ndarray
    factors: np.ndarray
    log_norm: np.ndarray
    anchors: np.ndarray

    @property
    def block_rows(self) -> int:
        """Rows of a block."""
        K, d = self.means.shape
        return min(max(WORK_BYTES // (8 * (3 * d + K)), 512), 8000) // 8 * 8

    def log_joint(self, X: np.ndarray) -> np.ndarray:
        """log(weight) + log-density of each row, shape (n_components, n_rows)."""
        if not isinstance(X, np.ndarray):
            return _array_api.triangular_log_joint(self, X)
        return self._log_joint(X, np.empty((len(self.means), len(X))))

    def _log_joint(self, X, out):
        Z, centred, y = scratch(*[X.shape[::-1]] * 3)  # (n_features, n_rows)
        Z[:] = X.T
        for k, mean in enumerate(self.means):
            np.subtract(Z, mean[:, None], out=centred)
            if self.factors.ndim == 3:
                whiten(self.factors[k], centred, y)
            else:
                np.multiply(centred, self.factors[k][:, None], out=y)
            np.multiply(y, y, out=y)
            np.sum(y, axis=0, out=out[k])
        out *= -0.5
        out += self.log_norm[:, None]
        return out

    def statistics(self, blocks: Iterable) -> GaussianStatistics | None:
        """Statistics of all rows of the blocks, under this kernel's parameters."""
        blocks, foreign = _array_api.peeked(blocks)
        if foreign:
            return GaussianStatistics(*_array_api.triangular_sums(self, blocks), self.anchors)
        K = len(self.anchors)
        sums = AnchoredSums(self.anchors, full=self.factors.ndim == 3)
        resp, log_likelihood = np.empty((K, 0)), 0.0
        for block in blocks:
            if resp.shape[1] != len(block.X):
                resp = np.empty((K, len(block.X)))
            self._log_joint(block.X, resp)
            norm = logsumexp0(resp)
            resp -= norm
            np.maximum(resp, LOWEST_EXP, out=resp)
            np.exp(resp, out=resp)
            log_likelihood += norm.sum() if block.weight is None else block.weight @ norm
            sums.add(block.X, block.weight, resp)
        return sums.statistics(float(log_likelihood)) if sums.weight > 0 else None


def whiten(U: np.ndarray, centred: np.ndarray, out: np.ndarray) -> None:
    """``out = U' @ centred``, skipping blocks of U that are zero below its diagonal."""
    d, m = centred.shape
    n_slices = max(1, round(d / SLICE))
    bounds = [d * i // n_slices for i in range(n_slices + 1)]
    width = max(SMALL_PRODUCT * n_slices // d**2, 64) // 8 * 8
    whole = m // width * width
    for a, b in pairwise(bounds):
        triangle = U[:b, a:b].T
        if whole:
            np.matmul(
                triangle, _split(centred[:b, :whole], width), out=_split(out[a:b, :whole], width)
            )
        if whole < m:
            np.matmul(triangle, centred[:b, whole:], out=out[a:b, whole:])


def _split(work: np.ndarray, width: int) -> np.ndarray:
    """(n, m) seen as (m / width, n, width): products of matrices run on parts."""
    return work.reshape(len(work), -1, width).transpose(1, 0, 2)
