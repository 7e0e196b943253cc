"""From sums of scores to the covariance matrix of the estimates of a Gaussian mixture.

The coordinates are those of :mod:`._scores`, each divided by the root of its component's weight.
Were the components of rows known, the information of a row would be the unit matrix; that they are
not lowers its eigenvalues towards zero. So the matrix that is inverted is well scaled, whatever the
units of the data, and a small eigenvalue has a meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import lapack

from ._kernels import pairs
from ._scores import ScoreKernel, ScoreSums

__all__ = ["Information", "SingularInformationError", "gaussian_information"]

SINGULAR = 1e-10  # share of the information of complete rows below which only rounding is left


class SingularInformationError(ValueError):
    """The observed information has no positive definite inverse: no standard errors exist."""


@dataclass(frozen=True)
class Information:
    """What rows say of the p free parameters of a mixture, in some coordinates, a unit of weight.

    Attributes
    ----------
    weight : float
        Sum of row weights.
    observed : ndarray of shape (p, p)
        Minus the mean of the second derivatives of the log-density.
    complete : ndarray of shape (p, p)
        The same of complete rows: about the unit matrix.
    products : ndarray of shape (p, p)
        Mean of s s', s being the derivatives of the log-density at a row.
    score : ndarray of shape (p,)
        Mean of s: zero at a maximum of the likelihood.
    jacobian : ndarray of shape (m, p)
        Derivatives of the m parameters that users see by the coordinates.
    component : ndarray of shape (m,)
        The component that each of these belongs to, -1 for what all share.
    entries : dict
        Where the m parameters stand: for each attribute of the parameters its index arrays, and
        those of entries that are the same (the other triangle of a symmetric matrix).
    free : ndarray of shape (p,)
        Which of the m parameters determine the others: not the last weight, and none of weights
        that are held equal.
    """

    weight: float
    observed: np.ndarray
    complete: np.ndarray
    products: np.ndarray
    score: np.ndarray
    jacobian: np.ndarray
    component: np.ndarray
    entries: dict
    free: np.ndarray

    @cached_property
    def inverse(self) -> np.ndarray:
        """Inverse of the observed information.

        Raises
        ------
        SingularInformationError
            If it is not positive definite.
        """
        lower, failed = lapack.dpotrf(self.observed, lower=1, clean=1)
        if failed == 0:
            norm = np.abs(self.observed).sum(axis=0).max()
            failed = lapack.dpocon(lower, norm, uplo="L")[0] < SINGULAR
        if failed != 0:
            raise SingularInformationError(self._singular())
        inverse, _ = lapack.dpotri(lower, lower=1)
        return np.tril(inverse) + np.tril(inverse, -1).T

    def covariance(self, sandwich: bool) -> np.ndarray:
        """Covariance matrix of the estimates that users see, shape (m, m)."""
        inner = self.inverse
        if sandwich:
            inner = inner @ self.products @ inner
        return self.jacobian @ inner @ self.jacobian.T / self.weight

    def newton_step(self) -> np.ndarray:
        """How far the parameters that users see are from the maximum of the likelihood, (m,)."""
        return self.jacobian @ (self.inverse @ self.score)

    @property
    def names(self) -> list[str]:
        """Names of the m parameters, such as "means[0, 1]"."""
        return [
            f"{name}[{', '.join(map(str, place))}]"
            for name, (index, _) in self.entries.items()
            for place in zip(*index)
        ]

    def vector_of(self, params) -> np.ndarray:
        """The m parameters."""
        return np.concatenate([getattr(params, n)[i] for n, (i, _) in self.entries.items()])

    def arrays_of(self, vector, like) -> dict:
        """One number for each of the m parameters, as arrays shaped like the parameters `like`."""
        arrays, start = {}, 0
        for name, (index, same) in self.entries.items():
            arrays[name] = np.empty_like(getattr(like, name))
            stop = start + len(index[0])
            arrays[name][index] = arrays[name][same] = vector[start:stop]
            start = stop
        return arrays

    def _singular(self) -> str:
        sizes, axes = np.linalg.eigh(self.observed)
        moved = np.abs(self.jacobian @ axes[:, 0]) / np.linalg.norm(self.jacobian, axis=1).clip(
            np.finfo(float).tiny
        )
        worst = self.component[moved.argmax()]
        which = "the shared covariance" if worst < 0 else f"component {worst}"
        state = (
            "is singular" if abs(sizes[0]) < SINGULAR * sizes[-1] else "has a negative direction"
        )
        return (
            f"The observed information {state}, most of all in {which}: the parameters are at no "
            "proper maximum of the likelihood, and there are no standard errors."
        )


def gaussian_information(
    kernel: ScoreKernel, params, sums: ScoreSums, equal_weights: bool = False
) -> Information:
    """The information that sums of scores hold.

    By the identity of Louis (1982) the observed information is that of the complete rows, less the
    sum of posterior * h h', plus the sum of s s', with h and s the scores of a component and of the
    mixture. Weights are restricted to directions in which their sum does not change, or held.

    Parameters
    ----------
    kernel : ScoreKernel
    params : GaussianParams
        Of positive weights.
    sums : ScoreSums
        Of the kernel.
    equal_weights : bool
        Whether weights are held equal.

    Returns
    -------
    Information
        The parameters are the weights, the means and the entries of the covariances (those on and
        above the diagonal), row by row.

    References
    ----------
    Louis, T. A. (1982). Finding the observed information matrix when using the EM algorithm.
    JRSS-B 44, 226-233.

    Boldea, O. and Magnus, J. R. (2009). Maximum likelihood estimation of the multivariate normal
    mixture model. JASA 104, 1539-1549.
    """
    K, d = params.means.shape
    roots = np.sqrt(params.weights)
    observed, score = sums.products.copy(), np.zeros(len(sums.products))
    complete = np.zeros_like(observed)
    scale = np.ones(len(score))
    for k, own in enumerate(sums.complete):
        place = kernel.place(k)
        block = np.ix_(place, place)
        complete[block] += _complete_information(own, d, kernel.quadratics)
        observed[block] -= own
        score[place] += own[0]
        scale[place[: 1 + d] if kernel.shared else place] = 1.0 / roots[k]
    jacobian, component = _jacobian(kernel, params, len(score))
    # An orthonormal basis of the changes of weights that leave their sum: those orthogonal to roots
    basis = np.linalg.qr(roots[:, None], mode="complete")[0][:, 1:]
    if equal_weights:
        basis = basis[:, :0]

    def restricted(array):
        """Along the first axis: in units of the coordinates, weights in directions of the basis."""
        array = scale.reshape(-1, *(1,) * (array.ndim - 1)) * array
        return np.concatenate([basis.T @ array[:K], array[K:]])

    observed += complete
    observed, complete, products = (
        restricted(restricted(matrix).T) / sums.weight
        for matrix in (observed, complete, sums.products)
    )
    return Information(
        sums.weight,
        observed,
        complete,
        products,
        restricted(score) / sums.weight,
        restricted(jacobian.T).T,
        component,
        _entries(params, kernel.quadratics == "outer"),
        np.delete(np.arange(len(jacobian)), np.arange(0 if equal_weights else K - 1, K)),
    )


def _entries(params, are_matrices: bool) -> dict:
    """Index arrays of the parameters that users see, see :class:`Information`."""
    entries = {}
    for name in ("weights", "means", "covariances"):
        index = same = tuple(i.ravel() for i in np.indices(getattr(params, name).shape))
        if name == "covariances" and are_matrices:
            upper = index[-2] <= index[-1]
            index = tuple(i[upper] for i in index)
            same = (*index[:-2], index[-1], index[-2])
        entries[name] = (index, same)
    return entries


def _complete_information(own: np.ndarray, d: int, quadratics: str) -> np.ndarray:
    """Sum over rows of posterior * minus the second derivatives of one component's log-density.

    But for a constant it is -log det(I + S) / 2 - (y - a)'(I + S)^-1 (y - a) / 2, whose terms of
    second order in a and S are trace(S S) / 4 - (a'a + 2 a'S y + y'S S y) / 2.

    Parameters
    ----------
    own : ndarray of shape (q, q)
        Sums of posterior * h h'. Its first row has the sums of all that is needed.
    """
    count, first, rest = own[0, 0], own[0, 1 : 1 + d], own[0, 1 + d :]
    if quadratics == "outer":
        i, j = pairs(d)
        second = np.empty((d, d))
        second[i, j] = second[j, i] = rest
        second[np.diag_indices(d)] = np.sqrt(2.0) * rest[:d] + count  # sums of posterior * y y'
        by_mean, by_both = _of_means(first, i, j), _of_squares(second, i, j)
    elif quadratics == "square":
        by_mean = np.diag(np.sqrt(2.0) * first)
        by_both = np.diag(2.0 * (np.sqrt(2.0) * rest + count))
    else:
        by_mean = np.sqrt(2.0 / d) * first[:, None]
        by_both = 2.0 / d * (np.sqrt(2.0 * d) * rest + d * count)[:, None]
    information = np.zeros_like(own)
    mean, quadratic = slice(1, 1 + d), slice(1 + d, None)
    information[0, 0] = count
    information[mean, mean] = count * np.eye(d)
    information[mean, quadratic], information[quadratic, mean] = by_mean, by_mean.T
    information[quadratic, quadratic] = by_both - count * np.eye(len(rest))
    return information


def _jacobian(kernel: ScoreKernel, params, n_coordinates: int) -> tuple:
    """Derivatives of what users see by the coordinates, and the component each row belongs to."""
    K, d = params.means.shape
    covariances = params.covariances.reshape(1 if kernel.shared else K, -1)
    if kernel.quadratics == "outer":
        i, j = np.triu_indices(d)
        n_entries, (a, b) = len(i), pairs(d)
    else:
        n_entries = covariances.shape[1]
    n_before = K + K * d
    jacobian = np.zeros((n_before + n_entries * len(covariances), n_coordinates))
    component = np.full(len(jacobian), -1)
    for k in range(K):
        place, means = kernel.place(k), slice(K + k * d, K + (k + 1) * d)
        first = n_before + (0 if kernel.shared else k * n_entries)
        entries = slice(first, first + n_entries)
        factor = kernel.factors[k]
        root = np.linalg.inv(factor).T if factor.ndim == 2 else np.diag(1.0 / factor)
        jacobian[k, place[0]] = params.weights[k]
        jacobian[means, place[1 : 1 + d]] = root
        if kernel.quadratics == "outer":
            by_entries = _of_entries(root, i, j, a, b)
        elif kernel.quadratics == "square":
            by_entries = np.sqrt(2.0) * np.diag(covariances[k])
        else:
            by_entries = np.sqrt(2.0 / d) * covariances[k][:, None]
        jacobian[entries, place[1 + d :]] = by_entries
        component[k] = component[means] = k
        if not kernel.shared:
            component[entries] = k
    return jacobian, component


# Symmetric matrices are S = sum_t s_t E_t with E_t = e_a e_b' + e_b e_a' for a != b, and
# sqrt(2) e_a e_a' on the diagonal; the pairs (a, b) of all t are given as two index arrays.


def _size(a, b) -> np.ndarray:
    return np.where(a == b, np.sqrt(0.5), 1.0)


def _of_means(vector, a, b) -> np.ndarray:
    """Columns E_t vector, shape (len(vector), len(a))."""
    columns, t = np.zeros((len(vector), len(a))), np.arange(len(a))
    columns[a, t] += vector[b]
    columns[b, t] += vector[a]
    return columns * _size(a, b)


def _of_squares(matrix, a, b) -> np.ndarray:
    """trace(E_t matrix E_u), shape (len(a), len(a))."""
    size, same = _size(a, b), np.eye(len(matrix))
    traces = np.zeros((len(a), len(a)))
    for c, d in ((a, b), (b, a)):
        traces += matrix[np.ix_(a, c)] * same[np.ix_(b, d)]
        traces += matrix[np.ix_(b, c)] * same[np.ix_(a, d)]
    return traces * size * size[:, None]


def _of_entries(root, i, j, a, b) -> np.ndarray:
    """Entries (i, j) of root E_t root', shape (len(i), len(a))."""
    entries = root[np.ix_(i, a)] * root[np.ix_(j, b)] + root[np.ix_(i, b)] * root[np.ix_(j, a)]
    return entries * _size(a, b)
