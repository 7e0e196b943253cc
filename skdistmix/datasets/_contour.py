"""Misclassification probabilities of two Gaussian components, by one contour integral.

Let i and j be two components with weights p_i, p_j and densities f_i, f_j. The function

    C(u) = integral of (p_i f_i(x))^(1 - u) (p_j f_j(x))^u dx

has a closed form and holds both probabilities: with 0 < Re u < 1 on the way from below to above,

    p_i P(i loses to j) = 1 / (2 pi i) * integral of C(u) / u du,
    p_j P(j loses to i) = 1 / (2 pi i) * integral of C(u) / (1 - u) du.

Rounding the pole at 0, this is the inversion formula of Gil-Pelaez (1951) and Imhof (1961), whose
integrand decays slowly and oscillates on the line Re u = 0. As in Rice (1980) the line is moved to
the real saddle point, so that small probabilities are no differences of large numbers, and bent to
the side on which C dies first. There the trapezoidal rule converges exponentially.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, ndtr

__all__ = ["Pairs", "misclassification"]

# Eigenvalues that are nearer to 1 than this share of the distance of the means are taken for 1, and
# so are those of components that differ by no more than it, which is what rounding leaves.
EQUAL = 1e-10
# To the left, to the right, straight on. Beyond 45 degrees off the upright a Gaussian C grows, on
# the upright C may not decay; the rule converges fastest in the middle between the two.
BENDS = (-np.tan(np.pi / 8), np.tan(np.pi / 8), 0.0)
# Where along a contour C is looked at: up to exp(60), where even C ~ |u|^(-1/2) has died.
OUTLOOK = 0.15 * np.arange(21) ** 2
DEAD, GROWN = np.log(1e-13), np.log(1e3)  # against the size at the saddle point
FEWEST_NODES, MOST_NODES = 32, 2**15


@dataclass(frozen=True)
class Pairs:
    """Pairs (i, j) of components in coordinates in which i is standard and j is diagonal.

    Attributes
    ----------
    log_ratio : ndarray of shape (n_pairs,)
        log(p_j / p_i).
    eigenvalues : ndarray of shape (n_pairs, n_features)
        Of the precision of j against that of i; positive.
    distances : ndarray of shape (n_pairs, n_features)
        Squared differences of the means in units of j; they sum to its squared Mahalanobis
        distance.
    """

    log_ratio: np.ndarray
    eigenvalues: np.ndarray
    distances: np.ndarray

    def __len__(self) -> int:
        return len(self.log_ratio)

    def __getitem__(self, which) -> Pairs:
        return Pairs(self.log_ratio[which], self.eigenvalues[which], self.distances[which])

    def separated(self, factor: float) -> Pairs:
        """The pairs when all differences of means are multiplied by a factor, which may be 0.

        The same as when all covariances are divided by its square.
        """
        return Pairs(self.log_ratio, self.eigenvalues, self.distances * factor**2)


def misclassification(pairs: Pairs) -> np.ndarray:
    """Probabilities that a row of i is given to j and that a row of j is given to i.

    Parameters
    ----------
    pairs : Pairs

    Returns
    -------
    ndarray of shape (n_pairs, 2)
        Absolute errors are below 1e-9. Ties, of equal components with equal weights, are split:
        both probabilities are one half.

    References
    ----------
    Imhof, J. P. (1961). Computing the distribution of quadratic forms in normal variables.
    Biometrika 48, 419-426.

    Rice, S. O. (1980). Distribution of quadratic forms in normal random variables - evaluation by
    numerical integration. SIAM Journal on Scientific and Statistical Computing 1, 438-448.
    """
    probabilities = np.empty((len(pairs), 2))
    unlike = np.abs(pairs.eigenvalues - 1.0).max(axis=1)
    distance = np.sqrt(pairs.distances.sum(axis=1))
    equal = (unlike <= EQUAL * distance) | (np.maximum(unlike, distance) <= EQUAL)
    probabilities[equal] = _equal_covariances(pairs[equal])
    probabilities[~equal] = _integrals(pairs[~equal])
    return np.clip(probabilities, 0.0, 1.0)


def _equal_covariances(pairs: Pairs) -> np.ndarray:
    """The log of the ratio is then normal, with the Mahalanobis distance as deviation."""
    distance = np.sqrt(pairs.distances.sum(axis=1))
    # of equal components the heavier wins always
    lead = np.stack([pairs.log_ratio, -pairs.log_ratio], axis=1)  # (n_pairs, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        score = lead / distance[:, None] - distance[:, None] / 2
    return ndtr(np.where(lead == 0, -distance[:, None] / 2, score))


def _integrals(pairs: Pairs) -> np.ndarray:
    """The trapezoidal rule, with the number of nodes doubled until the sums agree.

    Raises
    ------
    ArithmeticError
        If they do not agree; the parameters are then beyond floating point.
    """
    contour = _Contour.of(pairs)
    values = np.empty((len(pairs), 2))
    rest = np.arange(len(pairs))  # whose sums do not agree yet
    n = FEWEST_NODES
    terms = _terms(pairs, contour, np.arange(n) / n)  # at the end of the reach they are 0
    terms[:, 0] /= 2
    total = terms.sum(axis=1)  # (len(rest), 2)
    while len(rest):
        if n >= MOST_NODES:
            raise ArithmeticError(
                f"The overlap of {len(rest)} pairs of components cannot be computed to 9 digits. "
                "Are covariances nearly singular? Add a small multiple of the identity to them."
            )
        old = total / n
        total = total + _terms(pairs[rest], contour[rest], (np.arange(n) + 0.5) / n).sum(axis=1)
        n *= 2
        new = total / n
        done = (np.abs(new - old) <= 1e-9 * np.abs(new) + 1e-12).all(axis=1)
        values[rest[done]] = new[done]
        rest, total = rest[~done], total[~done]
    return values * contour.reach / np.pi


def _terms(pairs: Pairs, contour: _Contour, fractions) -> np.ndarray:
    """Imaginary parts of the integrands at fractions of the reach, (n_pairs, n_nodes, 2)."""
    return np.exp(_log_integrands(pairs, contour, fractions * contour.reach)).imag


@dataclass(frozen=True)
class _Contour:
    """u(x) = centre + scale * (bend * (cosh(x) - 1) + 1j * sinh(x)), 0 <= x <= reach.

    Hyperbolic sines cover all scales on which C may vary, from its saddle to its tail, with nodes
    in proportion to the logarithm of their ratio. All attributes have the shape (n_pairs, 1).
    """

    centre: np.ndarray
    complement: np.ndarray  # 1 - centre, which may be far below the rounding of centre
    scale: np.ndarray
    bend: np.ndarray
    reach: np.ndarray

    def __getitem__(self, which) -> _Contour:
        parts = (self.centre, self.complement, self.scale, self.bend, self.reach)
        return _Contour(*(part[which] for part in parts))

    @classmethod
    def of(cls, pairs: Pairs) -> _Contour:
        """Through the saddle, then left, right or straight on: where the integrands die first."""
        saddle = _saddle(pairs)
        shape = (len(pairs), 1)
        sides = [cls(*saddle, np.full(shape, bend), np.ones(shape)) for bend in BENDS]
        reaches = np.stack([_death(pairs, side) for side in sides])  # (3, n_pairs, 1)
        bend = np.asarray(BENDS)[reaches.argmin(axis=0)]
        return cls(*saddle, bend, np.minimum(reaches.min(axis=0), OUTLOOK[-1]))

    def points(self, x):
        """u, 1 - u and du/dx, each of shape (n_pairs, n_nodes)."""
        step = self.scale * (self.bend * (np.cosh(x) - 1.0) + 1j * np.sinh(x))
        slope = self.scale * (self.bend * np.sinh(x) + 1j * np.cosh(x))
        return self.centre + step, self.complement - step, slope


def _death(pairs: Pairs, contour: _Contour) -> np.ndarray:
    """x by which the integrands have died, (n_pairs, 1); infinite if they grow before that.

    They grow where the contour bends to the wrong side. Beyond the point nothing matters: from
    there the contour may as well go straight up.
    """
    size = _log_integrands(pairs, contour, OUTLOOK).real.max(axis=2)
    size -= size[:, :1]
    dead = size < DEAD
    last = np.where(dead.any(axis=1), dead.argmax(axis=1), len(OUTLOOK) - 1)[:, None]
    grown = (size > GROWN) & (np.arange(len(OUTLOOK)) <= last)
    return np.where(grown.any(axis=1, keepdims=True), np.inf, OUTLOOK[last])


def _log_integrands(pairs: Pairs, contour: _Contour, x) -> np.ndarray:
    """Logs of C(u) / (p_i u) du/dx and of C(u) / (p_j (1 - u)) du/dx, (n_pairs, n_nodes, 2).

    With w = 1 - u + eigenvalue u, log(C / p_i) is u times the log odds, less half the sum over
    features of log(w) + u (1 - u) distance / w.
    """
    u, v, slope = contour.points(x)
    log_c = _log_odds(pairs)[:, None] * u  # log(C / p_i)
    for eigenvalue, distance in zip(pairs.eigenvalues.T, pairs.distances.T):
        w = _mixed(u, v, eigenvalue[:, None])
        log_c -= 0.5 * (np.log(w) + u * v * (distance[:, None] / w))
    return np.stack(
        [log_c + np.log(slope / u), log_c - pairs.log_ratio[:, None] + np.log(slope / v)], axis=2
    )


def _mixed(u, v, eigenvalue):
    """v + eigenvalue * u without cancellation, near u = 1 as well as far out."""
    return np.where(eigenvalue < 0.5, v + eigenvalue * u, 1.0 + (eigenvalue - 1.0) * u)


def _log_odds(pairs: Pairs) -> np.ndarray:
    """log of (p_j / p_i) sqrt(det S_i / det S_j)."""
    return pairs.log_ratio + 0.5 * np.log(pairs.eigenvalues).sum(axis=1)


def _saddle(pairs: Pairs):
    """Where C(u) / (u (1 - u)) is least in (0, 1), as u and 1 - u, and its width there.

    Its log is convex and infinite at both ends, so bisection of its slope cannot fail; it is done
    in logit(u), since the point may be very near to an end.
    """
    log_odds, eigenvalues, distances = _log_odds(pairs), pairs.eigenvalues, pairs.distances
    low, high = np.full((2, len(pairs)), 60.0) * [[-1.0], [1.0]]
    for _ in range(40):
        middle = (low + high) / 2
        u, v = expit(middle)[:, None], expit(-middle)[:, None]
        w = _mixed(u, v, eigenvalues)
        # the derivative of u v / w is (v^2 - eigenvalue u^2) / w^2
        parts = (eigenvalues - 1.0) / w + distances * ((v / w) ** 2 - eigenvalues * (u / w) ** 2)
        slope = log_odds - 0.5 * parts.sum(axis=1) - (1 / u - 1 / v)[:, 0]
        low, high = np.where(slope > 0, low, middle), np.where(slope > 0, middle, high)
    # and that of the derivative is -2 eigenvalue / w^3
    parts = 0.5 * ((eigenvalues - 1.0) / w) ** 2 + distances * eigenvalues / w**3
    curvature = parts.sum(axis=1, keepdims=True) + 1 / u**2 + 1 / v**2
    return u, v, 1 / np.sqrt(curvature)
