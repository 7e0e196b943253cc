"""scikit-learn's checks on estimators with a network."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

torch = pytest.importorskip("torch")
pytest.importorskip("skorch")

from skdistmix.deep import Autoencoder, DeepEmbeddedClustering  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


@parametrize_with_checks([Autoencoder(), DeepEmbeddedClustering()])
def test_scikit_learn_check(estimator, check):
    check(estimator)
