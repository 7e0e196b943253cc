"""
How many components?
====================

The number of components is chosen by a criterion of the whole data, not by cross-validation:
``FullData`` makes ``GridSearchCV`` fit and score each candidate on all shards, and ``neg_bic`` is
the negative of the Bayesian information criterion, so that greater is better.

The data are made to separate two questions. Five Gaussians were drawn, two of them at the same
place: BIC asks how many Gaussians describe the density and should say five, the integrated
completed likelihood (ICL) asks how many groups can be told apart and should say four.
"""

# %%
# Shards that differ
# ------------------
# Six shards of unequal size, each with its own mixing proportions, as when every site sees its own
# share of the groups.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GridSearchCV

from skdistmix import DistributedGMM
from skdistmix.model_selection import FullData, neg_bic, neg_icl

rng = np.random.default_rng(0)
means = np.array([[0, 0], [0, 0], [9, 1], [4, 8], [-5, 6]])
factors = np.array(
    [
        [[1.8, 0], [0, 0.7]],
        [[0.7, 0], [0, 1.8]],
        [[1, 0], [0.6, 1]],
        [[1.5, 0], [-0.8, 0.7]],
        [[0.8, 0], [0, 0.8]],
    ]
)
shards = []
for n_rows in (1400, 300, 800, 2000, 500, 1000):
    groups = rng.choice(5, size=n_rows, p=rng.dirichlet(np.full(5, 2)))
    noise = rng.normal(size=(n_rows, 2, 1))
    shards.append(means[groups] + (factors[groups] @ noise)[:, :, 0])

# %%
# The search
# ----------
# A list of arrays passes through the search as it is. ``tol="likelihood"`` stops EM when less than
# about 0.1 of the total log-likelihood is left to gain; the usual tolerance is one on the mean and
# would leave differences larger than those that criteria decide by. The default start spreads its
# centres out and rarely puts two of them in one place, so here each candidate gets ten starts from
# random rows.

search = GridSearchCV(
    DistributedGMM(
        tol="likelihood",
        max_iter=2000,
        init_params="random_from_data",
        n_init=10,
        random_state=0,
    ),
    {"n_components": list(range(1, 7))},
    scoring={"bic": neg_bic, "icl": neg_icl},
    refit="bic",
    cv=FullData(),
).fit(shards)

results = search.cv_results_
candidates = np.array(results["param_n_components"], dtype=int)
bic, icl = -results["mean_test_bic"], -results["mean_test_icl"]
print(" K        BIC        ICL")
for k, *row in zip(candidates, bic, icl):
    print(f"{k:2}  {row[0]:9,.1f}  {row[1]:9,.1f}")
print(f"smallest BIC: K = {candidates[bic.argmin()]}, smallest ICL: K = {candidates[icl.argmin()]}")

# %%
# Criteria and clusters
# ---------------------
# Criteria are drawn as differences from their smallest value. Ellipses hold 90 % of a component.

gmm = search.best_estimator_
fig, (criteria_ax, data_ax) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
for values, name, marker in ((bic, "BIC", "o"), (icl, "ICL", "s")):
    line = criteria_ax.plot(candidates, values - values.min() + 1, marker=marker, label=name)
    best = values.argmin()
    criteria_ax.plot(
        candidates[best],
        1,
        marker=marker,
        markersize=13,
        fillstyle="none",
        color=line[0].get_color(),
    )
criteria_ax.set(
    xlabel="number of components",
    ylabel="1 + difference from the smallest",
    yscale="log",
    title="Criteria, the smaller the better",
)
criteria_ax.legend()

circle = np.stack([np.cos(np.linspace(0, 2 * np.pi, 100)), np.sin(np.linspace(0, 2 * np.pi, 100))])
radius = np.sqrt(-2 * np.log(1 - 0.9))
rows, labels = np.concatenate(shards), np.concatenate(gmm.predict(shards))
shown = rng.choice(len(rows), size=4000, replace=False)
for k in range(gmm.n_components):
    mine = shown[labels[shown] == k]
    data_ax.scatter(*rows[mine].T, s=3, alpha=0.4, color=f"C{k}", linewidths=0)
    ellipse = gmm.means_[k][:, None] + radius * np.linalg.cholesky(gmm.covariances_[k]) @ circle
    data_ax.plot(*ellipse, color=f"C{k}", linewidth=2)
data_ax.set(title=f"{gmm.n_components} components, chosen by BIC", aspect="equal")
plt.show()
