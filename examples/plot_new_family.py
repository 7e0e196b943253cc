"""
A new family in one class
=========================

A family says what one component of a mixture is. :class:`~skdistmix.DistributedMixture` knows
families only through the contract of :class:`skdistmix.families.Family`, so a new one runs on
shards, with weights and on all cores as soon as its mathematics is written down.

The example is a mixture of independent binomial counts. The handwritten digits of scikit-learn ask
for it: each of their 64 values is the number of dark points in a cell of 4 x 4, from 0 to 16.
"""

# %%
# The family
# ----------
# Its parameters are a frozen dataclass. The sums over rows that the M-step needs, those of
# responsibilities and of rows, are collected without being asked for.

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, logit
from sklearn.base import BaseEstimator

from skdistmix.families import Family


@dataclass(frozen=True)
class BinomialParams:
    weights: np.ndarray  # (n_components,)
    shares: np.ndarray  # (n_components, n_features)


class BinomialFamily(BaseEstimator, Family):
    def __init__(self, n_trials):
        self.n_trials = n_trials

    def log_density(self, X, params):
        p, n = params.shares, self.n_trials
        choices = gammaln(n + 1) - gammaln(X + 1) - gammaln(n - X + 1)
        return logit(p) @ X.T + n * np.log1p(-p).sum(axis=1)[:, None] + choices.sum(axis=1)

    def m_step(self, stats, previous=None):
        shares = stats.averages / self.n_trials
        return BinomialParams(stats.weights, np.clip(shares, 1e-6, 1 - 1e-6))

    def n_parameters(self):
        return self.n_components * (self.n_features + 1) - 1

    def check_moments(self, moments, columns):
        if moments.low.min() < 0 or moments.high.max() > self.n_trials:
            raise ValueError(f"Values must be counts from 0 to {self.n_trials}.")

    def sample(self, params, counts, rng):
        return rng.binomial(self.n_trials, np.repeat(params.shares, counts, axis=0))


# %%
# A fit
# -----
# One pass summarises the rows, k-means|| finds centres, EM does the rest.

from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score

from skdistmix import DistributedMixture

X, digit = load_digits(return_X_y=True)
shards = np.array_split(X, 5)

mixture = DistributedMixture(
    12, family=BinomialFamily(n_trials=16), tol="likelihood", max_iter=500, random_state=0
).fit(shards)

gains = np.diff(mixture.objectives_)
labels = mixture.predict(X)
print(f"{mixture.n_iter_} iterations, log-likelihood per row {mixture.lower_bound_:.4f}")
print(f"smallest gain of an iteration {gains.min():.1e}")
print(f"BIC {mixture.bic_:,.0f}")
print(f"adjusted Rand index with the digits {adjusted_rand_score(digit, labels):.2f}")

# %%
# The components
# --------------
# Each picture shows the expected counts of one component, with its weight above.

import matplotlib.pyplot as plt

fig, axes = plt.subplots(2, 6, figsize=(9, 3.6), layout="constrained")
for ax, k in zip(axes.flat, np.argsort(-mixture.weights_)):
    ax.imshow(mixture.shares_[k].reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
    ax.set_title(f"{mixture.weights_[k]:.2f}", fontsize=10)
    ax.set_axis_off()
plt.show()
