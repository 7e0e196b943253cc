"""
A new family in one file
========================

A family says what one component of a mixture is. The EM loop, the starting methods and the workers
know families only through the contract of :class:`skdistmix.families.Family`, so a new one runs on
shards, with weights and on all cores as soon as its mathematics is written down.

The example is a mixture of independent binomial counts. The handwritten digits of scikit-learn ask
for it: each of their 64 values is the number of dark points in a cell of 4 x 4, from 0 to 16.
"""

# %%
# The family
# ----------
# Four small values: parameters; statistics that add; the kernel, which is what travels to the
# data; and the family itself.

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import gammaln, logit, logsumexp

from skdistmix.families import Family


@dataclass(frozen=True)
class BinomialParams:
    weights: np.ndarray  # (n_components,)
    shares: np.ndarray  # (n_components, n_features)


@dataclass(frozen=True)
class BinomialStatistics:
    weight: float
    log_likelihood: float
    counts: np.ndarray  # (n_components,)
    sums: np.ndarray  # (n_components, n_features)

    def __add__(self, other):
        return BinomialStatistics(
            self.weight + other.weight,
            self.log_likelihood + other.log_likelihood,
            self.counts + other.counts,
            self.sums + other.sums,
        )


def weighted_sums(X, weight, resp, log_likelihood=0.0):
    resp = resp if weight is None else resp * weight
    return BinomialStatistics(resp.sum(), log_likelihood, resp.sum(axis=1), resp @ X)


@dataclass(frozen=True)
class BinomialKernel:
    params: BinomialParams
    n_trials: int
    block_rows: int = 8192

    def log_joint(self, X):
        p, n = self.params.shares, self.n_trials
        choices = gammaln(n + 1) - gammaln(X + 1) - gammaln(n - X + 1)
        constant = np.log(self.params.weights) + n * np.log1p(-p).sum(axis=1)
        return constant[:, None] + logit(p) @ X.T + choices.sum(axis=1)

    def statistics(self, blocks):
        total = None
        for block in blocks:
            log_joint = self.log_joint(block.X)
            norm = logsumexp(log_joint, axis=0)
            value = norm.sum() if block.weight is None else norm @ block.weight
            part = weighted_sums(block.X, block.weight, np.exp(log_joint - norm), value)
            total = part if total is None else total + part
        return total


@dataclass(frozen=True)
class Binomial(Family):
    n_components: int
    n_trials: int
    n_features: int | None = None

    def prepare(self, moments):
        return replace(self, n_features=moments.mean.size)

    def kernel(self, params, anchors=None):
        return BinomialKernel(params, self.n_trials)

    def statistics(self, X, weight, resp, anchors):
        return weighted_sums(X, weight, resp)

    def m_step(self, stats, previous=None):
        counts = np.maximum(stats.counts, 1e-300)  # a component without rows keeps a density
        shares = stats.sums / (counts[:, None] * self.n_trials)
        return BinomialParams(counts / counts.sum(), np.clip(shares, 1e-6, 1 - 1e-6))

    def centers(self, stats):
        return stats.sums / np.maximum(stats.counts, 1e-300)[:, None]

    def n_parameters(self):
        return self.n_components * (self.n_features + 1) - 1

    def sample(self, params, counts, rng):
        return rng.binomial(self.n_trials, np.repeat(params.shares, counts, axis=0))

    def permute(self, params, order):
        return BinomialParams(params.weights[order], params.shares[order])


# %%
# A fit
# -----
# One pass summarises the rows, k-means|| finds centres, EM does the rest. ``map_reduce`` runs a
# function of row blocks over all shards and adds up what it returns.

from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score

from skdistmix import as_shards
from skdistmix._compute import Workers
from skdistmix._em import em, first_pass
from skdistmix._seeding import kmeans_parallel, params_from_centers

X, digit = load_digits(return_X_y=True)
shards = as_shards(np.array_split(X, 5))
n_components = 12

with Workers() as workers:
    map_reduce = workers.map_reduce
    moments = first_pass(map_reduce, shards, full=False, limit=n_components)
    family = Binomial(n_components, n_trials=16).prepare(moments)
    centers = kmeans_parallel(map_reduce, shards, n_components, seed=0)
    start = params_from_centers(map_reduce, shards, family, centers)
    fit = em(map_reduce, shards, family, start, tol="likelihood", max_iter=500)

gains = np.diff(fit.values)
labels = family.kernel(fit.params).log_joint(X).argmax(axis=0)
print(f"{fit.n_iter} iterations, log-likelihood per row {fit.score.mean:.4f}")
print(f"smallest gain of an iteration {gains.min():.1e}")
print(f"BIC {fit.score.bic(family.n_parameters()):,.0f}")
print(f"adjusted Rand index with the digits {adjusted_rand_score(digit, labels):.2f}")

# %%
# The components
# --------------
# Each picture shows the expected counts of one component, with its weight above.

import matplotlib.pyplot as plt

fig, axes = plt.subplots(2, 6, figsize=(9, 3.6), layout="constrained")
params = family.permute(fit.params, np.argsort(-fit.params.weights))
for ax, weight, shares in zip(axes.flat, params.weights, params.shares):
    ax.imshow(shares.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
    ax.set_title(f"{weight:.2f}", fontsize=10)
    ax.set_axis_off()
plt.show()
