"""Components put together to clusters: against a version that holds all rows, and over shards."""

import pickle
from itertools import combinations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from poisson import PoissonFamily, make_counts
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture

from skdistmix import (
    DistributedGMM,
    DistributedMixture,
    MixtureOfExpertsAggregator,
    as_shards,
)
from skdistmix.model_selection import merge_components


@pytest.fixture(scope="module")
def cross():
    """A cross, which takes two components, and three round groups; the mixture of five."""
    rng = np.random.default_rng(0)
    groups = [rng.normal(0, scale, size=(300, 2)) for scale in ((3.0, 0.4), (0.4, 3.0))]
    groups += [rng.normal(center, 1.0, size=(300, 2)) for center in ((16, 0), (21, 1), (0, 20))]
    X = rng.permutation(np.concatenate(groups))
    gmm = DistributedGMM(5, n_init=10, init_params="random_from_data", random_state=0).fit(X)
    return gmm, X


def textbook(t, weight, method):
    """Merges, entropies and overlaps from the posterior probabilities of all rows.

    Written from the formulas: entropies (Baudry et al. 2010) and misclassification probabilities
    (Hennig 2010) are computed anew for every pair in every step.
    """

    def entropy(t):
        logs = np.log(t, out=np.zeros_like(t), where=t > 0)
        return -(weight[:, None] * t * logs).sum()

    def shares(t):
        nearest = t.argmax(axis=1)
        K = t.shape[1]
        out = np.zeros((K, K))
        for a in range(K):
            for b in range(K):
                if a != b:
                    out[a, b] = (weight * t[:, a])[nearest == b].sum() / (weight @ t[:, a])
        return out

    def joined(t, i, j):
        both = t.copy()
        both[:, i] += both[:, j]
        return np.delete(both, j, axis=1)

    clusters = [(k,) for k in range(t.shape[1])]
    entropies, overlaps, merges = [entropy(t)], [shares(t).max()], []
    while len(clusters) > 1:
        pairs = list(combinations(range(len(clusters)), 2))
        if method == "entropy":
            i, j = min(pairs, key=lambda pair: entropy(joined(t, *pair)))
        else:
            both = np.maximum(shares(t), shares(t).T)
            i, j = max(pairs, key=lambda pair: both[pair])
        merges.append((clusters[i], clusters[j]))
        t = joined(t, i, j)
        clusters[i] = tuple(sorted(clusters[i] + clusters[j]))
        del clusters[j]
        entropies.append(entropy(t))
        overlaps.append(shares(t).max())
    return merges, np.maximum(entropies[::-1], 0), np.array(overlaps[::-1])


@pytest.mark.parametrize("method", ["entropy", "overlap"])
def test_as_the_textbook_says(cross, method):
    gmm, X = cross
    weight = np.random.default_rng(1).integers(0, 4, size=len(X)).astype(float)
    merges, entropies, overlaps = textbook(gmm.predict_proba(X), weight, method)
    merged = merge_components(gmm, X, method=method, sample_weight=weight)
    assert merged.merges == merges
    assert_allclose(merged.entropies, entropies, rtol=1e-9, atol=1e-9)
    assert_allclose(merged.overlaps, overlaps, rtol=1e-9, atol=1e-12)
    assert merged.method == method and merged.n_components == 5


def test_iris_as_the_textbook_says(iris):
    """More components than species, in groups that overlap."""
    gmm = DistributedGMM(6, covariance_type="diag", random_state=0).fit(iris)
    for method in ("entropy", "overlap"):
        merges, entropies, overlaps = textbook(gmm.predict_proba(iris), np.ones(150), method)
        merged = merge_components(gmm, iris, method=method)
        assert merged.merges == merges
        assert_allclose(merged.entropies, entropies, rtol=1e-9, atol=1e-9)
        assert_allclose(merged.overlaps, overlaps, rtol=1e-9, atol=1e-12)


def test_the_cross_is_one_cluster(cross):
    gmm, X = cross
    merged = merge_components(gmm, X)
    arms = np.flatnonzero(np.abs(gmm.means_).max(axis=1) < 1)
    assert merged.merges[0] == tuple((int(k),) for k in arms)
    assert merged.n_clusters == merged.elbow == 4
    assert np.ptp(merged.labels()[arms]) == 0 and len(set(merged.labels())) == 4
    # of the groups at the distance of 5.1 about 0.5 % of the rows are taken for the other's
    assert merge_components(gmm, X, method="overlap").n_clusters == 4
    assert merge_components(gmm, X, method="overlap", threshold=0.001).n_clusters == 3
    assert merge_components(gmm, X, threshold=1.0).n_clusters_by_overlap == 5


def test_the_elbow_by_hand(iris):
    gmm = DistributedGMM(6, covariance_type="diag", random_state=0).fit(iris)
    merged = merge_components(gmm, iris)
    # from 6 clusters down, as Baudry et al. (2010) draw it: entropies over rows merged so far
    x, y = np.append(0, np.cumsum(merged.merged_sizes)), merged.entropies[::-1]
    costs = {}
    for turn in range(1, 5):  # of the 6 points; it belongs to both lines
        costs[6 - turn] = sum(
            np.square(y[side] - np.polyval(np.polyfit(x[side], y[side], 1), x[side])).sum()
            for side in (slice(0, turn + 1), slice(turn, None))
        )
    assert merged.elbow == min(costs, key=costs.get)


def test_labels_and_predictions_fit_each_other(cross):
    gmm, X = cross
    merged = merge_components(gmm, X)
    resp = gmm.predict_proba(X)
    for n in range(1, 6):
        labels = merged.labels(n)
        assert labels[0] == 0 and len(np.unique(labels)) == n
        first = [np.flatnonzero(labels == g)[0] for g in range(n)]
        assert first == sorted(first)
        sums = np.stack([resp[:, labels == g].sum(axis=1) for g in range(n)], axis=1)
        assert_allclose(merged.predict_proba(X, n), sums, atol=1e-12)
        assert_array_equal(merged.predict(X, n), sums.argmax(axis=1))
    assert_array_equal(merged.labels(5), range(5))
    assert_array_equal(merged.predict(X), merged.predict(X, merged.n_clusters))
    # each number of clusters is a union of those of the next
    for n in range(1, 5):
        coarse, fine = merged.labels(n), merged.labels(n + 1)
        assert len(set(zip(fine, coarse))) == n + 1


@pytest.mark.parametrize("method", ["entropy", "overlap"])
def test_sums_over_shards_are_those_of_all_rows(cross, method, tmp_path):
    gmm, X = cross
    whole = merge_components(gmm, X, method=method)
    pieces = [X[:7], X[7:7], X[7:800], X[800:]]
    np.save(tmp_path / "a.npy", X[:500])
    np.save(tmp_path / "b.npy", X[500:])
    for shards in (pieces, as_shards(X, 5), str(tmp_path / "*.npy")):
        merged = merge_components(gmm, shards, method=method, n_jobs=2)
        assert merged.merges == whole.merges
        assert_allclose(merged.entropies, whole.entropies, rtol=1e-10, atol=1e-9)
        assert_allclose(merged.overlaps, whole.overlaps, atol=1e-12)
    assert [len(labels) for labels in whole.predict(pieces)] == [7, 0, 793, 700]
    in_files = list(whole.predict(str(tmp_path / "*.npy")))
    assert_array_equal(np.concatenate(in_files), whole.predict(X))


def test_weights_are_frequencies(cross):
    gmm, X = cross
    weight = np.random.default_rng(0).integers(0, 3, size=len(X))
    for method in ("entropy", "overlap"):
        weighted = merge_components(gmm, X, method=method, sample_weight=weight)
        repeated = merge_components(gmm, np.repeat(X, weight, axis=0), method=method)
        assert weighted.merges == repeated.merges
        assert_allclose(weighted.entropies, repeated.entropies, atol=1e-9)
        assert_allclose(weighted.merged_sizes, repeated.merged_sizes)
        assert weighted.elbow == repeated.elbow


def test_frames_and_dask(cross):
    pandas = pytest.importorskip("pandas")
    X = cross[1]
    frame = pandas.DataFrame(X, columns=["a", "b"])
    named = DistributedGMM(3, random_state=0).fit(frame)
    plain = DistributedGMM(3, random_state=0).fit(X)
    merged, other = merge_components(named, frame), merge_components(plain, X)
    assert merged.merges == other.merges
    assert_array_equal(merged.predict(frame), other.predict(X))
    dask_array = pytest.importorskip("dask.array")
    lazy = dask_array.from_array(X, chunks=(400, 2))
    assert merge_components(plain, lazy).merges == other.merges
    assert_array_equal(other.predict(lazy).compute(), other.predict(X))


def test_models_of_every_kind(cross):
    gmm, X = cross
    theirs = GaussianMixture(3, random_state=0).fit(X)
    merged = merge_components(theirs, X)
    assert_allclose(merged.predict_proba(X, 3), theirs.predict_proba(X), atol=1e-9)
    assert merge_components(gmm.to_sklearn(), X).merges == merge_components(gmm, X).merges
    shards = np.array_split(X, 3)
    for model in (
        MixtureOfExpertsAggregator(n_components=3, random_state=0),
        DistributedMixture(n_components=3, random_state=0),
    ):
        merged = merge_components(model.fit(shards), shards)
        merges, entropies, _ = textbook(model.predict_proba(X), np.ones(len(X)), "entropy")
        assert merged.merges == merges
        assert_allclose(merged.entropies, entropies, rtol=1e-9, atol=1e-9)


def test_rows_of_density_zero_count_once():
    X = make_counts(300)[0]
    model = DistributedMixture(3, family=PoissonFamily(), random_state=0).fit(X)
    merged, more = (merge_components(model, rows) for rows in (X, np.append(X, [[-1.0, 1, 1]], 0)))
    assert more.merges == merged.merges
    assert_allclose(more.merged_sizes[-1], 301)
    assert_allclose(more.entropies[2] - merged.entropies[2], np.log(3))
    assert_allclose(more.overlaps, merged.overlaps, atol=0.01)


@pytest.mark.parametrize("K", [1, 2])
def test_few_components(cross, K):
    X = cross[1]
    merged = merge_components(DistributedGMM(K, random_state=0).fit(X), X)
    assert merged.n_clusters == merged.elbow == K
    assert len(merged.merges) == K - 1
    assert len(merged.entropies) == len(merged.overlaps) == K
    assert_array_equal(merged.predict(X, 1), 0)
    assert "cluster" in repr(merged)


def test_components_in_one_place_are_merged_first():
    X = np.random.default_rng(0).normal(size=(400, 1)) + np.repeat([[0.0], [30.0]], 200, axis=0)
    start = {"weights_init": [0.25, 0.25, 0.5], "means_init": [[0.0], [0.0], [30.0]]}
    gmm = DistributedGMM(3, **start, precisions_init=np.ones((3, 1, 1)), max_iter=0).fit(X)
    for method in ("entropy", "overlap"):
        merged = merge_components(gmm, X, method=method)
        assert merged.merges[0] == ((0,), (1,))
    # 200 rows whose two posterior probabilities are one half
    assert_allclose(merged.entropies, [0, 0, 200 * np.log(2)], atol=1e-9)
    assert merged.n_clusters_by_overlap == 2


def test_nothing_is_changed_and_all_can_be_kept(cross):
    gmm, X = cross
    before, copy = pickle.dumps(gmm), X.copy()
    merged = merge_components(gmm, X)
    assert pickle.dumps(gmm) == before
    assert_array_equal(X, copy)
    again = pickle.loads(pickle.dumps(merged))
    assert_array_equal(again.predict(X), merged.predict(X))


def test_bad_input(cross):
    gmm, X = cross
    merged = merge_components(gmm, X)
    with pytest.raises(TypeError, match=r"model must be a fitted mixture.*'gmm'"):
        merge_components("gmm", X)
    with pytest.raises(NotFittedError):
        merge_components(DistributedGMM(2), X)
    with pytest.raises(ValueError, match="'method' parameter"):
        merge_components(gmm, X, method="ward")
    with pytest.raises(ValueError, match="'threshold' parameter"):
        merge_components(gmm, X, threshold=2.0)
    with pytest.raises(ValueError, match="features"):
        merge_components(gmm, X[:, :1])
    with pytest.raises(ValueError, match="NaN"):
        merge_components(gmm, np.where(X == X[5, 0], np.nan, X))
    with pytest.raises(ValueError, match="weights must contain a value above zero"):
        merge_components(gmm, X, sample_weight=np.zeros(len(X)))
    for n in (0, 6, 2.5, "2", True):
        with pytest.raises(ValueError, match="from 1 to the 5 component"):
            merged.labels(n)
    with pytest.raises(ValueError, match="from 1 to the 5 component"):
        merged.predict(X, 9)
    with pytest.raises(ValueError, match="does not support the noise component"):
        merge_components(DistributedGMM(2, noise="auto", random_state=0).fit(X), X)
    shards = [X[:600], X[600:]]
    gated = MixtureOfExpertsAggregator(
        n_components=3, gate="softmax", local_components=3, random_state=0
    ).fit(shards)
    with pytest.raises(ValueError, match="needs a density"):
        merge_components(gated, shards)
