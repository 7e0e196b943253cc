"""
Which mixture? A grid in shared sweeps
======================================

A mixture has two things to choose: how many components, and what their covariances may be.
:class:`~skdistmix.model_selection.MixtureSearch` fits the whole grid side by side. A block of rows
that was read updates every model that still runs, and models that cannot win any more are stopped.

The data lie in eight shards. Four groups share one shape, so the covariance type "tied" describes
them with the fewest parameters: BIC should find it, and four components.
"""

# %%
# Shards
# ------

import matplotlib.pyplot as plt
import numpy as np

from skdistmix import DistributedGMM
from skdistmix.inspection import CriterionDisplay
from skdistmix.model_selection import MixtureSearch

rng = np.random.default_rng(0)
means = np.array([[0, 0], [5, 1], [1, 6], [7, 7]])
shape = np.array([[1.4, 0.0], [0.7, 0.8]])
shards = []
for n_rows in (900, 400, 700, 1200, 300, 800, 600, 1100):
    groups = rng.choice(4, size=n_rows, p=rng.dirichlet(np.full(4, 3)))
    shards.append(means[groups] + rng.normal(size=(n_rows, 2)) @ shape.T)

# %%
# The search
# ----------
# ``tol="likelihood"`` goes on until BIC can be trusted; ``acceleration`` shortens the way where
# there are more components than groups.

search = MixtureSearch(
    DistributedGMM(tol="likelihood", max_iter=3000, acceleration="squarem", random_state=0),
    {
        "n_components": list(range(1, 9)),
        "covariance_type": ["full", "tied", "diag", "spherical"],
    },
).fit(shards)
search.best_params_

# %%
# What became of each model is in ``cv_results_``, in the layout of scikit-learn's searches. As a
# table (a DataFrame where pandas is installed):

stopped = search.cv_results_["stopped"]
print(f"{stopped.sum()} of {len(stopped)} models were stopped early")
search.criterion_table_

# %%
# The picture
# -----------
# Differences from the smallest BIC, on a scale that is linear up to 10. Hollow markers are models
# that were stopped: their BIC would have fallen further, but not to the bottom.

fig, (criterion_ax, data_ax) = plt.subplots(1, 2, figsize=(10.5, 4.4), layout="constrained")
CriterionDisplay.from_search(search, ax=criterion_ax, differences=True)

labels = np.concatenate(search.predict(shards))
rows = np.concatenate(shards)
shown = rng.choice(len(rows), size=3000, replace=False)
for k in range(search.best_estimator_.n_components):
    mine = shown[labels[shown] == k]
    data_ax.scatter(*rows[mine].T, s=3, alpha=0.5)
data_ax.set(title="the groups of the best model", aspect="equal")
plt.show()
