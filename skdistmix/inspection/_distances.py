"""How far local models are from each other, without a scale, and which one is in the middle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import logsumexp

from .._robust import log_distances

__all__ = ["middle_of", "relative_distances"]


def relative_distances(family, models: Sequence) -> np.ndarray:
    """L2 distances of mixture densities over the largest that their norms allow.

    Densities f and g are nowhere negative, so that their inner product is not either, and the
    distance over the root of ``<f, f> + <g, g>`` lies between 0, for equal densities, and 1, for
    ones that do not overlap, in any units and any number of features.

    Parameters
    ----------
    family : Family
        Of any of them.
    models : sequence of components or None

    Returns
    -------
    ndarray of shape (n_models, n_models)
        NaN in rows and columns of models that are None or not finite.
    """
    missing = [model is None or not model.is_finite for model in models]
    norms = np.array(
        [0.0 if no else _log_norm(family, model) for model, no in zip(models, missing, strict=True)]
    )
    largest = 0.5 * np.logaddexp(norms[:, None], norms[None, :])
    distances = np.minimum(np.exp(log_distances(family, models) - largest), 1.0)
    distances[missing, :] = distances[:, missing] = np.nan
    return distances


def _log_norm(family, components) -> float:
    """Logarithm of the integral of the squared density."""
    with np.errstate(divide="ignore"):  # masses of zero
        masses = np.log(components.weights)
    overlaps = family.log_overlaps(components, components)
    return float(logsumexp(overlaps + masses[:, None] + masses[None, :]))


def middle_of(distances: np.ndarray) -> int:
    """The model with the least median distance to all models; NaN stands for no model."""
    usable = np.flatnonzero(~np.isnan(np.diag(distances)))
    inner = np.sort(distances[np.ix_(usable, usable)], axis=1)
    # The upper median with the model itself, as the robust filter takes it.
    return int(usable[np.argmin(inner[:, len(usable) // 2])])
