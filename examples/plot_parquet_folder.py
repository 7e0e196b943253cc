"""
A folder of parquet files
=========================

Records often come as a folder with one file a month, together larger than memory. A mixture is
fitted to the folder as it is: columns are chosen by name, files are read in bounded pieces, and
predictions are written file by file.
"""

# %%
# A year of bicycle trips
# -----------------------
# Three kinds of trips, made up: the way to work, an errand, a tour at the weekend. Their shares
# change with the seasons, so no single month shows the whole. Each month is one file; the columns
# ``month`` and ``bicycle`` are no measurements.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skdistmix import DistributedGMM, as_shards
from skdistmix.io import write_predictions

rng = np.random.default_rng(0)
kinds = {  # log of kilometres and of minutes: mean, standard deviations, correlation
    "to work": ([1.5, 2.8], [0.25, 0.28], 0.85),
    "errand": ([0.5, 2.1], [0.40, 0.45], 0.75),
    "tour": ([2.7, 4.6], [0.35, 0.40], 0.50),
}
folder = tempfile.TemporaryDirectory()
trips = Path(folder.name) / "trips"
trips.mkdir()
for month in range(1, 13):
    summer = np.sin(np.pi * (month - 1) / 11)
    counts = np.array([4000, 3000, 200 + 2000 * summer]).astype(int)
    rows = []
    for (mean, deviation, correlation), count in zip(kinds.values(), counts):
        covariance = np.outer(deviation, deviation) * [[1, correlation], [correlation, 1]]
        rows.append(rng.multivariate_normal(mean, covariance, size=count))
    rows = rng.permutation(np.concatenate(rows))
    frame = pd.DataFrame(rows, columns=["log_km", "log_minutes"])
    frame = frame.assign(month=f"2025-{month:02d}", bicycle=rng.integers(500, size=len(frame)))
    frame.to_parquet(trips / f"trips-{month}.parquet", row_group_size=2000)

# %%
# Fit the folder
# --------------
# ``as_shards`` reads no rows. Files are in the order of the months, 2 before 10.

shards = as_shards(trips, columns=["log_km", "log_minutes"])
print(shards)
gmm = DistributedGMM(n_components=3, random_state=0).fit(shards)
print(f"{gmm.n_iter_} iterations, mean log-likelihood {gmm.lower_bound_:.4f}")

# %%
# Label the folder
# ----------------
# One file of labels for each file of trips, in the same order. Nothing of this grows with the
# number of months.

files = write_predictions(gmm, shards, Path(folder.name) / "labels")
order = np.argsort(gmm.means_[:, 0])
shares = []
for file in files:
    labels = pd.read_parquet(file)["label"]
    shares.append(labels.value_counts(normalize=True).reindex(order, fill_value=0).to_numpy())
shares = np.array(shares)  # (months, components)

# %%
# What it found
# -------------
# Left a sample of the trips and the curves that hold 90 % of each component; right the share of
# each component in each month.

names = ["errand", "to work", "tour"]  # by increasing distance
colors = ["tab:blue", "tab:orange", "tab:green"]
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
sample = np.concatenate([shard.read(0, 250) for shard in shards])
kind = np.argsort(order)[gmm.predict(pd.DataFrame(sample, columns=shards.columns))]
left.scatter(*np.exp(sample.T), s=4, c=np.array(colors)[kind], alpha=0.35, linewidths=0)
radius = np.sqrt(-2 * np.log(1 - 0.9))
angle = np.linspace(0, 2 * np.pi, 200)
circle = radius * np.stack([np.cos(angle), np.sin(angle)])
for k, name, color in zip(order, names, colors):
    factor = np.linalg.cholesky(gmm.covariances_[k])
    left.plot(*np.exp(gmm.means_[k][:, None] + factor @ circle), color=color, lw=2, label=name)
left.set(xscale="log", yscale="log", xlabel="distance (km)", ylabel="duration (min)")
left.set_xticks([1, 3, 10, 30], ["1", "3", "10", "30"])
left.set_yticks([3, 10, 30, 100, 300], ["3", "10", "30", "100", "300"])
left.minorticks_off()
left.set_title(f"{shards.n_rows:,} trips in {len(shards)} files")
left.legend(frameon=False, loc="lower right")
right.stackplot(range(1, 13), shares.T, labels=names, colors=colors, alpha=0.8)
right.set(xlim=(1, 12), ylim=(0, 1), xlabel="month", ylabel="share of the trips")
right.set_xticks(range(1, 13))
right.set_title("Labels, file by file")
plt.show()
folder.cleanup()
