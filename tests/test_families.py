"""Gaussian families: against densities of scipy, textbook M-steps, and data built to break sums."""

import numpy as np
import pytest
from conftest import make_blobs
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from skdistmix._shards import Block
from skdistmix.families import (
    GAUSSIAN_FAMILIES,
    DegenerateComponentError,
    FeatureKernel,
    FullGaussian,
    Moments,
    TriangularKernel,
)
from skdistmix.families._base import logsumexp0
from skdistmix.families._gaussian_base import MAX_CANCELLATION

K = 3


def blocks_of(X, weight=None, size=700):
    return [
        Block(X[i : i + size], None if weight is None else weight[i : i + size], range(i, len(X)))
        for i in range(0, len(X), size)
    ]


def prepared(covariance_type, X, weight=None, reg_covar=0.0):
    return GAUSSIAN_FAMILIES[covariance_type](K, reg_covar).prepare(
        Moments.of_rows(X, weight, True, K)
    )


def params_of(family, X, labels, weight=None):
    resp = (np.arange(K)[:, None] == labels).astype(float)
    anchors = np.stack([X[labels == k].mean(axis=0) for k in range(K)])
    return family.m_step(family.statistics(X, weight, resp, anchors))


def matrices_of(params):
    """Covariances of all components as matrices, whatever the type."""
    K, d = params.means.shape
    covariances = params.covariances
    if covariances.shape == (K, d, d):
        return covariances
    if covariances.shape == (d, d):
        return np.broadcast_to(covariances, (K, d, d))
    return covariances.reshape(K, -1, 1) * np.eye(d)


def textbook_log_joint(family, params, X):
    return np.stack(
        [
            np.log(w) + multivariate_normal(mean, cov).logpdf(X)
            for w, mean, cov in zip(params.weights, params.means, matrices_of(params), strict=True)
        ]
    )


def textbook_m_step(covariance_type, X, resp, weight):
    """Weighted maximum likelihood from all rows at once, two passes, no sums of raw products."""
    r = resp * weight
    n = r.sum(axis=1)
    means = r @ X / n[:, None]
    diff = X - means[:, None]  # (K, n_rows, d)
    full = np.einsum("ki,kia,kib->kab", r, diff, diff)
    covariances = {
        "full": full / n[:, None, None],
        "tied": full.sum(axis=0) / n.sum(),
        "diag": np.einsum("kaa->ka", full) / n[:, None],
        "spherical": np.einsum("kaa->k", full) / n / X.shape[1],
    }[covariance_type]
    return n / n.sum(), means, covariances


@pytest.fixture(scope="module")
def data():
    X, labels = make_blobs(n_rows=1500, n_features=4)
    weight = np.random.default_rng(1).random(len(X)) + 0.1
    return X, labels, weight


# ------------------------------------------------------------------ kernels


@pytest.mark.parametrize("safe", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_kernels_are_the_textbook(data, covariance_type, safe, weighted):
    X, labels, weight = data
    if not weighted:
        weight = None
    family = prepared(covariance_type, X, weight)
    params = params_of(family, X, labels, weight)
    kernel = family.kernel(params, params.means if safe else None)
    assert isinstance(kernel, TriangularKernel if safe else FeatureKernel)

    log_joint = textbook_log_joint(family, params, X)
    np.testing.assert_allclose(kernel.log_joint(X), log_joint, rtol=1e-10)

    w = np.ones(len(X)) if weight is None else weight
    stats = kernel.statistics(blocks_of(X, weight))
    norm = logsumexp(log_joint, axis=0)
    assert stats.weight == pytest.approx(w.sum(), rel=1e-13)
    assert stats.log_likelihood == pytest.approx(w @ norm, rel=1e-12)
    weights, means, covariances = textbook_m_step(covariance_type, X, np.exp(log_joint - norm), w)
    new = family.m_step(stats, params)
    np.testing.assert_allclose(new.weights, weights, rtol=1e-10)
    np.testing.assert_allclose(new.means, means, rtol=1e-9)
    np.testing.assert_allclose(new.covariances, covariances, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("n_rows", [1, 2, 7, 200, 201, 399, 1001])
def test_padding_of_blocks_changes_nothing(covariance_type, n_rows):
    X, _ = make_blobs(n_rows=1500, n_features=12)
    family = prepared(covariance_type, X)
    labels = np.arange(len(X)) % K
    params = params_of(family, X, labels)
    fast, safe = family.kernel(params), family.kernel(params, params.means)
    np.testing.assert_allclose(
        fast.log_joint(X[:n_rows]), safe.log_joint(X[:n_rows]), rtol=1e-9, atol=1e-9
    )
    a, b = (k.statistics(blocks_of(X[:n_rows], size=500)) for k in (fast, safe))
    np.testing.assert_allclose(a.counts, b.counts, rtol=1e-9, atol=1e-9)
    assert a.log_likelihood == pytest.approx(b.log_likelihood, rel=1e-11)


@pytest.mark.parametrize("distance", [50.0, 1e3, 1e6])
def test_rows_far_from_every_component_keep_their_density(data, covariance_type, distance):
    X, labels, _ = data
    family = prepared(covariance_type, X)
    params = params_of(family, X, labels)
    far = np.concatenate([X[:10], X[:5] + distance, X[:3] - distance])
    weight = np.linspace(1, 2, len(far))
    norm = logsumexp0(textbook_log_joint(family, params, far))
    for anchors in (None, params.means):
        kernel = family.kernel(params, anchors)
        np.testing.assert_allclose(logsumexp0(kernel.log_joint(far)), norm, rtol=1e-9)
        stats = kernel.statistics(blocks_of(far, weight))
        assert stats.log_likelihood == pytest.approx(weight @ norm, rel=1e-9)
        assert stats.counts.sum() == pytest.approx(weight.sum(), rel=1e-12)


def test_a_component_of_weight_zero_gets_nothing(data):
    X, labels, _ = data
    family = prepared("full", X)
    params = params_of(family, X, labels)
    params = type(params)(
        np.array([0.0, 0.4, 0.6]), params.means, params.covariances, params.precisions_cholesky
    )
    for anchors in (None, params.means):
        stats = family.kernel(params, anchors).statistics(blocks_of(X))
        assert stats.counts[0] < 1e-250
        assert np.isfinite(stats.log_likelihood)


# ------------------------------------------------------------------ the guard


@pytest.mark.parametrize("width", [1e-1, 1e-3, 1e-5, 1e-7])
def test_guard_keeps_features_where_they_are_accurate(covariance_type, width):
    """Whatever kernel the family takes by itself, its answer agrees with the safe one."""
    rng = np.random.default_rng(0)
    X = np.concatenate([[5.0 * k, -3.0 * k] + width * rng.normal(size=(400, 2)) for k in range(K)])
    labels = np.repeat(np.arange(K), 400)
    family = prepared(covariance_type, X)
    params = params_of(family, X, labels)
    kernel, safe = family.kernel(params), family.kernel(params, params.means)
    assert isinstance(kernel, FeatureKernel if width >= 1e-2 else (FeatureKernel, TriangularKernel))
    if width <= 1e-5:
        assert isinstance(kernel, TriangularKernel)
    a, b = kernel.statistics(blocks_of(X)), safe.statistics(blocks_of(X))
    assert a.log_likelihood / a.weight == pytest.approx(b.log_likelihood / b.weight, rel=1e-9)


def test_guard_sees_collinear_columns():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 2))
    X = np.column_stack([X, X[:, 0] + 1e-5 * rng.normal(size=500)])
    family = prepared("full", X)
    params = params_of(family, X, np.arange(500) % K)
    assert family._cancellation(params, np.ones((K, 3))) > MAX_CANCELLATION
    assert isinstance(family.kernel(params), TriangularKernel)


def test_a_component_that_collapses_in_one_step_asks_for_better_anchors(covariance_type):
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(600, 2)), 4 + 1e-7 * rng.normal(size=(600, 2))])
    X = np.concatenate([X, -4 + 1e-7 * rng.normal(size=(600, 2))])
    labels = np.repeat(np.arange(K), 600)
    if covariance_type == "tied":  # shared, so only tight when all are
        X[:600] *= 1e-7
    family = prepared(covariance_type, X)
    resp = (np.arange(K)[:, None] == labels).astype(float)
    far = np.zeros((K, 2))
    stats = family.statistics(X, None, resp, far)
    try:
        anchors = family.better_anchors(stats, family.m_step(stats))
    except DegenerateComponentError:
        anchors = family.centers(stats)
    assert anchors is not None
    params = family.m_step(family.statistics(X, None, resp, anchors))
    _, _, covariances = textbook_m_step(covariance_type, X, resp, np.ones(len(X)))
    np.testing.assert_allclose(params.covariances, covariances, rtol=1e-6, atol=1e-25)


# ------------------------------------------------------------------ statistics and parameters


def test_statistics_add(data, covariance_type):
    X, labels, weight = data
    family = prepared(covariance_type, X, weight)
    params = params_of(family, X, labels, weight)
    for anchors in (None, params.means):
        kernel = family.kernel(params, anchors)
        whole = kernel.statistics(blocks_of(X, weight))
        parts = [kernel.statistics([block]) for block in blocks_of(X, weight, size=400)]
        added = parts[0] + parts[1] + parts[2] + parts[3]
        for name in ("weight", "log_likelihood", "counts", "first", "second"):
            if getattr(whole, name) is not None:
                np.testing.assert_allclose(
                    getattr(added, name), getattr(whole, name), rtol=1e-9, atol=1e-9
                )
        assert kernel.statistics([]) is None


def test_number_of_parameters(covariance_type):
    X = np.random.default_rng(0).normal(size=(50, 4))
    expected = {"full": 3 * 4 + 2 + 3 * 10, "tied": 12 + 2 + 10, "diag": 12 + 2 + 12}
    expected["spherical"] = 12 + 2 + 3
    assert prepared(covariance_type, X).n_parameters() == expected[covariance_type]


def test_precisions_and_factors_invert_covariances(data, covariance_type):
    X, labels, _ = data
    family = prepared(covariance_type, X)
    params = params_of(family, X, labels)
    precisions = family.precisions(params)
    if covariance_type in ("full", "tied"):
        identity = precisions @ params.covariances
        np.testing.assert_allclose(identity, np.broadcast_to(np.eye(4), identity.shape), atol=1e-10)
    else:
        np.testing.assert_allclose(precisions * params.covariances, 1.0, rtol=1e-12)
    again = family.factors_of_precisions(precisions)
    np.testing.assert_allclose(again, params.precisions_cholesky, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        family.covariances_of_factors(again), params.covariances, rtol=1e-9, atol=1e-12
    )


def test_permute_and_sample(data, covariance_type):
    X, labels, _ = data
    family = prepared(covariance_type, X)
    params = params_of(family, X, labels)
    order = [1, 2, 0]
    permuted = family.permute(params, order)
    np.testing.assert_allclose(
        family.kernel(permuted).log_joint(X), family.kernel(params).log_joint(X)[order], rtol=1e-10
    )
    drawn = family.sample(params, [20_000, 0, 1], np.random.RandomState(0))
    assert drawn.shape == (20_001, 4)
    np.testing.assert_allclose(drawn[:-1].mean(axis=0), params.means[0], atol=0.1)
    expected = matrices_of(params)[0]
    np.testing.assert_allclose(np.cov(drawn[:-1].T), expected, atol=0.15)


def test_implied_moments_are_those_of_the_data_after_an_m_step(data, covariance_type):
    X, labels, weight = data
    family = prepared(covariance_type, X, weight)
    params = params_of(family, X, labels, weight)
    implied = family.implied_moments(params)
    np.testing.assert_allclose(implied.mean, family.moments.mean, rtol=1e-9, atol=1e-9)
    if covariance_type != "spherical":
        np.testing.assert_allclose(implied.variance, family.moments.variance, rtol=1e-9)


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_moments_of_rows_of_tiny_and_huge_weight(data, size):
    X, _, _ = data
    weight, half = np.full(len(X), size), len(X) // 2
    parts = (Moments.of_rows(X[i], weight[i], True, 3) for i in (slice(half), slice(half, None)))
    moments = next(parts) + next(parts)
    np.testing.assert_allclose(moments.covariance, np.cov(X.T, bias=True), rtol=1e-9)


def test_a_component_that_loses_all_rows_stays(data, covariance_type):
    X, labels, _ = data
    family = prepared(covariance_type, X, reg_covar=1e-6)
    params = params_of(family, X, labels)
    stats = family.kernel(params, params.means).statistics(blocks_of(X))
    stats.counts[1], stats.first[1], stats.second[1] = 0.0, 0.0, 0.0
    new = family.m_step(stats, params)
    assert new.weights[1] == 0
    np.testing.assert_array_equal(new.means[1], params.means[1])
    assert np.isfinite(new.precisions_cholesky).all()
    first = family.m_step(stats, None)
    np.testing.assert_allclose(first.means[1], X.mean(axis=0), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("covariance_type", ["full", "diag", "spherical"])
def test_degenerate_component_is_named(covariance_type):
    X = np.concatenate([np.random.default_rng(0).normal(size=(50, 2)), np.ones((20, 2))])
    family = prepared(covariance_type, X)
    labels = np.where(np.arange(70) < 50, np.arange(70) % 2, 2)
    with pytest.raises(DegenerateComponentError, match=r"component 2 .*larger reg_covar"):
        params_of(family, X, labels)


# ------------------------------------------------------------------ moments


@pytest.mark.parametrize("offset", [0.0, 1e8])
@pytest.mark.parametrize("full", [True, False])
def test_moments_merge_to_those_of_all_rows(data, offset, full):
    X, _, weight = data
    X = X + offset
    parts = [Moments.of_rows(X[i : i + 9], weight[i : i + 9], full, 5) for i in range(0, 1500, 9)]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    exact = X - offset
    mean = weight @ exact / weight.sum()
    scatter = (exact - mean).T * weight @ (exact - mean)
    np.testing.assert_allclose(total.mean - offset, mean, atol=1e-7)
    np.testing.assert_allclose(
        total.scatter, scatter if full else np.diag(scatter), rtol=1e-7, atol=1e-4
    )
    assert (total.n_rows, total.weight) == (1500, pytest.approx(weight.sum()))
    np.testing.assert_array_equal(total.low, X.min(axis=0))
    assert len(total.distinct) == 5


def test_constant_columns_have_variance_zero_exactly():
    X = np.column_stack([np.full(1000, 0.1), np.random.default_rng(0).normal(size=1000)])
    moments = Moments.of_rows(X[:300], None, True, 2) + Moments.of_rows(X[300:], None, True, 2)
    assert moments.variance[0] == 0.0
    assert (moments.covariance[0] == 0).all() and (moments.covariance[:, 0] == 0).all()


def test_distinct_rows_are_found_late_in_a_block():
    X = np.zeros((5000, 2))
    X[-1] = 1
    assert len(Moments.of_rows(X, None, True, 3).distinct) == 2


def test_full_family_takes_the_safe_kernel_for_many_features():
    X = np.random.default_rng(0).normal(size=(300, 40))
    family = FullGaussian(K, 1e-3).prepare(Moments.of_rows(X, None, True, K))
    params = params_of(family, X, np.arange(300) % K)
    assert isinstance(family.kernel(params), TriangularKernel)
