"""BLBMixture over the partitions of Dask collections."""

import numpy as np
import pytest
from on_dask import X, array, quiet

from skdistmix import BLBMixture, DistributedGMM
from skdistmix._compute import _cluster

pytestmark = quiet
GMM = DistributedGMM(3, max_iter=1000)


def blb(**kwargs):
    options = {"n_subsets": 3, "n_resamples": 25, "subset_size": 900, "random_state": 0}
    return BLBMixture(GMM, **{**options, **kwargs})


def assert_same(a, b):
    for name in ("weights", "means", "covariances"):
        np.testing.assert_allclose(
            a.standard_errors_[name], b.standard_errors_[name], rtol=1e-6, atol=1e-10
        )
        for end in ("lower", "upper"):
            np.testing.assert_allclose(
                a.confidence_intervals_[end][name], b.confidence_intervals_[end][name], rtol=1e-6
            )


@pytest.mark.parametrize("options", [{}, {"method": "bootstrap"}, {"subsets": "shards"}])
def test_partitions_give_the_errors_of_their_rows(somewhere, options):
    Z = array(rows=1500)
    model, same = blb(**options).fit(Z), blb(**options).fit(np.array_split(X, 4))
    assert_same(model, same)
    np.testing.assert_array_equal(np.asarray(model.predict(Z).compute()), same.predict(X))
    with pytest.raises(ValueError, match="not computed lazily"):
        model.predict_proba_interval(Z)


def test_only_subsets_travel(client, monkeypatch):
    sent, original = [], _cluster.Cluster._scattered

    def counted(self, shard):
        sent.append(shard.n_rows)
        return original(self, shard)

    monkeypatch.setattr(_cluster.Cluster, "_scattered", counted)
    blb().fit(array(rows=1500).persist())
    assert sum(sent) < 4000  # three subsets with their weights, of 6000 rows
    sent.clear()
    blb(subsets="shards").fit(array(rows=1500).persist())
    assert sum(sent) == 0
