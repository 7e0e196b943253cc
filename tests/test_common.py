"""scikit-learn's checks on every estimator."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from skdistmix import DistributedGMM, MixtureOfExpertsAggregator
from skdistmix.preprocessing import Shardwise


@parametrize_with_checks([DistributedGMM(), MixtureOfExpertsAggregator(), Shardwise()])
def test_scikit_learn_check(estimator, check):
    check(estimator)
