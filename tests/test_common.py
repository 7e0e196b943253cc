"""scikit-learn's checks on every estimator."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from skdistmix import BLBMixture, DistributedGMM, MixtureOfExpertsAggregator
from skdistmix.preprocessing import MarginalizedDenoisingAutoencoder, Shardwise


@parametrize_with_checks(
    [
        DistributedGMM(),
        MixtureOfExpertsAggregator(),
        # by default it warns that the few rows of the checks are too few for subsets
        BLBMixture(method="bootstrap", n_resamples=10),
        Shardwise(),
        MarginalizedDenoisingAutoencoder(),
    ]
)
def test_scikit_learn_check(estimator, check):
    check(estimator)
