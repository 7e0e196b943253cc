"""MixtureOfExpertsAggregator over the partitions of Dask collections."""

import pickle
import warnings

import numpy as np
import pytest
from on_dask import X, array, quiet

from skdistmix import DistributedGMM, MixtureOfExpertsAggregator
from skdistmix._compute import _cluster

pytestmark = quiet
LOCAL = DistributedGMM(tol="likelihood", covariance_penalty="auto", max_iter=500)
MODEL = ("weights_", "means_", "covariances_")


def aggregator(**kwargs):
    return MixtureOfExpertsAggregator(LOCAL, 3, random_state=0, **kwargs)


def test_partitions_are_shards(somewhere):
    Z = array(rows=1500)
    parts = np.array_split(X, 4)
    for options in ({"refine": 1}, {"aggregation": "stacking"}):
        model, same = aggregator(**options).fit(Z), aggregator(**options).fit(parts)
        assert len(model.experts_) == 4
        for name in MODEL:
            np.testing.assert_allclose(getattr(model, name), getattr(same, name), rtol=1e-9)
        assert model.bytes_sent_ == same.bytes_sent_
        np.testing.assert_array_equal(
            np.asarray(model.predict(Z).compute()), np.concatenate(model.predict(parts))
        )


def test_weights_and_context_go_with_the_partitions(client):
    Z = array(rows=1500).persist()
    w = np.random.default_rng(0).integers(1, 3, size=len(X)).astype(float)
    u = np.repeat([0.0, 0.0, 1.0, 1.0], 1500)
    parts, weights = np.array_split(X, 4), np.array_split(w, 4)
    model = aggregator(gate="context").fit(Z, sample_weight=array(w, rows=1500), context=u)
    same = aggregator(gate="context").fit(parts, sample_weight=weights, context=np.split(u, 4))
    np.testing.assert_allclose(model.means_, same.means_, rtol=1e-9)
    assert model.lower_bound_ == pytest.approx(same.lower_bound_, rel=1e-9)
    with pytest.raises(ValueError, match="not predicted lazily"):
        model.predict(Z, context=u)


def test_what_is_sent_is_what_the_futures_hold(client, monkeypatch):
    """Against the serialized results of the tasks; a model is sent once and is small."""
    sizes, original = [], _cluster.Cluster.map_shards

    def weighed(self, *args):
        results = original(self, *args)
        sizes.extend(len(pickle.dumps(result)) for result in results)
        return results

    monkeypatch.setattr(_cluster.Cluster, "map_shards", weighed)
    model = aggregator().fit(array(rows=1500).persist())
    assert len(sizes) == 4
    closing = 4 * 3 * 8  # a score of three numbers from each
    own = model.bytes_sent_ - closing
    assert own < sum(sizes) < own + 4 * 1500  # names of classes and fields
    assert own < X.nbytes / 20


def test_errors_on_workers_name_the_partition(client):
    bad = X.copy()
    bad[1600, 0] = np.nan
    with pytest.raises(ValueError, match=r"contains NaN: partition 1.*row 100"):
        aggregator().fit(array(bad, rows=1500).persist())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        shifted = X.copy()
        shifted[:1500] += 500
        model = aggregator(robust=True).fit(array(shifted, rows=1500).persist())
    assert model.rejected_shards_.tolist() == [0]
