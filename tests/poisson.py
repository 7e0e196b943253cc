"""A family as a user would write it: independent Poisson counts."""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln
from sklearn.base import BaseEstimator

from skdistmix.families import Family

RATES = np.array([[1.0, 8.0, 3.0], [6.0, 2.0, 3.0], [12.0, 12.0, 0.5]])


def make_counts(n_rows=1500):
    """Rows of a mixture of three components, and the component of each."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, n_rows)
    return rng.poisson(RATES[labels]).astype(float), labels


@dataclass(frozen=True)
class PoissonParams:
    weights: np.ndarray  # (n_components,)
    rates: np.ndarray  # (n_components, n_features)


class PoissonFamily(BaseEstimator, Family):
    """Independent counts."""

    def __init__(self, floor=1e-6):
        self.floor = floor

    def log_density(self, X, params):
        fixed = gammaln(X + 1).sum(axis=1)
        return np.log(params.rates) @ X.T - params.rates.sum(axis=1)[:, None] - fixed

    def m_step(self, stats, previous=None):
        return PoissonParams(stats.weights, np.maximum(stats.averages, self.floor))

    def n_parameters(self):
        return self.n_components * (1 + self.n_features) - 1

    def check_moments(self, moments, columns):
        negative = [name for name, low in zip(columns, moments.low) if low < 0]
        if negative:
            raise ValueError(f"Columns {negative} have values below 0, which are no counts.")
        return None

    def sample(self, params, counts, rng):
        return rng.poisson(np.repeat(params.rates, counts, axis=0)).astype(float)
