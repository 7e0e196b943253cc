"""Resamples: their weights, subsets of rows, which fits count, and when there are enough."""

import tracemalloc

import numpy as np
import pytest
from conftest import CutIn, make_blobs
from scipy.stats import norm, poisson

from skdistmix import BLBMixture, DistributedGMM
from skdistmix._bootstrap import (
    Replicates,
    Resampling,
    _have_settled,
    dirichlet_weights,
    multinomial_weights,
    poisson_counts,
    resampled,
)
from skdistmix._compute import Workers
from skdistmix._em import first_pass
from skdistmix._intervals import bounds, fewest_draws, is_settled, quantiles
from skdistmix._sampling import all_rows, disjoint_samples
from skdistmix._shards import as_shards, cut_rows
from skdistmix._subsets import least_rows, odd_shards, smallest_exponent, subset_rows

# ------------------------------------------------------------------ weights


@pytest.mark.parametrize("draw", [multinomial_weights, dirichlet_weights])
@pytest.mark.parametrize(
    "base",
    [np.full(5, 1.0), np.full(5, 40.0), np.array([3.0, 1.0, 0.5, 1.5, 14.0]), np.arange(1, 6) * 30],
    ids=["few draws", "many draws", "few uneven", "many uneven"],
)
def test_weights_have_the_moments_of_multinomial_counts(draw, base):
    n, rng = base.sum(), np.random.default_rng(0)
    weights = np.array([draw(rng, base) for _ in range(8000)])
    np.testing.assert_allclose(weights.sum(axis=1), n)
    np.testing.assert_allclose(weights.mean(axis=0), base, rtol=0.05)
    shares = base / n
    expected = n * (np.diag(shares) - np.outer(shares, shares))
    if draw is dirichlet_weights:
        expected *= n / (n + 1)
    np.testing.assert_allclose(np.cov(weights.T), expected, rtol=0.1, atol=0.05 * expected.max())
    if draw is multinomial_weights:
        np.testing.assert_array_equal(weights, np.round(weights))


def test_sums_of_weights_need_not_be_whole():
    base = np.array([0.3, 0.3, 0.3])
    weights = multinomial_weights(np.random.default_rng(0), base)
    assert weights.sum() == pytest.approx(0.9)


# ------------------------------------------------------------------ subsets


def moments_of(workers, shards):
    return first_pass(workers.map_reduce, shards, True, 2)


def drawn(X, size, n_samples, weight=None, seed=0):
    shards = as_shards(X).with_weights(weight)
    with Workers(1) as workers:
        moments = moments_of(workers, shards)
        return disjoint_samples(workers.map_reduce, shards, moments, size, n_samples, seed)


def test_subsets_are_disjoint_and_of_about_the_size():
    X = np.arange(40_000.0)[:, None]
    samples = drawn([X], 1000, 8)
    rows = np.concatenate([sample.X for sample in samples])
    assert len(np.unique(rows)) == len(rows)
    sizes = np.array([len(sample.X) for sample in samples])
    assert np.abs(sizes - 1000).max() < 5 * np.sqrt(1000)
    assert all((sample.weight == 1).all() for sample in samples)
    assert all((np.diff(sample.X[:, 0]) > 0).all() for sample in samples)
    # and random: means of subsets are those of simple random samples
    means = [sample.X.mean() for seed in range(5) for sample in drawn([X], 1000, 8, seed=seed)]
    assert np.std(means) == pytest.approx(40_000 / np.sqrt(12 * 1000), rel=0.3)


def test_subsets_do_not_depend_on_shards(blobs):
    X, _ = blobs
    w = np.random.default_rng(0).integers(0, 4, len(X)).astype(float)
    whole = drawn([X], 300, 3, [w])
    for way in CutIn.ways:
        parts = drawn(CutIn.cut(X, way), 300, 3, CutIn.cut(w, way))
        for a, b in zip(whole, parts, strict=True):
            np.testing.assert_array_equal(a.X, b.X)
            np.testing.assert_array_equal(a.weight, b.weight)


def test_heavy_rows_are_spread_over_subsets():
    X = np.arange(1000.0)[:, None]
    w = np.ones(1000)
    w[17] = 1000  # half of all weight
    samples = drawn([X], 100, 6, [w])
    for sample in samples:
        heavy = sample.weight[sample.X[:, 0] == 17]
        assert heavy == pytest.approx(50, abs=1)
        assert sample.weight.sum() == pytest.approx(100, abs=35)


def test_all_rows_are_those_of_positive_weight(blobs):
    X, _ = blobs
    w = np.random.default_rng(0).integers(0, 3, len(X)).astype(float)
    with Workers(1) as workers:
        shards = as_shards(CutIn.cut(X, "ragged")).with_weights(CutIn.cut(w, "ragged"))
        rows = all_rows(workers.map_reduce, shards)
    np.testing.assert_array_equal(rows.X, X[w > 0])
    np.testing.assert_array_equal(rows.weight, w[w > 0])


def test_sizes_of_subsets():
    assert subset_rows(1_000_000, 0.7, 100) == 15_849
    assert subset_rows(1_000_000, 0.7, 20_000) == 20_000
    least = least_rows(104, 5, 0.1)
    assert least == pytest.approx(80 * 104 / 5 / 0.1, abs=1)
    exponent = smallest_exponent(1_000_000, least)
    assert subset_rows(1_000_000, exponent, 0) >= least
    assert subset_rows(1_000_000, exponent - 0.011, 0) < least


def test_shards_that_are_no_random_pieces_are_found():
    X, _ = make_blobs(20_000, 2)

    def odd(parts):
        with Workers(1) as workers:
            shards = as_shards(parts)
            return odd_shards(workers.map_shards, shards, moments_of(workers, shards)).tolist()

    assert odd(np.array_split(X, 8)) == []
    assert odd([X]) == []
    moved = np.array_split(X, 8)
    moved[3] = moved[3] + [0.5, 0.0]
    assert odd(moved) == [3]
    wider = np.array_split(X, 8)
    wider[5] = wider[5].mean(axis=0) + 1.2 * (wider[5] - wider[5].mean(axis=0))
    assert 5 in odd(wider)
    with_constant = [np.column_stack([part, np.ones(len(part))]) for part in np.array_split(X, 8)]
    assert odd(with_constant) == []


@pytest.mark.parametrize("rate", [0.3, 8.0, 60.5, 4000.0])
def test_poisson_counts_are_by_inversion(rate):
    counts = poisson_counts(np.random.default_rng(3), rate, 20_000)
    uniform = np.random.default_rng(3).random(20_000)
    np.testing.assert_array_equal(counts, poisson.ppf(uniform, rate))
    assert (poisson_counts(np.random.default_rng(3), 0.0, 5) == 0).all()


# ------------------------------------------------------------------ enough of them


def test_errors_settle_as_averages_over_subsets():
    draws = np.random.default_rng(0).normal(size=(6, 40, 30))
    assert _have_settled(list(draws))
    assert not _have_settled([draws[0]])  # of 40 alone errors are known to 11 %
    assert not _have_settled([draws[0, :20]] * 6)  # too few for any rule
    assert _have_settled([*draws, draws[0, :5]])  # a subset with failures only


def test_quantiles_of_few_draws_hold_the_level():
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(4000):
        low, high = quantiles(rng.normal(size=60), 0.9)
        inside.append(low < rng.normal() < high)
    assert np.mean(inside) == pytest.approx(0.9, abs=0.015)


@pytest.mark.parametrize("n_subsets, n_draws", [(1, 40), (2, 40), (4, 40), (10, 40), (6, 200)])
def test_averages_of_quantiles_hold_the_level_for_any_number_of_subsets(n_subsets, n_draws):
    rng = np.random.default_rng(1)
    inside = []
    for _ in range(3000):
        low, high = bounds(list(rng.normal(size=(n_subsets, n_draws))), 0.95)
        inside.append(norm.cdf(high) - norm.cdf(low))
    # as wide as for one set of draws, four and ten of 40 hold 96.4 % or more
    assert np.mean(inside) == pytest.approx(0.95, abs=0.007)


def test_fewest_draws_have_the_ends_among_them():
    assert [fewest_draws(level) for level in (0.5, 0.9, 0.95, 0.99)] == [3, 19, 39, 199]
    draws = np.arange(39.0)
    np.testing.assert_allclose(quantiles(draws, 0.95), [0, 38], atol=1e-9)
    assert quantiles(np.arange(40.0), 0.95)[0] > 0


def test_values_settle_when_all_of_the_window_are_near_the_last():
    path = [np.array([1.0 + 0.5**i, 2.0]) for i in range(12)]
    settled = [is_settled(path[: i + 1], 3) for i in range(len(path))]
    # the mean of |last - earlier| / |last| over entries is at most 0.05, three back
    changes = [np.mean(np.abs(path[i] - path[i - 3]) / path[i]) for i in range(3, 12)]
    assert settled == [False] * 3 + [change <= 0.05 for change in changes]
    assert is_settled([np.zeros(2)] * 4, 3)
    assert not is_settled([np.zeros(2)] * 3, 3)


# ------------------------------------------------------------------ fits that count


def resampling(X, labels, **kwargs):
    gmm = DistributedGMM(
        labels.max() + 1, init_params=labels, tol="likelihood", max_iter=2000, reg_covar=0,
        prior="auto", **kwargs,
    ).fit(X)  # fmt: skip
    family = gmm._family(X.shape[1]).prepare(gmm._moments)
    return Resampling(family, gmm._fitted_params(), float(len(X)), "multinomial", 3)


def resamples(plan, X, n_resamples):
    subsets = cut_rows(X, 1)
    with Workers(1) as workers:

        def visit(function, arguments, which):
            return workers.map_shards(function, subsets, arguments, which)

        (outline,) = visit(plan.outlined, [0], [0])
        return resampled(visit, plan, outline, [0], n_resamples, True)[0]


def test_a_resample_is_what_a_fit_with_its_weights_is(blobs, covariance_type):
    X, labels = blobs
    plan = resampling(X, labels, covariance_type=covariance_type)
    found = resamples(plan, X, 30)
    assert found.points.shape == (30, len(found.at))
    for replicate in (0, 23):
        w = plan._weights(np.ones(len(X)), 0, [replicate])[0]
        gmm = DistributedGMM(
            3, covariance_type=covariance_type, init_params=labels, tol=1e-14, max_iter=20_000,
            reg_covar=0, prior="auto",
        )  # fmt: skip
        gmm.fit(X, sample_weight=w)
        params = plan.family.params_of_coordinates(found.points[replicate], plan.params)
        errors = plan.family.params_of_coordinates(found.points, plan.params)
        for name in ("weights", "means"):
            off = getattr(params, name) - getattr(gmm, name + "_")
            assert (np.abs(off) < 0.05 * getattr(errors, name).std(axis=0)).all()


def test_resamples_do_not_depend_on_how_many_there_are(blobs):
    X, labels = blobs
    plan = resampling(X, labels)
    few, many = resamples(plan, X, 5), resamples(plan, X, 25)
    np.testing.assert_allclose(few.points, many.points[:5], atol=1e-6)


def test_components_that_change_places_are_counted(blobs):
    X, labels = blobs
    plan = resampling(X, labels)
    at = plan.family.coordinates(plan.params)
    assert plan._kept(at, plan.params, 500) is not None
    swapped = plan.family.coordinates(plan.family.permute(plan.params, np.array([1, 0, 2])))
    assert plan._kept(swapped, plan.params, 500) is None
    assert plan._kept(at * np.nan, plan.params, 500) is None
    lost = at.copy()
    lost[0] -= 20.0
    assert plan._kept(lost, plan.params, 500) is None
    found = Replicates(at, at[None], 4)
    assert found.n_failed == 3
    np.testing.assert_array_equal(found.deviations, 0)


def test_a_poor_mixture_has_failures_and_no_wild_errors():
    """More components than there are groups: resamples put the spare one anywhere."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 1))
    labels = np.digitize(X[:, 0], [-0.5, 0.5])
    plan = resampling(X, labels)
    found = resamples(plan, X, 30)
    assert 0 < found.n_failed < 30
    params = plan.family.params_of_coordinates(found.points, plan.params)
    assert params.means.std(axis=0).max() < 2 * np.ptp(X)


# ------------------------------------------------------------------ memory


def test_rows_of_a_memmap_are_not_held(tmp_path):
    n_rows = 2_000_000
    X = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", shape=(n_rows, 5))
    rng = np.random.default_rng(0)
    for first in range(0, n_rows, 100_000):
        X[first : first + 100_000] = rng.normal(size=(100_000, 5))
    X.flush()
    rows = np.load(tmp_path / "X.npy", mmap_mode="r")
    tracemalloc.start()
    try:
        model = BLBMixture(n_subsets=2, n_resamples=8, n_jobs=2, random_state=0).fit(rows)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert model.method_ == "blb"
    assert peak < X.nbytes / 2  # two subsets of 25,720 rows, and the weights of their resamples
