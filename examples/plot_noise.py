"""
Clusters in clutter
===================

Many data sets hold rows that belong to no cluster: false alarms, broken sensors, customers like no
others. A Gaussian mixture must put them somewhere. ``noise="auto"`` gives it a component more,
whose density is the same everywhere.
"""

import matplotlib.pyplot as plt
import numpy as np

from skdistmix import DistributedGMM

# %%
# Three clusters, and as many rows that lie evenly over everything: these have the label -1.

rng = np.random.default_rng(3)
sides = np.array([[12.0, 8.0]])
truth = np.repeat([0, 1, 2, -1], [200, 200, 200, 600])
turned = np.array([[0.8, -0.6], [0.6, 0.8]])
X = np.vstack([
    rng.normal(size=(200, 2)) * [1.2, 0.2] @ turned.T + [-6, 3],
    rng.normal(size=(200, 2)) * [1.2, 0.2] @ turned + [5, 2],
    rng.normal(size=(200, 2)) * 0.6 + [0, -4],
    rng.uniform(-sides, sides, (600, 2)),
])  # fmt: skip

# %%
# Without noise the components of clusters widen until they hold the clutter too. A component more
# does not help: clutter is no Gaussian, and one of them does not cover it.

fits = {
    "3 components": DistributedGMM(3, n_init=5, random_state=0),
    "4 components": DistributedGMM(4, n_init=5, random_state=0),
    "3 components and noise": DistributedGMM(3, noise="auto", random_state=0),
}
for gmm in fits.values():
    gmm.set_params(tol="likelihood", max_iter=2000).fit(X)


def ellipses(gmm):
    """Points at a distance of two standard deviations from the means, two arrays a component."""
    angle = np.linspace(0, 2 * np.pi, 100)
    circle = 2 * np.array([np.cos(angle), np.sin(angle)])
    for mean, covariance in zip(gmm.means_, gmm.covariances_):
        yield mean[:, None] + np.linalg.cholesky(covariance) @ circle


fig, panels = plt.subplots(2, 2, figsize=(9, 6.5), sharex=True, sharey=True, layout="constrained")
drawn = {"what the rows are": None, **fits}
for ax, (name, gmm) in zip(panels.flat, drawn.items()):
    labels = truth if gmm is None else gmm.predict(X)
    is_noise = labels == -1
    ax.scatter(*X[is_noise].T, s=4, color="0.6")
    ax.scatter(*X[~is_noise].T, s=4, c=np.take([f"C{k}" for k in range(4)], labels[~is_noise]))
    for curve in () if gmm is None else ellipses(gmm):
        ax.plot(*curve, color="black", linewidth=1)
    ax.set_title(name if gmm is None else f"{name}: BIC {gmm.bic_:.0f}")
    ax.set_aspect("equal")
plt.show()

# %%
# Noise counts as two parameters, its weight and its density, and BIC is for it. The last column of
# ``predict_proba`` says of each row how likely it is noise.

gmm = fits["3 components and noise"]
noise = gmm.predict_proba(X)[:, -1]
print(f"noise: {gmm.noise_weight_:.0%} of the rows, over an area of {gmm.noise_volume_:.0f}")
print(f"called noise: {np.mean(noise[truth == -1] > 0.5):.0%} of the clutter, "
      f"{np.mean(noise[truth >= 0] > 0.5):.0%} of the clusters")  # fmt: skip

# %%
# The start looks for components in rows that have others near them, so nothing needs tuning here.
# Clutter that is not even, denser in one part than in another, is better described by a wide
# component.
