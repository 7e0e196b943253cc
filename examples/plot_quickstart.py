"""
Quick start: the palettes of two photographs
============================================

A photograph is a few hundred thousand rows of red, green and blue. Here each of the two that come
with scikit-learn is cut into horizontal bands, and each band is a shard: it could lie in a file or
on a machine of its own. A Gaussian mixture of the bands finds the groups of colours in a picture,
and is the same as the mixture of all pixels in one place.

The photographs are by danielbuechele (china) and vultilion (flower), both CC BY 2.0.

Run as a script, this also writes the picture to ``quickstart.png``.
"""

# %%
# Data in pieces
# --------------
# A list of two-dimensional arrays is data in pieces, one shard an element. The bands need not have
# equal sizes.

import sys
import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from skdistmix import DistributedGMM

photos = {name: load_sample_image(f"{name}.jpg") / 255 for name in ("china", "flower")}
bands = {
    name: [band.reshape(-1, 3) for band in np.array_split(photo, 8)]
    for name, photo in photos.items()
}
for name, shards in bands.items():
    sizes = [len(shard) for shard in shards]
    print(f"{name}: {len(shards)} shards of {min(sizes):,} to {max(sizes):,} rows")

# %%
# One fit a photograph
# --------------------
# Colours are stored in steps of 1/255. Where a photograph is saturated, thousands of pixels are
# exactly equal, and a component would shrink around them without limit; this ``reg_covar`` keeps
# all standard deviations at one step or more.

settings = {"n_components": 8, "reg_covar": (1 / 255) ** 2}
palettes = {}
for name, shards in bands.items():
    began = time.perf_counter()
    gmm = DistributedGMM(**settings, random_state=0).fit(shards)
    seconds = time.perf_counter() - began
    palettes[name] = gmm
    print(f"{name}: log-likelihood per pixel {gmm.lower_bound_:.6f}, BIC {gmm.bic_:,.0f},")
    print(f"    {gmm.n_iter_} iterations, {seconds:.2f} s")
    print("    share   red  green  blue")
    for k in np.argsort(-gmm.weights_):
        red, green, blue = 255 * gmm.means_[k]
        print(f"    {gmm.weights_[k]:5.1%}   {red:3.0f}    {green:3.0f}   {blue:3.0f}")

# %%
# The same fit by scikit-learn
# ----------------------------
# ``GaussianMixture`` takes all pixels as one array. Both start from the same parameters (a fit of
# no iterations gives those that k-means|| found) and stop by the same rule. Each runs twice and
# its faster run counts; for the second, scikit-learn's linear algebra is held to one thread, which
# is better for it on a busy machine.

shards, pixels = bands["flower"], np.concatenate(bands["flower"])
start = DistributedGMM(**settings, max_iter=0, random_state=0).fit(shards)
settings |= {
    "weights_init": start.weights_,
    "means_init": start.means_,
    "precisions_init": start.precisions_,
}


def timed_fit(model, X):
    began = time.perf_counter()
    model.fit(X)
    return model, time.perf_counter() - began


seconds = {"skdistmix": [], "scikit-learn": []}
for n_threads in (None, 1):
    ours, elapsed = timed_fit(DistributedGMM(**settings), shards)
    seconds["skdistmix"].append(elapsed)
    with threadpool_limits(n_threads, user_api="blas"):
        theirs, elapsed = timed_fit(GaussianMixture(**settings), pixels)
    seconds["scikit-learn"].append(elapsed)
seconds = {name: min(both) for name, both in seconds.items()}
ratio = seconds["scikit-learn"] / seconds["skdistmix"]
difference = abs(ours.score(shards) - theirs.score(pixels))

print(f"{'':14} seconds  iterations  log-likelihood per pixel")
for name, model in (("skdistmix", ours), ("scikit-learn", theirs)):
    X = shards if model is ours else pixels
    print(f"{name:14} {seconds[name]:7.2f}  {model.n_iter_:10}  {model.score(X):.12f}")
print(f"scikit-learn / skdistmix: {ratio:.1f}, log-likelihoods differ by {difference:.0e}")

# %%
# The picture
# -----------
# ``predict`` gives the labels of each shard. Every pixel is drawn in the mean colour of its
# component; the bars are the weights of the components. Lines show where shards meet.

fig = plt.figure(figsize=(11, 6.1), layout="constrained")
axes = fig.subplots(2, 3, width_ratios=[1, 1, 0.55])
for (photo_ax, segment_ax, palette_ax), (name, photo) in zip(axes, photos.items()):
    gmm = palettes[name]
    labels = np.concatenate(gmm.predict(bands[name])).reshape(photo.shape[:2])
    colours = np.clip(gmm.means_, 0, 1)
    photo_ax.imshow(photo)
    for edge in np.cumsum([len(band) for band in np.array_split(photo, 8)])[:-1]:
        photo_ax.axhline(edge - 0.5, color="0.55", linewidth=1.2)
    segment_ax.imshow(colours[labels])
    for ax in (photo_ax, segment_ax):
        ax.set_axis_off()

    order = np.argsort(gmm.weights_)
    bars = palette_ax.barh(
        range(len(order)), 100 * gmm.weights_[order], color=colours[order], height=0.86
    )
    palette_ax.bar_label(bars, fmt="%.0f %%", padding=4, fontsize=9)
    palette_ax.set_xlim(0, 118 * gmm.weights_.max())
    palette_ax.set_axis_off()

for ax, title in zip(
    axes[0],
    ("photograph in 8 shards", "each pixel in its component's mean colour", "share of the pixels"),
):
    ax.set_title(title)
fig.supxlabel(
    f"Flower, {len(pixels):,} pixels, {ours.n_iter_} iterations of EM from the same start: "
    f"skdistmix {seconds['skdistmix']:.2f} s, scikit-learn {seconds['scikit-learn']:.2f} s "
    f"({ratio:.1f} times as long).\nThe two log-likelihoods per pixel differ by {difference:.0e}.",
    fontsize=10,
)
if "sphinx_gallery" not in sys.modules:  # which keeps the figure itself
    fig.savefig("quickstart.png", dpi=150)
