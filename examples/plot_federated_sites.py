"""
Hospitals that share models, not rows
=====================================

Rows of patients may not leave their hospital. A fitted mixture may: it is a few means, covariances
and weights. Each hospital fits its own, sends it once, and the models are combined into one. This
example does that with one hospital that sends nonsense without knowing it, then with hospitals
that honestly differ, which is another problem and asks for the opposite setting.
"""

# %%
# Eight hospitals, one of them wrong
# ----------------------------------
# Blood pressure of three groups of patients, made up. Each hospital sees a random part of the same
# population, between 250 and 2,600 patients. The export of the large hospital F has the two columns
# swapped: every value is a possible one, but in the wrong place.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from skdistmix import DistributedGMM, MixtureOfExpertsAggregator, reduce_mixtures
from skdistmix.inspection import ShardDisplay

rng = np.random.default_rng(0)
shares = np.array([0.55, 0.25, 0.20])
means = np.array([[118.0, 74.0], [149.0, 97.0], [163.0, 78.0]])  # systolic, diastolic in mmHg
covariances = np.array([[[90, 40], [40, 55]], [[110, 45], [45, 60]], [[150, 20], [20, 50]]])
factors = np.linalg.cholesky(covariances)


def patients(n, shares, means, factors):
    groups = rng.choice(len(shares), size=n, p=shares)
    return means[groups] + (factors[groups] @ rng.normal(size=(n, means.shape[1], 1)))[:, :, 0]


sizes = {"A": 1500, "B": 400, "C": 900, "D": 250, "E": 2600, "F": 2200, "G": 700, "H": 1100}
hospitals = {name: patients(n, shares, means, factors) for name, n in sizes.items()}
hospitals["F"] = hospitals["F"][:, ::-1]
names, rows = list(hospitals), list(hospitals.values())

# %%
# One round of communication
# --------------------------
# A list of arrays is one shard an element. Here they lie in one program; hospitals that are apart
# call ``fit`` at home, and the last cell of this part takes it from there. ``robust=True`` leaves
# out models that are too far from the one in the middle, and warns.

plain = MixtureOfExpertsAggregator(n_components=3, random_state=0).fit(rows)
robust = MixtureOfExpertsAggregator(n_components=3, robust=True, random_state=0)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    robust.fit(rows)
for warning in caught:
    print(warning.message)
print(f"rejected: {[names[s] for s in robust.rejected_shards_]}")
print(f"sent: {robust.bytes_sent_:,} bytes; the rows have {sum(x.nbytes for x in rows):,}")

# %%
# Who agrees with whom
# --------------------
# :class:`~skdistmix.inspection.ShardDisplay` shows the distance of each two local models as
# densities: 0 if they are equal, 1 if they do not overlap. Honest hospitals differ by chance, small
# ones more; F is far from all. A rejected hospital has no weight.

ShardDisplay.from_estimator(robust, names=names)
plt.show()

# %%
# The same by hospital, with curves that hold 90 % of each local component.

angle = np.linspace(0, 2 * np.pi, 100)
circle = np.sqrt(-2 * np.log(1 - 0.9)) * np.stack([np.cos(angle), np.sin(angle)])


def draw_components(ax, means, covariances, label=None, **style):
    for k, factor in enumerate(np.linalg.cholesky(covariances)):
        curve = means[k][:, None] + factor @ circle
        ax.plot(*curve, label=label if k == 0 else None, **style)


def draw_rows(ax, X, color):
    shown = X[rng.permutation(len(X))[:600]]
    ax.scatter(*shown.T, s=4, color=color, alpha=0.35, linewidths=0)


fig, axes = plt.subplots(2, 4, figsize=(10, 5.4), sharex=True, sharey=True, layout="constrained")
for s, ax in enumerate(axes.flat):
    is_rejected = s in robust.rejected_shards_
    color = "tab:red" if is_rejected else "tab:blue"
    draw_rows(ax, rows[s], color)
    expert = robust.experts_[s]
    draw_components(ax, expert.means_, expert.covariances_, color="k", linewidth=1.2)
    rejected = ", rejected" if is_rejected else ""
    ax.set_title(f"{names[s]}: {len(rows[s]):,} patients{rejected}", fontsize=10)
fig.supxlabel("systolic (mmHg)")
fig.supylabel("diastolic (mmHg)")
plt.show()

# %%
# What the nonsense does
# ----------------------
# With the models of all hospitals, the swapped columns take one of the three components, and two
# groups of patients share another. How good a model is shows on new patients, whose mean
# log-density no model can raise above that of the truth but by chance. The third line is what no
# one could compute here, exact EM on the rows of the seven honest hospitals in one place. The
# combination of their models is an approximation of it, and with this many patients a good one.

honest = [s for s in range(len(rows)) if s not in robust.rejected_shards_]
pooled = DistributedGMM(n_components=3, n_init=4, tol="likelihood", max_iter=1000, random_state=0)
pooled.fit([rows[s] for s in honest])
new = patients(20_000, shares, means, factors)
joint = [
    np.log(share) + multivariate_normal(mean, covariance).logpdf(new)
    for share, mean, covariance in zip(shares, means, covariances)
]
truth = logsumexp(joint, axis=0).mean()
print("mean log-density of new patients")
print(f"  models of all hospitals        {plain.score(new):.4f}")
print(f"  models of trusted hospitals    {robust.score(new):.4f}")
print(f"  EM on the rows of the trusted  {pooled.score(new):.4f}")
print(f"  the truth                      {truth:.4f}")

fig, axes = plt.subplots(1, 2, figsize=(10, 4.4), sharex=True, sharey=True, layout="constrained")
for ax, model, title in (
    (axes[0], plain, "models of all hospitals"),
    (axes[1], robust, "models of trusted hospitals"),
):
    for s, X in enumerate(rows):
        draw_rows(ax, X[: len(X) // 3], "tab:red" if s in robust.rejected_shards_ else "0.6")
    ax.text(115, 170, "hospital F", color="tab:red")
    draw_components(ax, means, covariances, "truth", color="k", linewidth=5, alpha=0.25)
    draw_components(ax, model.means_, model.covariances_, "combined", color="tab:blue", linewidth=2)
    ax.set(title=title, xlabel="systolic (mmHg)")
axes[0].set_ylabel("diastolic (mmHg)")
axes[0].legend(loc="upper right", frameon=False)
plt.show()

# %%
# Models that were fitted elsewhere
# ---------------------------------
# Where no one program sees all hospitals, each fits a ``DistributedGMM`` or scikit-learn's
# ``GaussianMixture`` at home, and the models arrive by mail. :func:`~skdistmix.reduce_mixtures`
# combines them in the same way. ``n_samples_seen_`` of the models says what they weigh; those of
# scikit-learn do not know, so ``weights=`` should tell the numbers of rows.

received = robust.experts_
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of F, as above
    one = reduce_mixtures(received, robust=True, random_state=0)
order, same = np.argsort(robust.means_[:, 0]), np.argsort(one.means_[:, 0])
print(f"left out: {[names[s] for s in one.rejected_models_]}")
print(f"means differ by {abs(robust.means_[order] - one.means_[same]).max():.0e} mmHg")

# %%
# Sites that honestly differ
# --------------------------
# Now six specialised clinics and five diseases, of which each clinic treats two or three. All
# clinics are honest, and no two of them agree. ``robust=True`` has to stay off: it takes shards for
# random pieces of the same rows. Where most clinics agree it would reject those that treat
# something else, and where none agree, as here, it has nothing to go by. Nor is there one number of
# components for all. ``local_components=range(1, 6)`` lets every clinic choose by its BIC, and
# ``n_components=5`` is what the combination has.

diseases = np.array([[0.0, 0.0], [5.0, 1.0], [1.5, 5.0], [7.0, 6.0], [-4.0, 3.5]])
spreads = np.linalg.cholesky(
    [
        [[1.2, 0.5], [0.5, 0.8]],
        [[0.7, -0.3], [-0.3, 1.0]],
        [[1.0, 0.0], [0.0, 0.5]],
        [[0.9, 0.5], [0.5, 1.1]],
        [[0.6, 0.2], [0.2, 1.3]],
    ]
)
treated = {"K": [0, 1], "L": [1, 2, 3], "M": [3, 4], "N": [0, 2, 4], "O": [2, 3], "P": [0, 1, 4]}
clinics = {}
for (clinic, which), n in zip(treated.items(), (400, 900, 500, 1200, 350, 700)):
    own = rng.dirichlet(np.full(len(which), 8.0))
    clinics[clinic] = patients(n, own, diseases[which], spreads[which])
names, rows = list(clinics), list(clinics.values())

union = MixtureOfExpertsAggregator(
    n_components=5, local_components=range(1, 6), random_state=0
).fit(rows)
print("clinic  treats  finds  patients")
for clinic, expert in zip(names, union.experts_):
    print(f"{clinic:6} {len(treated[clinic]):6} {expert.n_components:6} {len(clinics[clinic]):9,}")
nearest = np.linalg.norm(diseases[:, None] - union.means_, axis=2)
print(f"distance from each disease to the nearest mean: {nearest.min(axis=1).round(2)}")

# %%
# The display tells this from the first case: no majority agrees, and no single site differs.

ShardDisplay.from_estimator(union, names=names)
plt.show()

# %%
# The sites and their union
# -------------------------
# No clinic has seen the whole. A component of the union is made of the local ones that were moved
# to it, ``expert_labels_`` tells which, and takes their colour.

fig = plt.figure(figsize=(10, 5), layout="constrained")
small, large = fig.subfigures(1, 2, width_ratios=[1.25, 1])
axes = small.subplots(2, 3, sharex=True, sharey=True)
for ax, X, clinic, expert, labels in zip(
    axes.flat, rows, names, union.experts_, union.expert_labels_
):
    draw_rows(ax, X, "0.6")
    for k, z in enumerate(labels):
        draw_components(ax, expert.means_[[k]], expert.covariances_[[k]], color=f"C{z}")
    ax.set_title(f"clinic {clinic}", fontsize=10)
ax = large.subplots(subplot_kw={"sharex": axes[0, 0], "sharey": axes[0, 0]})
draw_components(
    ax, diseases, spreads @ spreads.transpose(0, 2, 1), "truth", color="k", linewidth=6, alpha=0.25
)
for z in range(5):
    draw_components(ax, union.means_[[z]], union.covariances_[[z]], color=f"C{z}", linewidth=2)
    ax.annotate(f"{union.weights_[z]:.0%}", union.means_[z], ha="center", va="center")
ax.set_title("their union, and what each component weighs", fontsize=10)
ax.legend(loc="lower right", frameon=False)
plt.show()

# %%
# What is approximate
# -------------------
# A combination of models is not the fit to all rows. It is near when every local fit is good: each
# site has many rows for each component, and components lie apart. A group that is rare at every
# site is missed by all of them. ``refine=5`` adds iterations of exact EM, each one more round of
# communication; :class:`~skdistmix.DistributedGMM` is exact and hears all shards in every
# iteration.
#
# The filter sees what chance does not explain. A site that is slightly wrong stays within the
# scatter of honest small ones and is kept, and if half of the sites are wrong, nothing tells which.
# The number of components of the union was given here; ``bic_`` of several fits helps to choose it.
#
# Each component stands for at least ``min_component_size`` rows before a model leaves its site.
# That protects single patients, but a model still tells something of the rows behind it: it is not
# differential privacy.
