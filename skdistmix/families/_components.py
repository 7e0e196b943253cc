"""Gaussian components that stand alone, of one mixture or of many, and what lies between them.

A mixture with a shared covariance is one in which all components happen to have the same; here
each has its own, so that components of different mixtures can be put side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ._base import Moments
from ._factors import precision_factor

__all__ = ["COSTS", "GaussianComponents", "log_overlaps"]

LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class GaussianComponents:
    """Components with their masses.

    Attributes
    ----------
    weights : ndarray of shape (n_components,)
        Masses; of a mixture they sum to one.
    means : ndarray of shape (n_components, n_features)
    covariances : ndarray of shape (n_components, n_features, n_features) or \
(n_components, n_features)
        Matrices, or variances of uncorrelated features.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    @classmethod
    def join(cls, parts: Sequence[GaussianComponents]) -> GaussianComponents:
        """The components of several mixtures, one after the other."""
        fields = ("weights", "means", "covariances")
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in fields))

    def pick(self, index) -> GaussianComponents:
        """Some of the components."""
        return GaussianComponents(self.weights[index], self.means[index], self.covariances[index])

    def scaled(self, factor: float) -> GaussianComponents:
        """The same components with their masses multiplied."""
        return replace(self, weights=self.weights * factor)

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def n_features(self) -> int:
        return self.means.shape[1]

    @property
    def are_matrices(self) -> bool:
        """Whether covariances are matrices."""
        return self.covariances.ndim == 3

    @property
    def is_finite(self) -> bool:
        """Whether they describe densities: finite, masses not negative, variances positive."""
        values = (self.weights, self.means, self.covariances)
        if not all(np.isfinite(value).all() for value in values):
            return False
        if (self.weights < 0).any() or not self.weights.sum() > 0:
            return False
        if not self.are_matrices:
            return bool((self.covariances > 0).all())
        transposed = self.covariances.transpose(0, 2, 1)
        if not np.allclose(self.covariances, transposed, rtol=1e-6, atol=0):
            return False
        try:
            np.linalg.cholesky(self.covariances)
        except np.linalg.LinAlgError:
            return False
        return True

    @cached_property
    def factors(self) -> np.ndarray:
        """Upper triangular U with U U' the precision, or inverse standard deviations."""
        if not self.are_matrices:
            return 1.0 / np.sqrt(self.covariances)
        return np.stack([precision_factor(c, k) for k, c in enumerate(self.covariances)])

    @cached_property
    def log_determinants(self) -> np.ndarray:
        """Of the covariances, shape (n_components,)."""
        if self.are_matrices:
            return np.linalg.slogdet(self.covariances)[1]
        return np.log(self.covariances).sum(axis=1)

    @cached_property
    def roots(self) -> np.ndarray:
        """Symmetric square roots of the covariances, or standard deviations."""
        return symmetric_root(self.covariances) if self.are_matrices else np.sqrt(self.covariances)

    def moments(self, weight: float) -> Moments:
        """First two moments of the mixture, as those of rows of so much weight."""
        masses = self.weights / self.weights.sum()
        mean = masses @ self.means
        offset = self.means - mean
        scatter = np.tensordot(masses, self.covariances, 1)
        weighted = offset * masses[:, None]
        scatter += weighted.T @ offset if self.are_matrices else (weighted * offset).sum(axis=0)
        none = np.empty((0, self.n_features))
        return Moments(weight, 0, mean, weight * scatter, mean - np.inf, mean + np.inf, none, 0)

    def sample(self, counts, rng) -> np.ndarray:
        """Draw ``counts[k]`` rows from each component, stacked in the order of components."""
        drawn = []
        for mean, root, count in zip(self.means, self.roots, counts, strict=True):
            white = rng.standard_normal((int(count), self.n_features))
            drawn.append(mean + (white @ root if root.ndim == 2 else white * root))
        return np.vstack(drawn)

    def merged(self, i, j) -> GaussianComponents:
        """Pairs of components made one each, of the same mass, mean and covariance."""
        a, b = self.pick(i), self.pick(j)
        weights = a.weights + b.weights
        share = b.weights / weights
        offset = b.means - a.means
        means = a.means + share[:, None] * offset
        between = share * (1 - share)
        if self.are_matrices:
            share, between = share[:, None], between[:, None]
            between = between[:, :, None] * offset[:, :, None] * offset[:, None, :]
        else:
            between = between[:, None] * offset**2
        share = share[:, None]
        covariances = (1 - share) * a.covariances + share * b.covariances + between
        return GaussianComponents(weights, means, covariances)

    def split(self, i: int, direction: np.ndarray) -> GaussianComponents:
        """The same components with i made two of half its mass, whose merger it is.

        The two lie at `direction` to either side of its mean, in the coordinates in which its
        covariance is the identity. Its length is below one.
        """
        root, half = self.roots[i], self.pick([i]).scaled(0.5)
        offset = direction @ root if self.are_matrices else direction * root
        spread = np.outer(offset, offset) if self.are_matrices else offset**2
        left, right = (
            GaussianComponents(half.weights, half.means + side, half.covariances - spread)
            for side in (-offset, offset)
        )
        others = [k for k in range(len(self)) if k != i]
        return GaussianComponents.join([self.pick(others), left, right])

    def replaced(self, i: int, one: GaussianComponents) -> GaussianComponents:
        """The same components with another in the place of component i."""
        parts = []
        for name in ("weights", "means", "covariances"):
            parts.append(getattr(self, name).copy())
            parts[-1][i] = getattr(one, name)[0]
        result = GaussianComponents(*parts)
        determinants = self.log_determinants.copy()  # which would be worked out again for all
        determinants[i] = one.log_determinants[0]
        vars(result)["log_determinants"] = determinants
        return result

    def merge_costs(self, i, j) -> np.ndarray:
        """What merging pairs of components loses (Runnalls 2007, equation 16)."""
        merged, own = self.merged(i, j), self.weights * self.log_determinants
        return 0.5 * (merged.weights * merged.log_determinants - own[i] - own[j])


# --------------------------------------------------------------------------- divergences


def kullback_leibler(a: GaussianComponents, b: GaussianComponents) -> np.ndarray:
    """KL(a_i || b_j) of Gaussian densities, shape (len(a), len(b)).

    The masses play no part, here and in the other divergences.
    """
    if a.are_matrices:
        precisions = b.factors @ b.factors.transpose(0, 2, 1)
        trace = a.covariances.reshape(len(a), -1) @ precisions.reshape(len(b), -1).T
    else:
        trace = a.covariances @ (b.factors**2).T
    squares = np.stack([_squares(a.means - m, U) for m, U in zip(b.means, b.factors)], axis=1)
    determinants = b.log_determinants[None, :] - a.log_determinants[:, None]
    # Rounding must not make a component nearer to another than to itself.
    return np.maximum(0.5 * (determinants + trace + squares - a.n_features), 0.0)


def wasserstein(a: GaussianComponents, b: GaussianComponents) -> np.ndarray:
    """Squared 2-Wasserstein distances between Gaussian densities (Dowson and Landau 1982)."""
    squares = np.stack([((a.means - m) ** 2).sum(axis=1) for m in b.means], axis=1)
    if not a.are_matrices:
        apart = [((a.roots - root) ** 2).sum(axis=1) for root in b.roots]
        return squares + np.stack(apart, axis=1)
    traces = np.trace(a.covariances, axis1=1, axis2=2)
    apart = []
    for root, covariance in zip(b.roots, b.covariances):
        spectra = np.linalg.eigvalsh(root @ a.covariances @ root)
        cross = np.sqrt(np.maximum(spectra, 0.0)).sum(axis=1)
        apart.append(traces + np.trace(covariance) - 2.0 * cross)
    return squares + np.maximum(np.stack(apart, axis=1), 0.0)


def cauchy_schwarz(a: GaussianComponents, b: GaussianComponents) -> np.ndarray:
    """-log of the cosine between densities as square-integrable functions (Jenssen et al. 2006)."""
    own = 0.5 * (_log_norms(a)[:, None] + _log_norms(b)[None, :])
    return np.maximum(own - log_overlaps(a, b), 0.0)


#: Divergences between components by name.
COSTS = {"kl": kullback_leibler, "w2": wasserstein, "cauchy-schwarz": cauchy_schwarz}


def log_overlaps(a: GaussianComponents, b: GaussianComponents) -> np.ndarray:
    """Logarithms of the integrals of products of densities, shape (len(a), len(b)).

    The integral is the density of N(0, A_i + B_j) at the difference of the means; in high
    dimension it leaves the range of numbers, its logarithm does not.
    """
    rows = []
    for mean, covariance in zip(b.means, b.covariances):
        total, offset = a.covariances + covariance, a.means - mean
        if a.are_matrices:
            lower = np.linalg.cholesky(total)
            white = np.linalg.solve(lower, offset[:, :, None])[:, :, 0]
            determinants = 2.0 * np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
            squares = (white**2).sum(axis=1)
        else:
            determinants, squares = np.log(total).sum(axis=1), (offset**2 / total).sum(axis=1)
        rows.append(-0.5 * (a.n_features * LOG_2PI + determinants + squares))
    return np.stack(rows, axis=1)


def _log_norms(components: GaussianComponents) -> np.ndarray:
    """Logarithms of the integrals of squared densities."""
    d = components.n_features
    return -0.5 * (d * (LOG_2PI + np.log(2.0)) + components.log_determinants)


def _squares(offset: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Mahalanobis squares of rows."""
    white = offset @ factor if factor.ndim == 2 else offset * factor
    return (white**2).sum(axis=1)


def symmetric_root(matrices: np.ndarray) -> np.ndarray:
    """Symmetric square roots of positive semidefinite matrices (last two axes)."""
    sizes, axes = np.linalg.eigh(matrices)
    return (axes * np.sqrt(np.maximum(sizes, 0.0))[..., None, :]) @ np.swapaxes(axes, -1, -2)
