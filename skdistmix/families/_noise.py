"""Gaussian mixtures with a component of constant density, for rows that belong to no cluster.

Banfield and Raftery (1993), Fraley and Raftery (1998): the density of noise is one over the volume
in which it may lie. That is a Gaussian component without precision, so kernels need not know of it:
their arrays get a row in which all is zero but the constant of the log-density.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ._base import LOG_OF_ZERO, DegenerateComponentError, Family
from ._gaussian_base import EMPTY, GaussianBase, GaussianParams
from ._gaussian_contract import GaussianContract
from ._kernels import FeatureKernel

__all__ = ["Box", "NoiseFamily", "NoiseParams", "Ranges"]

UNASSIGNED = 1e-9  # share of rows below which rounding may be all that a start calls noise


@dataclass(frozen=True)
class NoiseParams(GaussianParams):
    """Parameters of a Gaussian mixture with noise.

    Attributes
    ----------
    weights, means, covariances, precisions_cholesky : ndarray
        As of ``GaussianParams``, but the weights sum to one less `noise_weight`.
    noise_weight : float or ndarray
        The latter with as many axes as the others have in front.
    """

    noise_weight: float


@dataclass(frozen=True)
class Ranges:
    """Smallest and largest values of rows along some axes; they add over shards.

    Attributes
    ----------
    low, high : ndarray of shape (n_axes,)
    """

    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of_rows(cls, X, center, axes) -> Ranges:
        """Of the rows of a block about a point, along columns of `axes`."""
        values = (X - center) @ axes
        return cls(values.min(axis=0), values.max(axis=0))

    def __add__(self, other: Ranges) -> Ranges:
        return Ranges(np.minimum(self.low, other.low), np.maximum(self.high, other.high))


@dataclass(frozen=True)
class Box:
    """Where noise lies: rows whose coordinates along the axes are within the ranges.

    Attributes
    ----------
    center : ndarray of shape (n_features,)
    axes : ndarray of shape (n_features, n_features)
        Orthonormal, as columns.
    ranges : Ranges
    """

    center: np.ndarray
    axes: np.ndarray
    ranges: Ranges

    @property
    def log_volume(self) -> float:
        """Logarithm of the product of its sides."""
        return float(np.log(self.ranges.high - self.ranges.low).sum())

    def sample(self, n_rows: int, rng) -> np.ndarray:
        """Rows drawn evenly, shape (n_rows, n_features)."""
        low, high = self.ranges.low, self.ranges.high
        return self.center + rng.uniform(low, high, (n_rows, len(low))) @ self.axes.T


@dataclass(frozen=True)
class NoiseFamily(GaussianContract, Family):
    """A Gaussian family and noise.

    Log-joint matrices have a row more, the last, which is that of noise; so have responsibilities
    and the arrays of statistics. Parameters and centres stay those of the components.

    Attributes
    ----------
    gaussian : GaussianBase
    log_volume : float or None
        Of where noise may lie; None until that is known.
    box : Box or None
        None where only the volume is known.
    start_weight : float
        Of noise after an M-step from a start that calls no row noise.
    """

    gaussian: GaussianBase
    log_volume: float | None = None
    box: Box | None = None
    start_weight: float = 0.05

    has_coordinates = True

    def __getattr__(self, name):
        """What covariances are, and the like: as of the Gaussian family."""
        if name == "gaussian" or name.startswith("__"):  # not there yet, as in unpickling
            raise AttributeError(name)
        return getattr(self.gaussian, name)

    @property
    def moments(self):
        """Summary of all rows, that the Gaussian family knows."""
        return self.gaussian.moments

    @property
    def full_scatter(self) -> bool:
        """Whether the first pass needs matrices of second moments, for the axes of the box."""
        return self.log_volume is None or self.gaussian.full_scatter

    def within(self, box: Box) -> NoiseFamily:
        """The same with noise in a box."""
        return replace(self, log_volume=box.log_volume, box=box)

    def prepare(self, moments):
        return replace(self, gaussian=self.gaussian.prepare(moments))

    # ------------------------------------------------------------- EM

    def statistics(self, X, weight, resp, anchors):
        if len(resp) == self.n_components:  # all rows are in components
            resp = np.vstack([resp, np.zeros((1, resp.shape[1]))])
        return self.gaussian.statistics(X, weight, resp, self._with_center(anchors))

    def centers(self, stats):
        return self.gaussian.centers(self._of_components(stats))

    def kernel(self, params, anchors=None):
        family = self.gaussian
        if not family.per_component:
            # It takes the total scatter for that of the components, but noise has a part of it.
            family = family.unconstrained(len(params.means)).prepare(family.moments)
            params = replace(params, precisions_cholesky=self.gaussian._component_factors(params))
        kernel, constant = family.kernel(params, anchors), self._log_noise(params)
        if isinstance(kernel, FeatureKernel):
            return _with_feature_row(kernel, constant)
        added = {name: self._with_center(getattr(kernel, name)) for name in ("means", "anchors")}
        for name in ("factors", "roots"):
            if hasattr(kernel, name):
                values = getattr(kernel, name)
                added[name] = np.concatenate([values, np.zeros_like(values[:1])])
        return replace(kernel, log_norm=np.append(kernel.log_norm, constant), **added)

    def m_step(self, stats, previous=None):
        own, noise = self._of_components(stats), float(stats.counts[-1])
        if own.counts.sum() <= EMPTY * stats.weight:
            raise DegenerateComponentError(
                f"All rows are taken for noise: its density, 1 / {np.exp(self.log_volume):.6g}, is "
                "above that of all components. Give a larger volume as noise, or noise='auto'."
            )
        params = self.gaussian.m_step(own, previous)
        share = noise / (noise + own.counts.sum())
        if previous is None and share < UNASSIGNED:
            share = self.start_weight
        return _beside_noise(params, params.weights, share if share > EMPTY else 0.0)

    def better_anchors(self, stats, params):
        return self.gaussian.better_anchors(self._of_components(stats), params)

    def expected(self, stats, params):
        own = self.gaussian.expected(self._of_components(stats), params)
        return own + float(stats.counts[-1]) * self._log_noise(params)

    def log_prior(self, params):
        return self.gaussian.log_prior(params)

    def with_weights(self, params, weights):
        """Other weights; what they sum to less than one is that of noise."""
        rest = 1.0 - weights.sum()
        if rest < UNASSIGNED:
            rest = getattr(params, "noise_weight", 0.0) or self.start_weight
        return _beside_noise(params, self.gaussian.shares(weights), rest)

    def adopted(self, params):
        return self.with_weights(params, params.weights)

    def coordinates(self, params):
        share = np.asarray(params.noise_weight)
        if not ((share > 0) & (share < 1)).all():
            return None
        weights = params.weights / (1.0 - share[..., None])
        own = self.gaussian.coordinates(replace(params, weights=weights))
        if own is None:
            return None
        logits = np.log(share) - np.log1p(-share)
        return np.concatenate([logits[..., None], own], axis=-1)

    def params_of_coordinates(self, vector, like):
        params = self.gaussian.params_of_coordinates(vector[..., 1:], like)
        share = 1.0 / (1.0 + np.exp(-vector[..., 0]))
        return _beside_noise(params, params.weights, share)

    # ------------------------------------------------------------- the rest of a family

    def log_density(self, X, params):
        alike = replace(params, weights=np.ones(len(params.weights)), noise_weight=1.0)
        return self.kernel(alike).log_joint(X)

    def attributes(self, params):
        return {**super().attributes(params), "noise_weight": params.noise_weight}

    def n_parameters(self):
        return self.n_parameters_of(self.moments.mean.size)

    def n_parameters_of(self, n_features: int) -> int:
        """With the weight of noise and its density, as mclust counts."""
        return self.gaussian.n_parameters_of(n_features) + 2

    def probabilities(self, params):
        return np.append(params.weights, params.noise_weight)

    def sample(self, params, counts, rng):
        if self.box is None:
            raise ValueError(
                f"noise={np.exp(self.log_volume):.6g} says how large the region of the noise is, "
                "but not where: rows can be drawn after a fit with noise='auto'."
            )
        rows = self.gaussian.sample(params, counts[:-1], rng)
        return np.vstack([rows, self.box.sample(int(counts[-1]), rng)])

    def permute(self, params, order):
        return NoiseParams(
            **vars(self.gaussian.permute(params, order)), noise_weight=params.noise_weight
        )

    def score_kernel(self, params):
        raise NotImplementedError(
            "A mixture with noise has no scores, and so no standard errors from these: fit with "
            "noise=None to the rows that are no noise."
        )

    # ------------------------------------------------------------- helpers

    def _log_noise(self, params) -> float:
        """log(weight) + log-density of noise."""
        if params.noise_weight <= 0:
            return LOG_OF_ZERO
        return float(np.log(params.noise_weight)) - self.log_volume

    def _with_center(self, points) -> np.ndarray:
        return np.vstack([points, self.moments.mean])

    @staticmethod
    def _of_components(stats):
        """The statistics without those of noise."""
        second = None if stats.second is None else stats.second[:-1]
        return replace(
            stats, counts=stats.counts[:-1], first=stats.first[:-1], second=second,
            anchors=stats.anchors[:-1],
        )  # fmt: skip


def _beside_noise(params, weights, share) -> NoiseParams:
    """Parameters with weights that sum to one, scaled to leave a share for noise."""
    scaled = weights * (1.0 - np.asarray(share)[..., None])
    return NoiseParams(scaled, params.means, params.covariances, params.precisions_cholesky, share)


def _with_feature_row(kernel: FeatureKernel, constant: float) -> FeatureKernel:
    """The kernel with a component more, whose log-density is a constant."""
    d = len(kernel.center)

    def extended(theta):
        row = np.zeros((1, theta.shape[1]))
        row[0, d] = constant  # the features are those of first degree, 1, and others
        return np.concatenate([theta, row])

    names = [n for n in ("theta", "rotated_theta") if hasattr(kernel, n)]
    return replace(
        kernel, peak=max(kernel.peak, constant), **{n: extended(getattr(kernel, n)) for n in names}
    )
