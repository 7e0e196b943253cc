"""What tests of searches share."""

import warnings

from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import ParameterGrid

from skdistmix import DistributedGMM

GRID = {"n_components": [1, 2, 3, 4], "covariance_type": ["full", "tied", "EII"]}
GMM = DistributedGMM(tol="likelihood", max_iter=3000, acceleration="squarem", random_state=0)


def separate(estimator, grid, X, sample_weight=None):
    """A fit of each cell alone."""
    fits = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for cell in ParameterGrid(grid):
            one = clone(estimator).set_params(**cell)
            fits.append(one.fit(X, sample_weight=sample_weight))
    return fits
