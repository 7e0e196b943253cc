"""Fixed points of EM for resamples: against plain EM, and what a shortcut would cost."""

import numpy as np
import pytest
from conftest import make_blobs
from threadpoolctl import threadpool_limits

from skdistmix._bootstrap import multinomial_weights
from skdistmix._fixed_points import (
    EMMap,
    Outline,
    by_chords,
    by_em_steps,
    informed,
    newton_matrix,
    outlined,
)
from skdistmix._shards import Block
from skdistmix.families import GAUSSIAN_FAMILIES, ConjugatePrior, Moments

PRIORS = {"no prior": None, "prior": ConjugatePrior(shrinkage=5.0)}


@pytest.fixture(autouse=True)
def one_thread():
    with threadpool_limits(1):
        yield


def em_map(X, labels, covariance_type, prior=None, reg_covar=1e-6):
    """EM for some rows, and the coordinates of its optimum from given labels."""
    kind = GAUSSIAN_FAMILIES[covariance_type]
    K = labels.max() + 1
    moments = Moments.of_rows(X, None, kind.full_scatter, K)
    family = kind(K, reg_covar, prior).prepare(moments)
    resp = np.eye(K)[labels].T
    like = family.m_step(family.statistics(X, None, resp, np.zeros((K, X.shape[1]))))
    return EMMap(family, X, like), family.coordinates(like)


def by_plain_em(em, x, weight, tol=1e-11):
    for _ in range(20_000):
        image = em(x[None], weight[None])[0][0]
        if np.abs(image - x).max() < tol:
            return image
        x = image
    raise AssertionError("EM did not converge")


def resamples(n_rows, total, number, seed=0):
    rng = np.random.default_rng(seed)
    base = np.full(n_rows, total / n_rows)
    return base, np.stack([multinomial_weights(rng, base) for _ in range(number)])


# ------------------------------------------------------------------ many at once


@pytest.mark.parametrize("prior", list(PRIORS))
def test_many_points_have_the_images_of_each(blobs, covariance_type, prior):
    X, labels = blobs
    em, x = em_map(X, labels, covariance_type, PRIORS[prior])
    points = x + 0.1 * np.random.default_rng(0).normal(size=(50, len(x)))
    weights = np.random.default_rng(1).poisson(1.5, size=(50, len(X))).astype(float)
    images, objectives = em(points, weights)
    for i in (0, 31, 32, 49):  # of several batches
        image, objective = em._image(points[i], weights[i])
        np.testing.assert_allclose(images[i], image, atol=1e-11)
        assert objectives[i] == pytest.approx(objective, rel=1e-12)
    shared, _ = em(points[:5], weights[:1])
    np.testing.assert_allclose(shared[4], em._image(points[4], weights[0])[0], atol=1e-11)


def test_rows_beyond_the_range_of_exp_count(blobs):
    X, labels = blobs
    far = np.concatenate([X, X[:3] + 300.0])
    em, x = em_map(X, labels, "full")
    em = EMMap(em.family, far, em.like)
    weights = np.random.default_rng(0).poisson(2.0, size=(4, len(far))).astype(float)
    images, objectives = em(np.tile(x, (4, 1)), weights)
    for i in range(4):
        image, objective = em._image(x, weights[i])
        np.testing.assert_allclose(images[i], image, rtol=1e-9, atol=1e-9)
        assert objectives[i] == pytest.approx(objective, rel=1e-11)


def test_tight_components_go_through_the_safe_kernel(covariance_type):
    X, labels = make_blobs(600)
    if covariance_type != "tied":
        X[labels == 0] = X[0] + 1e-5 * X[labels == 0]
    else:
        X = X * 1e-5 + 100 * np.eye(3)[labels]
    em, x = em_map(X, labels, covariance_type, reg_covar=0)
    weights = np.random.default_rng(0).poisson(3.0, size=(3, len(X))).astype(float)
    assert em.family.em_of_many(X, weights, np.tile(x, (3, 1)), em.like) is None
    images, _ = em(np.tile(x, (3, 1)), weights)
    for w, image in zip(weights, images, strict=True):
        rows = np.repeat(X, w.astype(int), axis=0)
        repeated = EMMap(em.family, rows, em.like)
        same = repeated(x[None], np.ones((1, len(rows))))[0][0]
        np.testing.assert_allclose(image, same, rtol=1e-9, atol=1e-9)


def test_lost_components_have_no_image(blobs):
    X, labels = blobs
    em, x = em_map(X, labels, "full", reg_covar=0)
    weights = np.ones((2, len(X)))
    weights[1] = labels != 2  # nobody is left of one component, as good as nobody of its rows
    weights[1, np.flatnonzero(labels == 2)[:1]] = 1
    x[2] = -20.0
    images, _ = em(np.tile(x, (2, 1)), weights)
    assert np.isfinite(images[0]).all()


# ------------------------------------------------------------------ fixed points


@pytest.mark.parametrize("options", [{}, {"prior": PRIORS["prior"]}, {"reg_covar": 0.05}])
@pytest.mark.parametrize("total", [3000, 100_000])
def test_both_ways_lead_to_the_fixed_point_of_plain_em(covariance_type, options, total):
    X, labels = make_blobs(3000, 2, spread=3, seed=3)
    em, x = em_map(X, labels, covariance_type, **options)
    base, weights = resamples(len(X), total, 4)
    x = by_plain_em(em, x, base)
    outline = outlined(em, x, base, weights)
    exact = np.array([by_plain_em(em, x, w) for w in weights])
    chords, n_steps = outline.fixed_points(em, weights, x)
    assert n_steps <= 6
    assert (np.abs(chords - exact) / outline.scale).max() < 0.02
    tight, _ = outline.fixed_points(em, weights, x, 1e-8)
    np.testing.assert_allclose(tight, exact, atol=1e-8)
    iterated, _ = Outline(None, outline.scale, outline.unit).fixed_points(em, weights, x)
    assert (np.abs(iterated - exact) / outline.scale).max() < 0.03


def test_where_chords_do_not_shrink_em_is_iterated():
    X, labels = make_blobs(1000, 2, spread=2.5, seed=3)
    em, x = em_map(X, labels, "full", ConjugatePrior())
    base, weights = resamples(len(X), 1000, 3)
    x = by_plain_em(em, x, base)
    outline = outlined(em, x, base, weights)
    wrong = Outline(40 * np.eye(len(x)), outline.scale, outline.unit)
    assert np.isnan(by_chords(em, weights, x, wrong.matrix, wrong.scale)[0]).any()
    points, n_steps = wrong.fixed_points(em, weights, x)
    assert n_steps == np.inf
    exact = np.array([by_plain_em(em, x, w) for w in weights])
    assert (np.abs(points - exact) / outline.scale).max() < 0.05


def test_slow_linear_convergence_is_seen_to_its_end():
    """A map with a slow part that is small at first, as EM has after its fast part died."""
    rates = np.array([0.3, 0.9, 0.995])
    scale = np.ones(3)
    end = np.array([1.0, 2.0, -0.5])
    calls = []

    def image_of(x):
        calls.append(x)
        return end + rates * (x - end), -np.sum((x - end) ** 2)

    found = by_em_steps(image_of, np.zeros(3), scale)
    assert np.abs(found - end).max() < 0.02
    assert len(calls) < 200  # plain EM takes 640


def test_no_fixed_point_gives_nan():
    assert np.isnan(by_em_steps(lambda x: (x * np.nan, 0.0), np.zeros(2), np.ones(2))).all()


def test_newton_matrix_is_that_of_differences(blobs):
    X, labels = blobs
    em, x = em_map(X, labels, "full")
    base = np.ones(len(X))
    x = by_plain_em(em, x, base)
    matrix = newton_matrix(em, x, base, np.full(len(x), 0.01))
    h = 1e-4
    columns = []
    for e in np.eye(len(x)):
        ahead, behind = em(np.array([x + h * e, x - h * e]), base[None])[0]
        columns.append((ahead - behind) / (2 * h))
    np.testing.assert_allclose(
        matrix @ (np.eye(len(x)) - np.array(columns).T), np.eye(len(x)), atol=2e-2
    )


def information_of(family, x, like, X):
    params = family.params_of_coordinates(x, like)
    sums = family.score_kernel(params).sums([Block(X, None, range(len(X)))])
    return params, family.information(params, sums)


def test_changes_of_coordinates_are_those_of_differences(blobs, covariance_type):
    X, labels = blobs
    em, x = em_map(X, labels, covariance_type)
    family, h = em.family, 1e-5
    params, information = information_of(family, x, em.like, X)
    for column in information.jacobian.T:
        change = information.arrays_of(column, params)
        ahead, behind = (
            family.coordinates(
                family.params(*(getattr(params, name) + s * h * change[name] for name in change))
            )
            for s in (1, -1)
        )
        expected = family.coordinate_change(params, change)
        np.testing.assert_allclose((ahead - behind) / (2 * h), expected, atol=1e-6)


def test_the_outline_by_the_information_is_that_of_differences(covariance_type):
    X, labels = make_blobs(4000, 2, spread=3, seed=3)
    em, x = em_map(X, labels, covariance_type, reg_covar=0)
    base, weights = resamples(len(X), len(X), 300)
    x = by_plain_em(em, x, base)
    params, information = information_of(em.family, x, em.like, X)
    found, expected = informed(em.family, params, information), outlined(em, x, base, weights)
    steps = em(np.tile(x, (5, 1)), weights[:5])[0] - x  # in directions that steps of EM have
    lacking = steps @ (found.matrix - expected.matrix).T
    lacking[:, :3] -= lacking[:, :3].mean(axis=1, keepdims=True)  # a constant in all log-weights
    assert np.abs(lacking / expected.scale).max() < 0.02  # where steps are up to 3
    np.testing.assert_allclose(found.scale, expected.scale, rtol=0.15)
    np.testing.assert_allclose(found.unit, expected.unit, rtol=0.15)


def test_with_a_prior_there_is_no_outline_by_the_information(blobs):
    X, labels = blobs
    em, x = em_map(X, labels, "full", PRIORS["prior"])
    assert informed(em.family, *information_of(em.family, x, em.like, X)) is None


def test_five_iterations_would_be_wrong():
    """EM hardly leaves its start where components overlap, so errors would look too small."""
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 2, 4000)
    X = rng.normal(size=(4000, 1)) + 2.2 * labels[:, None]
    em, x = em_map(X, labels, "full")
    base, weights = resamples(len(X), len(X), 40)
    x = by_plain_em(em, x, base, 1e-7)
    outline = outlined(em, x, base, weights)
    five = np.tile(x, (len(weights), 1))
    for _ in range(5):
        five, _ = em(five, weights)
    converged, _ = outline.fixed_points(em, weights, x)
    good = np.isfinite(converged).all(axis=1)
    assert good.sum() > 30
    ratio = np.std(five[good], axis=0) / np.std(converged[good], axis=0)
    assert ratio.max() < 0.7
    assert np.median(ratio) < 0.5
