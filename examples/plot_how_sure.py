"""
How sure is a mixture? To look at
=================================

A fitted mixture is a guess from the rows there are; with other rows it would have been another. How
much another is what errors and intervals say, and pictures say it faster than tables. This example
draws them for a mixture of birds, first for one ringing station, then for six, then for questions
that no single parameter answers.
"""

# %%
# Birds of three kinds
# --------------------
# Wing length and weight of warblers that six stations have caught and ringed, made up. There are
# three species, which in the hand look alike; two of them overlap in both measurements. Each
# station holds its own birds, one shard each. A field guide tells about where the species are, and
# there all fits start.

import matplotlib.pyplot as plt
import numpy as np

from skdistmix import BLBMixture, DistributedGMM
from skdistmix.inspection import UncertaintyDisplay

rng = np.random.default_rng(0)
species = ["willow", "marsh", "great"]
features = ["wing (mm)", "weight (g)"]
shares = np.array([0.5, 0.3, 0.2])
means = np.array([[66.0, 9.6], [71.5, 12.9], [79.0, 13.4]])
deviations, correlations = np.array([[2.2, 1.0], [2.0, 1.1], [2.6, 1.3]]), [0.5, 0.3, 0.2]
covariances = deviations[:, :, None] * deviations[:, None, :]
covariances[:, [0, 1], [1, 0]] *= np.array(correlations)[:, None]


def caught(n):
    which = rng.choice(3, size=n, p=shares)
    factors = np.linalg.cholesky(covariances)[which]
    return means[which] + np.einsum("nij,nj->ni", factors, rng.normal(size=(n, 2)))


stations = [caught(n) for n in (800, 1500, 4200, 2600, 900, 5000)]
guide = DistributedGMM(3, means_init=np.round(means), max_iter=2000, acceleration="squarem")

# %%
# One station
# -----------
# The first station has 800 birds. :class:`~skdistmix.BLBMixture` fits the mixture to them, then to
# resamples of them; with so few rows these are resamples of all (the bootstrap), and a hundred do
# for a picture. Every thin curve is a component that may be the true one, by one resample. The
# curves lie apart where the birds leave much open: what lies between willow and marsh warblers may
# belong to either. The filled ellipses hold the means.

small = BLBMixture(guide, method="bootstrap", n_resamples=100, random_state=0).fit(stations[0])
names = {"component_names": species, "feature_names": features}
display = UncertaintyDisplay.from_estimator(small, stations[0], kind="ellipses", **names)
display.ax_.set_title("One station: 800 birds leave much open")
plt.show()

# %%
# Six stations
# ------------
# With all 15,000 birds resamples of all rows would cost much more than the fit. The bag of little
# bootstraps, which is the default, resamples a few random subsets instead, each of which stands for
# all rows. The thin curves close up around the fit.

model = BLBMixture(guide, random_state=0).fit(stations)
print(
    f"{model.n_subsets_} subsets of about {model.subset_size_:,} rows, "
    f"{model.n_resamples_.sum()} resamples, {model.alignment_failures_} left out"
)

# sphinx_gallery_thumbnail_number = 2
fig, axes = plt.subplots(1, 2, figsize=(10, 5), sharex=True, sharey=True, layout="constrained")
for ax, fitted, X, title in (
    (axes[0], small, stations[0], "one station"),
    (axes[1], model, stations, "six stations"),
):
    UncertaintyDisplay.from_estimator(fitted, X, kind="ellipses", ax=ax, **names)
    ax.set_title(title)
plt.show()

# %%
# All parameters at once
# ----------------------
# The plain picture: a tick for the estimate, a bar for the interval that holds the truth in 95 of
# 100 data sets, and its ends in numbers. Bars of two components that lie far apart leave no doubt
# which is larger: here the weights and the means. Variances are known less well than means.

blocks = ("weights", "means", "variances")
UncertaintyDisplay.from_estimator(model, blocks=blocks, **names)
plt.show()

# %%
# A question without labels
# -------------------------
# At which wing length are birds the rarest, between the small species and the great one? This is no
# parameter, but any fitted mixture answers it, and :meth:`BLBMixture.confidence_interval
# <skdistmix.BLBMixture.confidence_interval>` tells how sure the answer is. It does not depend on
# which component is called what, and stands even where labels are in doubt. The yellow strip is the
# interval, in a picture of the density with its own band.

wings = np.linspace(72, 78, 241)


def gap(gmm):
    """The wing length of least density between the humps."""
    sizes = np.sqrt(gmm.covariances_[:, 0, 0])
    offsets = (wings[:, None] - gmm.means_[:, 0]) / sizes
    return wings[(np.exp(-0.5 * offsets**2) @ (gmm.weights_ / sizes)).argmin()]


fig, axes = plt.subplots(1, 2, figsize=(10, 4.4), sharex=True, sharey=True, layout="constrained")
for ax, fitted, X, title in (
    (axes[0], small, stations[0], "one station"),
    (axes[1], model, stations, "six stations"),
):
    low, high = fitted.confidence_interval(gap)
    UncertaintyDisplay.from_estimator(fitted, X, kind="density", features=0, ax=ax, **names)
    ax.axvspan(low, high, ymax=0.5, color="#F0E442", alpha=0.6, linewidth=0, zorder=0.5)
    ax.set_title(f"{title}: birds are rarest at {low:.1f} to {high:.1f} mm", fontsize=11)
plt.show()

# %%
# How sure is a label?
# --------------------
# These are two questions. A bird of 69 mm and 11.5 g is as likely a willow as a marsh warbler, and
# stays so however many birds are measured: the label is open. How sure that probability is depends
# on the rows, and :meth:`BLBMixture.predict_proba_interval
# <skdistmix.BLBMixture.predict_proba_interval>` gives its interval, drawn here for birds of 11.5 g.
# Hardly a bird of that weight has wings of 60 mm, which is why one station knows little there.

lengths = np.linspace(60, 85, 201)
line = np.column_stack([lengths, np.full_like(lengths, 11.5)])
colors = ["#0072B2", "#D55E00", "#009E73"]
fig, axes = plt.subplots(1, 2, figsize=(10, 4), sharex=True, sharey=True, layout="constrained")
for ax, fitted, title in ((axes[0], small, "one station"), (axes[1], model, "six stations")):
    low, high = fitted.predict_proba_interval(line)
    probabilities = fitted.predict_proba(line)
    for k, color in enumerate(colors):
        ax.fill_between(lengths, low[:, k], high[:, k], color=color, alpha=0.3, linewidth=0)
        ax.plot(lengths, probabilities[:, k], color=color)
        top = probabilities[:, k].argmax()
        place = np.clip(lengths[top], 63, 82), 1.03
        ax.annotate(species[k], place, color=color, ha="center", fontweight="bold")
    ax.set(title=f"{title}: which species?", xlabel=features[0], ylim=(0, 1.12))
axes[0].set_ylabel("probability at 11.5 g")
plt.show()

# %%
# The same by formula
# -------------------
# :meth:`DistributedGMM.standard_errors <skdistmix.DistributedGMM.standard_errors>` reads the rows
# once, without a resample, and is right where rows are many and components are Gaussian. Here both
# agree. Where they do not, resamples assume less. The display takes either.

gmm = model.estimator_
errors = gmm.standard_errors(stations)
UncertaintyDisplay.from_standard_errors(gmm, errors, blocks=blocks, **names)

fig, ax = plt.subplots(figsize=(5, 4.6), layout="constrained")
for name, marker, color in zip(("weights", "means", "covariances"), "osD", colors):
    ax.plot(
        errors[name].ravel(), model.standard_errors_[name].ravel(), marker, color=color,
        markersize=7, label=name, alpha=0.8, markeredgecolor="w",
    )  # fmt: skip
ax.axline((0.01, 0.01), (1, 1), color="0.7", zorder=0)
ax.set(
    xscale="log", yscale="log", xlabel="standard errors by formula",
    ylabel="standard errors from resamples", title="Both agree for every parameter",
)  # fmt: skip
ax.legend(frameon=False)
plt.show()
