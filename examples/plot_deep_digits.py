"""
Deep clustering: digits by a network that learns their clusters
===============================================================

Pixels are a poor measure of how alike two digits are: the same figure, a pixel to the side, is far
away. A network that rebuilds images from ten numbers learns what matters about them, and clusters
of these numbers, the *codes*, may be better ones. This example goes from k-means on pixels to a
network that learns codes and clusters together, looks at what it has learnt, and does not hide that
spectral clustering, without a network, may do better.

It needs the extra ``[deep]``, which brings PyTorch.
"""

# %%
# Four ways
# ---------
# Scikit-learn's 1,797 digits of 8x8 pixels. Which digits they show is used for nothing but the
# scores below: the share of rows in the right cluster, under the best matching of clusters and
# digits.
#
# 1. k-means on pixels;
# 2. :class:`~skdistmix.cluster.LandmarkSpectralClustering` on pixels, also without a network;
# 3. two stages: a convolutional :class:`~skdistmix.deep.Autoencoder`, then a mixture of its codes,
#    in a ``Pipeline`` as any transformer;
# 4. jointly: :class:`~skdistmix.DeepEmbeddedClustering` goes on from the same network, and moves
#    codes and clusters towards each other. ``FrozenEstimator`` says that the network is fitted
#    already, so that its training is not paid for twice.
#
# Fewer epochs than by default, so that this takes less than a minute. Of three seeds the first also
# keeps what happened to each row, in ``dynamics``.

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import confusion_matrix, normalized_mutual_info_score
from sklearn.pipeline import make_pipeline

from skdistmix import DeepEmbeddedClustering, DistributedGMM
from skdistmix.cluster import LandmarkSpectralClustering
from skdistmix.deep import Autoencoder
from skdistmix.inspection import AssignmentDynamics, AssignmentMapDisplay, EmbeddingDisplay

X, digits = load_digits(return_X_y=True)
found, autoencoders, models = {}, [], []
dynamics = AssignmentDynamics()
for seed in range(3):
    kmeans = KMeans(10, n_init=20, random_state=seed)
    spectral = LandmarkSpectralClustering(10, random_state=seed)
    two_stages = make_pipeline(
        Autoencoder(image_shape=(8, 8), max_epochs=25, random_state=seed),
        DistributedGMM(10, n_init=3, max_iter=1000, random_state=seed),
    )
    for name, model in (
        ("k-means on pixels", kmeans),
        ("landmark-spectral on pixels", spectral),
        ("autoencoder, then mixture", two_stages),
    ):
        found[name, seed] = model.fit_predict(X)
    autoencoders.append(two_stages[0])
    model = DeepEmbeddedClustering(
        10,
        autoencoder=FrozenEstimator(two_stages[0]),
        max_epochs=15,
        monitor=dynamics.update if seed == 0 else None,
        random_state=seed,
    )
    found["learnt together", seed] = model.fit_predict(X)
    models.append(model)


# %%
# How right, and how often
# ------------------------
# The three numbers of a row are the three seeds. Deep clustering varies: one run tells little, and
# a table of best runs nothing.


def matching(labels):
    """For each cluster the digit that it is matched with."""
    return linear_sum_assignment(-confusion_matrix(digits, labels).T)[1]


print(f"{'':28} share in the right cluster   mutual information")
for name in dict.fromkeys(name for name, _ in found):
    runs = [found[name, seed] for seed in range(3)]
    right = "  ".join(f"{np.mean(matching(run)[run] == digits):.3f}" for run in runs)
    shared = "  ".join(f"{normalized_mutual_info_score(digits, run):.3f}" for run in runs)
    print(f"{name:28} {right}         {shared}")

# %%
# What clusters look like
# -----------------------
# A centre of clusters of codes is a code, and the network makes an image of any code:
# ``inverse_transform`` of the centres shows what clusters mean, without knowing a digit. Below it
# is the mean image of the rows of each cluster. Where a centre looks like two digits at once, it
# holds both; a cluster of very few rows is a sign that another one holds two.

model = models[0]
labels = model.labels_
centers = model.autoencoder_.inverse_transform(model.cluster_centers_)
means = np.stack([X[labels == k].mean(axis=0) for k in range(10)])
order = np.argsort(matching(labels))

fig, axes = plt.subplots(2, 10, figsize=(10, 2.7), layout="constrained")
for images, row, what in ((centers, axes[0], "centre"), (means, axes[1], "mean")):
    for k, ax in zip(order, row):
        ax.imshow(images[k].reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set(xticks=[], yticks=[])
    row[0].set_ylabel(what)
for k, ax in zip(order, axes[0]):
    ax.set_title(f"cluster {k}\n{np.sum(labels == k)} rows", fontsize=9)
plt.show()

# %%
# Codes
# -----
# The ten numbers of a code in the plane, by t-SNE, before the network knew of clusters and after.
# Colours are the clusters found in the end, crosses their centres. t-SNE keeps neighbours, but
# neither sizes nor distances; what it shows is that codes have drawn together, which they were made
# to do. It is no proof that clusters are right.

# sphinx_gallery_thumbnail_number = 2
fig, axes = plt.subplots(1, 2, figsize=(10, 5.2), layout="constrained")
for network, ax, middle, title in (
    (autoencoders[0], axes[0], None, "codes of the autoencoder"),
    (model, axes[1], model.cluster_centers_, "learnt together with clusters"),
):
    EmbeddingDisplay.from_estimator(
        network, X, labels=labels, centers=middle, method="tsne", max_points=700, ax=ax
    )
    ax.set_title(title)
plt.show()

# %%
# What happened on the way
# ------------------------
# `history_` tells what an epoch did. The reconstruction should not get much worse: if it does,
# codes forget what they are codes of. The loss of the clustering is the divergence of assignments
# from targets that move along with them, so it may rise although all is well. The share of labels
# that change is what stops training, when it falls below `tol`; fifteen epochs are too few for that
# here.

history = model.history_
epochs = np.arange(1, model.n_epochs_ + 1)
fig, axes = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
past = model.autoencoder_.history_["train_loss"]
axes[0].plot(np.arange(1 - len(past), 1), past, color="0.6", label="autoencoder alone")
axes[0].plot(epochs, history["reconstruction_loss"], color="#0072B2", label="with clusters")
axes[0].set(title="squared error of pixels", ylim=0)
axes[0].legend(frameon=False)
axes[1].plot(epochs, history["clustering_loss"], color="#0072B2")
axes[1].set(title="divergence from targets", ylim=0)
axes[2].plot(epochs, 100 * history["changed"], color="#0072B2")
axes[2].axhline(100 * model.tol, color="0.5", linestyle=":")
axes[2].annotate("tol", (epochs[-1], 100 * model.tol), xytext=(0, 3), textcoords="offset points",
                 ha="right", color="0.4")  # fmt: skip
axes[2].set(title="labels that changed, %", ylim=0)
for ax in axes:
    ax.set_xlabel("epoch")
    ax.spines[["top", "right"]].set_visible(False)
plt.show()
print(f"converged: {model.converged_}, clusters that lost all rows: {model.n_reseeded_}")

# %%
# Digits that waver
# -----------------
# ``monitor=dynamics.update`` collected how sure each row was of its cluster, epoch after epoch.
# With Student's t as assignment even rows in the midst of a cluster have probabilities far below
# one: its tails are heavy, and ten clusters share them. So the border of what is easy is set lower
# than by default. Labels change at the bottom left, where rows lie between clusters.

display = AssignmentMapDisplay.from_dynamics(dynamics, min_confidence=0.35)
plt.show()

# %%
# The 24 rows with the least confidence: under each the digit that someone meant to write, and the
# one that its cluster is matched with, in bold where they differ. How many are in the wrong
# cluster, here and in all, says whether the map is worth a look; no class went into it. It finds
# rows between clusters. A cluster that holds two digits holds them with confidence, and nothing
# that is learnt without classes can tell.

waver = np.argsort(dynamics.confidence_)[:24]
names = matching(labels)[labels]
fig, axes = plt.subplots(2, 12, figsize=(10, 2.3), layout="constrained")
for row, ax in zip(waver, axes.ravel()):
    wrong = names[row] != digits[row]
    ax.imshow(X[row].reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
    ax.set(xticks=[], yticks=[])
    ax.set_xlabel(f"{digits[row]} in {names[row]}", fontsize=9, weight="bold" if wrong else None)
plt.show()
print(f"in the wrong cluster: {np.mean(names != digits):.0%} of all rows,", end=" ")
print(f"{np.mean(names[waver] != digits[waver]):.0%} of these 24,", end=" ")
hard = display.rows_of("hard")
print(f"{np.mean(names[hard] != digits[hard]):.0%} of the {len(hard)} hard ones")

# %%
# What to take home
# -----------------
# Compare the lines of the table above. On these digits spectral clustering through landmarks has no
# network, takes about a second, and is the one to beat. A network pays where images are larger,
# rows many, and turning or shifting an image is known to change nothing of what it shows, which
# ``augmentation="affine"`` tells it. How to choose, and how not to fool oneself, is in the
# documentation, under "Deep clustering".
