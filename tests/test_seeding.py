"""Starts: keyed random numbers, k-means||, k-means++, random rows, on weighted shards."""

import numpy as np
import pytest
from conftest import CutIn
from scipy.stats import ks_2samp

from skdistmix import as_shards
from skdistmix._compute import Workers
from skdistmix._em import first_pass
from skdistmix._sampling import bounded_sample, uniforms
from skdistmix._seeding import (
    assign,
    kmeans_parallel,
    kmeans_plusplus,
    lloyd,
    nearest,
    random_rows,
    squared_distance,
)

CENTERS = (kmeans_parallel, kmeans_plusplus, random_rows)


def gauss_mixture(n=10_000, d=15, k=50, R=100, seed=0):
    """GaussMixture of Bahmani et al. (2012): centres ~ N(0, R I), unit covariances."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(0, np.sqrt(R), (k, d))
    return centers[rng.integers(0, k, n)] + rng.normal(size=(n, d))


@pytest.fixture
def map_reduce():
    with Workers(None) as workers:
        yield workers.map_reduce


@pytest.mark.parametrize("per_row", [1, 3])
def test_random_numbers_belong_to_rows(per_row):
    whole = uniforms(7, 2, range(1000), per_row)
    assert whole.shape == (1000, per_row)
    for start, stop in ((0, 1), (1, 2), (123, 991), (999, 1000)):
        part = uniforms(7, 2, range(start, stop), per_row)
        np.testing.assert_array_equal(part, whole[start:stop])
    rows = np.array([3, 4, 77, 998])
    np.testing.assert_array_equal(uniforms(7, 2, rows, per_row), whole[rows])
    assert not np.array_equal(uniforms(7, 3, range(1000), per_row), whole)
    assert not np.array_equal(uniforms(8, 2, range(1000), per_row), whole)
    assert 0.45 < whole.mean() < 0.55


def test_nearest_centre_against_all_distances():
    rng = np.random.default_rng(0)
    X, C = 1e6 + rng.normal(size=(500, 4)), 1e6 + rng.normal(size=(7, 4))
    squared = ((X[:, None] - C) ** 2).sum(axis=2)
    labels, distance = nearest(X, C)
    np.testing.assert_array_equal(labels, squared.argmin(axis=1))
    np.testing.assert_allclose(distance, squared.min(axis=1), rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(squared_distance(X, C), squared.min(axis=1), rtol=1e-8, atol=1e-12)


def test_kmeans_parallel_reaches_the_published_costs(map_reduce):
    shards = as_shards(gauss_mixture())
    seed_costs, final_costs = [], []
    for seed in range(10):
        centers = kmeans_parallel(map_reduce, shards, 50, seed)
        seed_costs.append(assign(map_reduce, shards, centers).cost)
        final_costs.append(lloyd(map_reduce, shards, centers, 100)[1])
    assert np.median(seed_costs) <= 17.5e4
    assert np.median(final_costs) <= 15.3e4


def test_kmeans_plusplus_beats_random_rows(map_reduce):
    shards = as_shards(gauss_mixture(n=4000, k=20))
    costs = {
        start: np.median(
            [
                assign(map_reduce, shards, start(map_reduce, shards, 20, seed)).cost
                for seed in range(5)
            ]
        )
        for start in CENTERS
    }
    assert costs[kmeans_parallel] < costs[kmeans_plusplus] < costs[random_rows]


@pytest.mark.parametrize("start", CENTERS)
def test_centres_do_not_depend_on_contiguous_splits(map_reduce, start):
    X = gauss_mixture(n=3000, k=10)
    whole = start(map_reduce, as_shards(X, 1), 10, 5)
    for way in CutIn.ways:
        np.testing.assert_allclose(start(map_reduce, as_shards(CutIn.cut(X, way)), 10, 5), whole)


@pytest.mark.parametrize("start", CENTERS)
def test_shuffled_rows_give_the_same_distribution_of_costs(map_reduce, start):
    X = gauss_mixture(n=1500, k=8, d=3)
    order = np.random.default_rng(1).permutation(len(X))
    a, b = as_shards(X, 1), as_shards(np.array_split(X[order], 8))
    costs = [
        [assign(map_reduce, s, start(map_reduce, s, 8, seed)).cost for seed in range(40)]
        for s in (a, b)
    ]
    assert ks_2samp(*costs).pvalue > 0.001


def test_rows_of_weight_zero_are_never_drawn(map_reduce):
    X = gauss_mixture(n=2000, k=4, d=2)
    w = (X[:, 0] > 0).astype(float)
    shards = as_shards(X).with_weights(w)
    for start in (kmeans_plusplus, random_rows):
        for seed in range(10):
            assert (start(map_reduce, shards, 4, seed)[:, 0] > 0).all()
    assert (kmeans_parallel(map_reduce, shards, 4, 0)[:, 0] > 0).all()


def test_random_rows_follow_the_weights(map_reduce):
    X = np.arange(4.0)[:, None]
    shards = as_shards(X).with_weights([1.0, 2.0, 3.0, 4.0])
    drawn = [int(random_rows(map_reduce, shards, 1, seed)[0, 0]) for seed in range(4000)]
    share = np.bincount(drawn, minlength=4) / 4000
    np.testing.assert_allclose(share, [0.1, 0.2, 0.3, 0.4], atol=0.03)
    assert sorted(random_rows(map_reduce, shards, 4, 0)[:, 0]) == [0, 1, 2, 3]


def test_kmeans_parallel_with_few_distinct_rows(map_reduce):
    X = np.repeat(np.arange(6.0)[:, None] * [1, 10], 3000, axis=0)
    centers = kmeans_parallel(map_reduce, as_shards(X), 6, 0)
    assert sorted(centers[:, 0].round(9)) == [0, 1, 2, 3, 4, 5]


def test_lloyd_never_raises_the_cost(map_reduce):
    X = gauss_mixture(n=2000, k=6, d=2, R=4)
    w = np.random.default_rng(0).random(len(X))
    shards = as_shards(X).with_weights(w)
    centers = random_rows(map_reduce, shards, 6, 0)
    costs = []
    for _ in range(15):
        costs.append(assign(map_reduce, shards, centers).cost)
        centers, _ = lloyd(map_reduce, shards, centers, 1)
    assert np.diff(costs).max() <= 1e-9 * costs[0]


def test_bounded_sample(map_reduce):
    X = gauss_mixture(n=20_000, k=4, d=2)
    shards = as_shards(X).with_weights(np.arange(1.0, 20_001))
    moments = first_pass(map_reduce, shards, full=True, limit=4)
    assert bounded_sample(map_reduce, shards, moments, 10_000, 0) is shards
    sample = bounded_sample(map_reduce, shards, moments, 2000, 0)
    assert 1700 < sample.n_rows < 2300
    np.testing.assert_allclose(sample[0].read(0, 9999).mean(axis=0), moments.mean, atol=1.0)
    split = as_shards(np.array_split(X, 3)).with_weights(np.arange(1.0, 20_001))
    again = bounded_sample(map_reduce, split, moments, 2000, 0)
    np.testing.assert_array_equal(again[0].array, sample[0].array)


def test_bounded_sample_keeps_heavy_rows(map_reduce):
    w = np.full(20_000, 1e-9)
    w[[5, 700, 19_000]] = 1.0
    shards = as_shards(np.arange(20_000.0)[:, None]).with_weights(w)
    moments = first_pass(map_reduce, shards, full=True, limit=2)
    sample = bounded_sample(map_reduce, shards, moments, 1000, 0)
    assert {5, 700, 19_000} <= set(sample[0].array[:, 0])
    assert sample.total_weight == pytest.approx(1000, rel=0.01)
