"""
Day curves of electricity: when a network adds nothing
======================================================

When do households, shops and farms use electricity? 99 day curves are few, and curves of 96 values
move together, so this is a fair test of three clusterings: k-means of curves, a mixture of their
principal components, and a network. It is also an example of how to find out, without knowing
classes, whether a network is worth having. Here it is not.

The last part needs the extra ``[deep]``, which brings PyTorch.
"""

# %%
# 99 curves
# ---------
# The representative load profiles of eleven kinds of customers in Germany, in three periods of the
# year and on three kinds of day (:func:`~skdistmix.datasets.load_electricity_profiles`). How much
# somebody uses on a Sunday is not the question here, but when, so each curve is divided by its
# mean.

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import adjusted_rand_score, confusion_matrix
from sklearn.model_selection import GroupKFold

from skdistmix import DistributedGMM
from skdistmix.datasets import load_electricity_profiles

electricity = load_electricity_profiles()
curves = electricity.data / electricity.data.mean(axis=1, keepdims=True)
hours = np.arange(96) / 4
print(f"{len(curves)} curves, {len(set(electricity.profile))} kinds of customers")

# %%
# How many clusters?
# ------------------
# A Gaussian with a full covariance of 96 columns has more parameters than there are numbers here.
# Four principal components hold most of the variance, and a mixture of those can be chosen by BIC:
# principal components are the same for all numbers of clusters, so likelihoods can be compared.
# ``covariance_penalty`` keeps components from shrinking onto a few curves.

pca = PCA(4).fit(curves)
scores = pca.transform(curves)
print(f"variance in four principal components: {pca.explained_variance_ratio_.sum():.0%}")
candidates = range(1, 9)
mixtures = [
    DistributedGMM(k, n_init=10, max_iter=2000, covariance_penalty="auto", random_state=0)
    for k in candidates
]
bic = np.array([gmm.fit(scores).bic_ for gmm in mixtures])
K = candidates[bic.argmin()]

fig, ax = plt.subplots(figsize=(5, 3), layout="constrained")
ax.plot(candidates, bic, "o-", color="#0072B2")
ax.plot(K, bic.min(), "o", color="#D55E00", markersize=9)
ax.annotate(f"{K} clusters", (K, bic.min()), xytext=(6, -14), textcoords="offset points")
ax.set(xlabel="clusters", ylabel="BIC", title="Day curves: the lower, the better")
ax.margins(y=0.15)
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# A network
# ---------
# A small :class:`~skdistmix.deep.Autoencoder` with codes of four numbers, like the principal
# components, and :class:`~skdistmix.DeepEmbeddedClustering` from there on. With 99 rows an epoch is
# two steps, after which hardly a label has changed yet: training would stop because labels seem
# settled. ``update_interval`` lets it look at them every 50 steps instead.

from skdistmix.deep import Autoencoder, DeepEmbeddedClustering


def network(seed):
    return Autoencoder(n_components=4, hidden=(64, 32), max_epochs=300, random_state=seed)


def deep(seed):
    return DeepEmbeddedClustering(
        K,
        autoencoder=FrozenEstimator(network(seed).fit(curves)),
        update_interval=50,
        max_epochs=200,
        learning_rate=1e-3,
        random_state=seed,
    ).fit(curves)


kmeans = KMeans(K, n_init=20, random_state=0).fit(curves)
gmm = mixtures[bic.argmin()]
networks = [deep(seed) for seed in range(3)]

# %%
# Curves by cluster
# -----------------
# Thin lines are curves, the thick one is the centre of their cluster. Centres of the mixture are
# brought back by the principal components, those of codes by the network. Columns are matched to
# the clusters of k-means.

colors = ["#E69F00", "#009E73", "#0072B2", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442", "#000000"]
found = [
    ("k-means of curves", kmeans.labels_, kmeans.cluster_centers_),
    ("mixture of 4 scores", gmm.predict(scores), pca.inverse_transform(gmm.means_)),
    (
        "network, codes of 4",
        networks[0].labels_,
        networks[0].autoencoder_.inverse_transform(networks[0].cluster_centers_),
    ),
]
# sphinx_gallery_thumbnail_number = 2
fig, axes = plt.subplots(
    len(found), K, figsize=(2.6 * K, 6.6), sharex=True, sharey=True, layout="constrained"
)
for (name, labels, centers), row in zip(found, axes):
    match = linear_sum_assignment(-confusion_matrix(kmeans.labels_, labels))[1]
    for k, ax, color in zip(match, row, colors):
        inside = labels == k
        ax.plot(hours, curves[inside].T, color="0.6", linewidth=0.5)
        ax.plot(hours, centers[k], color=color, linewidth=2.5)
        kinds, counts = np.unique(electricity.profile[inside], return_counts=True)
        text = ", ".join(f"{kind}" for kind in kinds[np.argsort(-counts, kind="stable")])
        ax.set_title(f"{inside.sum()} curves\n{text}", fontsize=8.5)
        ax.spines[["top", "right"]].set_visible(False)
    row[0].set_ylabel(f"{name}\npower / mean", fontsize=9)
axes[0, 0].set(xlim=(0, 24), xticks=[0, 6, 12, 18, 24], ylim=(0, None))
for ax in axes[-1]:
    ax.set_xlabel("hour of the day")
plt.show()
for name, what in electricity.profile_names.items():
    print(name, what)

# %%
# Do they agree?
# --------------
# Adjusted Rand indices: 1 for the same clusters, about 0 for clusters by chance. k-means and the
# mixture differ in what a cluster is. Three networks differ in nothing but their seed; where they
# agree less with each other than the first two do, what one of them finds is not a fact about
# curves.

partitions = {name: labels for name, labels, _ in found[:2]}
partitions |= {f"network, seed {seed}": model.labels_ for seed, model in enumerate(networks)}
table = np.array(
    [[adjusted_rand_score(a, b) for b in partitions.values()] for a in partitions.values()]
)
for name, row in zip(partitions, table):
    print(f"{name:24}" + "".join(f"{value:6.2f}" for value in row))
print("rows in the smallest cluster:", [int(np.bincount(m.labels_).min()) for m in networks])

# %%
# What the network adds
# ---------------------
# Both principal components and the network make four numbers of a curve. Which four tell more of a
# curve that was not there when they were learnt? Curves of one kind of customer resemble each
# other, so all of them are held out together. ``score`` is the negative squared error of rebuilt
# curves; it needs no classes and no clusters, and decides between encoders, which a BIC of codes
# cannot: every encoder has codes of its own, in its own units.

folds = list(GroupKFold(5).split(curves, groups=electricity.profile))


def squared_error(rebuild, rows):
    return np.mean((rebuild(curves[rows]) - curves[rows]) ** 2, axis=1)


errors = {"mean curve": np.empty(99), "4 principal components": np.empty(99)}
for train, test in folds:
    rest = curves[train]
    errors["mean curve"][test] = np.mean((curves[test] - rest.mean(axis=0)) ** 2, axis=1)
    part = PCA(4).fit(rest)
    errors["4 principal components"][test] = squared_error(
        lambda X, part=part: part.inverse_transform(part.transform(X)), test
    )
for seed in range(3):
    errors[f"network, seed {seed}"] = np.empty(99)
    for train, test in folds:
        part = network(seed).fit(curves[train])
        errors[f"network, seed {seed}"][test] = squared_error(
            lambda X, part=part: part.inverse_transform(part.transform(X)), test
        )
for name, values in errors.items():
    print(f"{name:24} squared error of customers held out: {values.mean():.4f}")

which = np.flatnonzero((electricity.profile == "L1") & (electricity.period == "winter"))[0]
train, test = next((train, test) for train, test in folds if which in test)
fig, ax = plt.subplots(figsize=(8.5, 3.4), layout="constrained")
ax.plot(hours, curves[which], color="0.3", linewidth=3, alpha=0.5, label="dairy farm, held out")
for part, name, color, style in (
    (PCA(4), "by principal components", "#0072B2", "--"),
    (network(0), "by the network", "#D55E00", "-"),
):
    part.fit(curves[train])
    rebuilt = part.inverse_transform(part.transform(curves[[which]]))[0]
    ax.plot(hours, rebuilt, style, color=color, label=name)
ax.set(xlim=(0, 24), xticks=[0, 6, 12, 18, 24], ylim=0, xlabel="hour of the day",
       ylabel="power / mean of the day", title="A curve from four numbers")  # fmt: skip
ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# What to take home
# -----------------
# Straight lines go through 99 curves better than a network that could bend: it has thousands of
# weights to learn from them. A network needs thousands of rows, or rows whose structure it is told
# (images that may be shifted). The decision took five folds and no class; make it before clusters
# are looked at.
