"""scikit-learn's checks on every estimator."""

import warnings

from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from skdistmix import (
    BLBMixture,
    DistributedGMM,
    DistributedMixture,
    MixtureOfExpertsAggregator,
)
from skdistmix.cluster import LandmarkSpectralClustering
from skdistmix.families import GaussianFamily
from skdistmix.model_selection import MixtureSearch
from skdistmix.preprocessing import MarginalizedDenoisingAutoencoder, Shardwise


@parametrize_with_checks(
    [
        DistributedGMM(),
        DistributedGMM(covariance_type="VVE"),
        DistributedMixture(),
        DistributedMixture(family=GaussianFamily("EEI")),
        MixtureOfExpertsAggregator(),
        # by default it warns that the few rows of the checks are too few for subsets
        BLBMixture(method="bootstrap", n_resamples=10),
        Shardwise(),
        MarginalizedDenoisingAutoencoder(),
        LandmarkSpectralClustering(),
        MixtureSearch(
            DistributedGMM(tol="likelihood", max_iter=2000, covariance_penalty="auto"),
            {"n_components": [1, 2]},
        ),
    ]
)
def test_scikit_learn_check(estimator, check):
    with warnings.catch_warnings():
        if isinstance(estimator, LandmarkSpectralClustering):
            # some checks have fewer distinct rows than its default number of clusters
            warnings.simplefilter("ignore", ConvergenceWarning)
        check(estimator)
