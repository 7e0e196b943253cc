"""Hierarchical clustering as a start: trees, laws of the partition, and what EM reaches from it."""

import numpy as np
import pytest
from conftest import COVARIANCE_TYPES, CutIn, make_blobs
from sklearn.metrics import adjusted_rand_score

from skdistmix import DistributedGMM
from skdistmix._hierarchical import CRITERIA, hierarchical_labels, hierarchical_tree

# Total log-likelihoods that R 4.2.2 with mclust 6.0.0 reaches at a relative tolerance of 1e-12 from
# its own hierarchical start: {covariance_type: {n_components: value}}.
MCLUST_IRIS = {
    "full": {2: -214.354704, 3: -180.185477, 4: -165.547524, 5: -152.903735, 6: -137.740420},
    "tied": {2: -296.447575, 3: -256.354043, 4: -250.333106, 5: -217.205714, 6: -207.200208},
    "diag": {2: -386.185347, 3: -307.177572, 4: -287.820501, 5: -245.490496, 6: -220.860011},
    "spherical": {2: -478.559096, 3: -384.314095, 4: -348.673272, 5: -298.645254},
}
# Sizes of the clusters of its hierarchical clustering of iris.
MCLUST_SIZES = {
    2: [49, 101],
    3: [39, 49, 62],
    5: [16, 18, 33, 39, 44],
    9: [9, 10, 12, 13, 16, 17, 18, 20, 35],
}


@pytest.fixture(params=sorted(CRITERIA))
def criterion(request):
    return request.param


@pytest.fixture(scope="module")
def rows():
    return make_blobs(n_rows=150, n_features=3, n_components=4, spread=4, seed=1)[0]


def cluster_sets(labels):
    return {frozenset(np.flatnonzero(labels == k)) for k in np.unique(labels)}


# ------------------------------------------------------------------ the tree


def test_partitions_are_nested(rows, criterion):
    tree = hierarchical_tree(rows, criterion=criterion)
    finer = cluster_sets(tree.cut(len(rows)))
    assert len(finer) == len(rows)
    for n_clusters in range(len(rows) - 1, 0, -1):
        labels = tree.cut(n_clusters)
        assert sorted(set(labels)) == list(range(n_clusters))
        coarser = cluster_sets(labels)
        (united,) = coarser - finer
        assert len(finer - coarser) == 2 and united == frozenset().union(*(finer - coarser))
        finer = coarser


@pytest.mark.parametrize("n_rows", [150, 1500])  # the larger starts with Ward's criterion
def test_tree_and_labels_agree(n_rows, criterion):
    X, _ = make_blobs(n_rows=n_rows, n_features=2, n_components=3, seed=2)
    tree = hierarchical_tree(X, criterion=criterion)
    for n_clusters in (1, 2, 5):
        labels = hierarchical_labels(X, n_clusters, criterion=criterion)
        np.testing.assert_array_equal(tree.cut(n_clusters), labels)


def test_merges_are_the_cheapest_of_all_pairs(criterion):
    X = np.random.default_rng(3).normal(size=(25, 2))
    coordinates, value = CRITERIA[criterion]
    order = np.lexsort(X.T[::-1])
    Z = coordinates(X[order], np.ones(25))
    clusters = {i: [i] for i in range(25)}

    def term(members):
        about = Z[members] - Z[members].mean(axis=0)
        return value(np.array([float(len(members))]), (about.T @ about)[None])[0]

    def rise(i, j):
        return term(clusters[i] + clusters[j]) - term(clusters[i]) - term(clusters[j])

    for i, j in hierarchical_tree(X, criterion=criterion).merges:
        costs = [rise(a, b) for a in clusters for b in clusters if a < b]
        assert rise(i, j) == pytest.approx(min(costs), abs=1e-9)
        clusters[i] += clusters.pop(j)


def test_weights_are_repetitions(rows, criterion):
    repeats = np.random.default_rng(0).integers(1, 5, len(rows))
    weighted = hierarchical_tree(rows, repeats, criterion)
    repeated = hierarchical_tree(np.repeat(rows, repeats, axis=0), criterion=criterion)
    larger = hierarchical_tree(rows, 1e6 * repeats, criterion)
    np.testing.assert_array_equal(weighted.merges, repeated.merges)
    np.testing.assert_array_equal(weighted.merges, larger.merges)
    np.testing.assert_array_equal(np.repeat(weighted.cut(5), repeats), repeated.cut(5))


def test_row_order_does_not_matter(rows, criterion):
    order = np.random.default_rng(0).permutation(len(rows))
    labels = hierarchical_labels(rows, 4, criterion=criterion)
    np.testing.assert_array_equal(
        hierarchical_labels(rows[order], 4, criterion=criterion), labels[order]
    )


def test_affine_changes_do_not_matter(rows):
    rng = np.random.default_rng(0)
    for matrix in (rng.normal(size=(3, 3)), np.diag([1e-3, -1.0, 1e6])):
        moved = rows @ matrix + 1e3 * rng.normal(size=3)
        for n_clusters in (2, 4, 9):
            here, there = (hierarchical_labels(X, n_clusters) for X in (rows, moved))
            assert adjusted_rand_score(here, there) == 1.0


def test_units_do_not_matter(rows, criterion):
    moved = rows * [1e-5, -1.0, 1e6] + [1.0, 1e4, -1e9]
    for n_clusters in (2, 4, 9):
        labels = [hierarchical_labels(X, n_clusters, criterion=criterion) for X in (rows, moved)]
        assert adjusted_rand_score(*labels) == 1.0


def test_extreme_values(rows, criterion):
    labels = hierarchical_labels(rows, 4, criterion=criterion)
    for factor in (1e200, 1e-200):
        moved = hierarchical_labels(rows * factor, 4, criterion=criterion)
        assert adjusted_rand_score(labels, moved) == 1.0


def test_duplicates_and_constant_columns(rows, criterion):
    repeated = np.concatenate([rows, rows[:40], rows[:40]])
    labels = hierarchical_labels(repeated, 4, criterion=criterion)
    np.testing.assert_array_equal(labels[:40], labels[150:190])
    wide = np.column_stack([np.full(len(rows), 1e9 / 3), rows, rows[:, 0], rows[:, 1] + rows[:, 2]])
    assert set(hierarchical_labels(wide, 4, criterion=criterion)) == {0, 1, 2, 3}
    constant = np.column_stack([rows, np.full(len(rows), 0.1)])
    np.testing.assert_array_equal(
        hierarchical_labels(constant, 4, criterion=criterion),
        hierarchical_labels(rows, 4, criterion=criterion),
    )


def test_fewer_rows_than_columns(criterion):
    X = np.random.default_rng(0).normal(size=(8, 100))
    for n_clusters in (1, 3, 8):
        labels = hierarchical_labels(X, n_clusters, criterion=criterion)
        assert sorted(set(labels)) == list(range(n_clusters))
    assert hierarchical_labels(np.ones((5, 2)), 1).tolist() == [0] * 5


def test_finds_parallel_clusters():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 2)) * [10.0, 0.1]
    X[500:, 1] += 1.0
    X[1000:, 1] += 1.0
    assert adjusted_rand_score(np.arange(1500) // 500, hierarchical_labels(X, 3)) > 0.99


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_clusters": 4}, "from 1 to 3"),
        ({"n_clusters": 0}, "from 1 to 3"),
        ({"X": np.zeros(3)}, r"shape \(3,\)"),
        ({"X": np.empty((0, 2))}, "with rows"),
        ({"X": np.array([[np.nan], [1.0]])}, "NaN"),
        ({"weight": np.ones(2)}, r"expected \(6,\)"),
        ({"weight": np.zeros(6)}, "above 0"),
        ({"criterion": "ward"}, "'ridge', 'trace'"),
    ],
)
def test_refusals(change, message):
    X = np.repeat([[0.0, 0.0], [0.0, 1.0], [2.0, 2.0]], 2, axis=0)
    with pytest.raises(ValueError, match=message):
        hierarchical_labels(**{"X": X, "n_clusters": 2, **change})


# ------------------------------------------------------------------ as a start of EM


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_reaches_the_likelihoods_of_mclust(iris, kind):
    for n_components, reference in MCLUST_IRIS[kind].items():
        gmm = DistributedGMM(
            n_components,
            covariance_type=kind,
            init_params="hierarchical",
            tol=1e-9,
            reg_covar=0,
            max_iter=1000,
        ).fit(iris)
        assert gmm.lower_bound_ * len(iris) > reference - 1e-3


def test_trace_criterion_gives_the_clusters_of_mclust(iris):
    tree = hierarchical_tree(iris, criterion="trace")
    for n_clusters, sizes in MCLUST_SIZES.items():
        assert sorted(np.bincount(tree.cut(n_clusters))) == sizes


def test_as_good_as_ten_kmeans_starts_on_flat_clusters():
    gaps = []
    for seed in range(4):
        X, _ = make_blobs(n_rows=500, n_features=4, n_components=5, spread=2, seed=seed)
        settings = {"tol": 1e-6, "max_iter": 1000, "random_state": 0}
        ours = DistributedGMM(5, init_params="hierarchical", **settings).fit(X)
        kmeans = DistributedGMM(5, n_init=10, **settings).fit(X)
        gaps.append(ours.lower_bound_ - kmeans.lower_bound_)
    assert np.mean(gaps) > -0.005


# The larger is sampled.
@pytest.mark.parametrize(
    ("n_rows", "kind", "ways"),
    [*((400, kind, CutIn.ways) for kind in COVARIANCE_TYPES), (4000, "full", ["ragged"])],
)
def test_start_does_not_depend_on_shards(n_rows, kind, ways):
    X, _ = make_blobs(n_rows=n_rows, n_features=2, n_components=3, seed=5)
    settings = {"covariance_type": kind, "init_params": "hierarchical", "max_iter": 0}
    whole = DistributedGMM(3, random_state=7, **settings).fit(X)
    for way in ways:
        cut = DistributedGMM(3, random_state=7, **settings).fit(CutIn.cut(X, way))
        np.testing.assert_allclose(cut.means_, whole.means_, rtol=1e-9)
        np.testing.assert_allclose(cut.covariances_, whole.covariances_, rtol=1e-8)


def test_weighted_start(iris):
    weight = np.arange(len(iris)) % 3  # also 0
    settings = {"init_params": "hierarchical", "reg_covar": 0, "max_iter": 0}
    weighted = DistributedGMM(3, **settings).fit(iris, sample_weight=weight)
    repeated = DistributedGMM(3, **settings).fit(np.repeat(iris, weight, axis=0))
    np.testing.assert_allclose(weighted.means_, repeated.means_, rtol=1e-10)
    np.testing.assert_allclose(weighted.covariances_, repeated.covariances_, rtol=1e-8)


def test_all_rows_give_one_start_and_samples_give_several():
    X, labels = make_blobs(n_rows=5000, n_features=2, n_components=3, spread=9, seed=5)
    small = DistributedGMM(3, init_params="hierarchical", n_init=4).fit(X[:3000])
    assert small.init_scores_.shape == (1,)
    large = DistributedGMM(3, init_params="hierarchical", n_init=2, max_iter=0, random_state=0)
    assert len(set(large.fit(X).init_scores_)) == 2
    assert adjusted_rand_score(labels, large.predict(X)) > 0.95


def test_on_a_sample_first():
    X, labels = make_blobs(n_rows=20_000, n_features=2, n_components=3, spread=9, seed=5)
    gmm = DistributedGMM(3, init_params="hierarchical", subsample=4000, random_state=0)
    assert adjusted_rand_score(labels, gmm.fit_predict(X)) > 0.98
    assert gmm.n_iter_ <= 10


def test_rows_that_occur_many_times():
    # a sample would hardly see the five rare values, and there must be a cluster for each
    X = np.concatenate([np.zeros((20_000, 1)), np.arange(1.0, 6.0)[:, None]])
    gmm = DistributedGMM(6, init_params="hierarchical", random_state=0, max_iter=0).fit(X)
    np.testing.assert_allclose(np.sort(gmm.means_[:, 0]), np.arange(6.0), atol=1e-6)


def test_clusters_in_a_subspace_start_from_their_centres():
    rng = np.random.default_rng(0)
    points = 50 * rng.normal(size=(4, 3))
    X = np.repeat(points, 30, axis=0)
    X[::30] += rng.normal(size=(4, 3))
    labels = np.repeat(np.arange(4), 30)
    gmm = DistributedGMM(4, covariance_type="tied", init_params="hierarchical", reg_covar=0)
    assert adjusted_rand_score(labels, gmm.fit_predict(X)) == 1.0
    with pytest.raises(ValueError, match="not positive definite"):
        DistributedGMM(4, init_params="hierarchical", reg_covar=0).fit(X)


def test_too_many_components_are_refused_at_once(rows):
    with pytest.raises(ValueError, match="at most 300 components, got n_components=301"):
        DistributedGMM(301, init_params="hierarchical").fit(np.eye(400)[:, :2])
    with pytest.raises(ValueError, match="distinct row"):
        DistributedGMM(4, init_params="hierarchical").fit(np.repeat(rows[:3], 5, axis=0))
