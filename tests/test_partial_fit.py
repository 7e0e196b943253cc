"""Stepwise EM on batches."""

import pickle
import tracemalloc
import warnings

import numpy as np
import pytest
from conftest import make_blobs
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from skdistmix import DistributedGMM, as_shards
from skdistmix.families import GAUSSIAN_FAMILIES, Moments

MODEL = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")


@pytest.fixture(scope="module")
def rows():
    return make_blobs(n_rows=60_000, n_features=2, n_components=4, spread=6, seed=1)[0]


def streamed(X, size=500, **kwargs):
    gmm = DistributedGMM(4, random_state=0, **kwargs)
    for first in range(0, len(X), size):
        gmm.partial_fit(X[first : first + size])
    return gmm


def test_a_stream_gets_near_the_batch_fit(rows, covariance_type):
    train, test = rows[:50_000], rows[50_000:]
    batch = DistributedGMM(4, covariance_type=covariance_type, tol=1e-6, max_iter=500, n_init=3)
    best = batch.set_params(random_state=0).fit(train).score(test)
    for average, room in ((False, 0.02), (20, 0.01)):
        gmm = streamed(train, covariance_type=covariance_type, average=average)
        assert gmm.score(test) > best - room
        assert gmm.n_iter_ == 100
        assert gmm.n_samples_seen_ == 50_000
        assert gmm.n_parameters_ == batch.n_parameters_
    assert gmm.weights_.sum() == pytest.approx(1)


def test_one_step_is_the_formula(rows):
    a, b = rows[:2000], rows[2000:3000]
    gmm = DistributedGMM(4, random_state=0, reg_covar=0, learning_decay=0.7).partial_fit(a)
    shares = np.random.default_rng(0).dirichlet(np.ones(4), 2000)  # from a start that is known
    gmm = DistributedGMM(
        4, init_params=shares, reg_covar=0, learning_decay=0.7, max_iter=0
    ).partial_fit(a)

    def sums(model, X):
        r = model.predict_proba(X) / len(X)
        return r.sum(axis=0), r.T @ X, np.einsum("nk,ni,nj->kij", r, X, X)

    start = DistributedGMM(4, init_params=shares, reg_covar=0, max_iter=0).fit(a)
    running = sums(start, a)
    step = 3.0**-0.7
    new = [(1 - step) * s + step * t for s, t in zip(running, sums(gmm, b), strict=True)]
    assert gmm.score(b) == pytest.approx(gmm.partial_fit(b).lower_bound_, rel=1e-12)
    np.testing.assert_allclose(gmm.weights_, new[0], rtol=1e-9)
    means = new[1] / new[0][:, None]
    np.testing.assert_allclose(gmm.means_, means, rtol=1e-8)
    covariances = new[2] / new[0][:, None, None] - means[:, :, None] * means[:, None, :]
    np.testing.assert_allclose(gmm.covariances_, covariances, rtol=1e-6, atol=1e-8)


def test_average_is_the_mean_of_the_running_statistics(rows):
    plain, averaged = (DistributedGMM(4, random_state=0, average=average) for average in (False, 2))
    batches = np.split(rows[:5000], 5)
    states = []
    for batch in batches:
        states.append(plain.partial_fit(batch)._stream.stats)
        averaged.partial_fit(batch)
    counts = np.mean([s.counts for s in states[1:]], axis=0)
    np.testing.assert_allclose(averaged.weights_, counts / counts.sum(), rtol=1e-10)
    sums = np.mean([s.about(np.zeros((4, 2))).first for s in states[1:]], axis=0)
    np.testing.assert_allclose(averaged.means_, sums / counts[:, None], rtol=1e-9)


def test_weights_are_repeated_rows(rows):
    X = rows[:3000]
    w = np.random.default_rng(0).integers(0, 3, 3000)
    a, b = (DistributedGMM(4, random_state=0).fit(X) for _ in range(2))
    a.partial_fit(X, sample_weight=w)
    b.partial_fit(np.repeat(X, w, axis=0))
    for name in MODEL:
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-8, atol=1e-10)


def test_batches_come_in_every_form(rows, tmp_path):
    X = rows[:4000]
    np.save(tmp_path / "x.npy", X)
    fits = [
        DistributedGMM(4, random_state=0).partial_fit(rows[:3000]).partial_fit(form)
        for form in (X, np.array_split(X, 3), as_shards(X), str(tmp_path / "x.npy"))
    ]
    for gmm in fits[1:]:
        np.testing.assert_allclose(gmm.means_, fits[0].means_, rtol=1e-9)


def test_it_goes_on_after_fit_with_steps_that_fit_the_rows_seen(rows, covariance_type):
    X, more = rows[:20_000], rows[20_000:21_000]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        gmm = DistributedGMM(4, covariance_type=covariance_type, random_state=0).fit(X)
    before = gmm.means_.copy()
    gmm.partial_fit(more)
    assert 0 < np.abs(gmm.means_ - before).max() < 0.3
    assert gmm.n_samples_seen_ == 21_000
    for name in ("bic_", "objectives_", "lower_bounds_", "convergence_gap_", "init_scores_"):
        assert not hasattr(gmm, name)
    assert gmm.fit(X).n_samples_seen_ == 20_000 and gmm._stream is None


def test_statistics_implied_by_parameters_give_them_back(covariance_type):
    X, labels = make_blobs()
    family = GAUSSIAN_FAMILIES[covariance_type](3).prepare(Moments.of_rows(X, None, True, 3))
    resp = (np.arange(3)[:, None] == labels).astype(float)
    stats = family.statistics(X, None, resp, np.zeros((3, 3)))
    params = family.m_step(stats)
    for again in (
        family.m_step(family.implied_statistics(params)),
        family.m_step(stats.about(np.ones((3, 3))).scaled(0.3)),
    ):
        for name in ("weights", "means", "covariances"):
            np.testing.assert_allclose(getattr(again, name), getattr(params, name), rtol=1e-9)
    if family.full_scatter:
        moments = family.implied_moments(params, full=True)
        np.testing.assert_allclose(moments.covariance, np.cov(X.T, bias=True), rtol=1e-9)


def test_a_stream_after_pickling_is_the_same(rows):
    gmm = DistributedGMM(4, random_state=0, average=True).partial_fit(rows[:1000])
    back = pickle.loads(pickle.dumps(gmm))
    for model in (gmm, back):
        model.partial_fit(rows[1000:3000])
    for name in MODEL:
        np.testing.assert_array_equal(getattr(gmm, name), getattr(back, name))
    assert not hasattr(clone(gmm), "_stream")


def test_a_tiny_first_batch_does_not_make_spikes(rows, covariance_type):
    gmm = DistributedGMM(4, covariance_type=covariance_type, random_state=0)
    for first, last in (
        (0, 5),
        (5, 12),
        (12, 400),
        *((i, i + 400) for i in range(400, 20_000, 400)),
    ):
        gmm.partial_fit(rows[first:last])
    assert gmm.score(rows[50_000:]) > -6.5
    assert gmm.weights_.min() > 0.02


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_a_first_batch_too_small_for_covariances_is_told_so(rows, covariance_type):
    def first(size, **option):
        gmm = DistributedGMM(4, covariance_type=covariance_type, random_state=0, **option)
        return gmm.partial_fit(rows[:size])

    with pytest.raises(
        ValueError, match=r"not positive definite.*batch has too few rows \(6\): begin with 120"
    ):
        first(6, reg_covar=0)
    for size, option in (
        (120, {"reg_covar": 0}),
        (6, {"reg_covar": 1e-3}),
        (6, {"reg_covar": 0, "prior": "auto"}),
        (6, {"reg_covar": 0, "covariance_penalty": "auto"}),
    ):
        assert np.isfinite(first(size, **option).lower_bound_)


def test_a_large_batch_without_a_covariance_is_not_called_small(rows):
    with pytest.raises(ValueError, match="not positive definite") as caught:
        DistributedGMM(4, reg_covar=0, random_state=0).partial_fit(rows[:500, [0, 0]])
    assert "batch" not in str(caught.value)


def test_priors_hold_in_a_stream(rows):
    for option in ({"covariance_penalty": "auto"}, {"prior": "auto"}):
        gmm = streamed(rows[:10_000], reg_covar=0, **option)
        assert np.isfinite(gmm.score(rows))


def test_memory_does_not_grow(rows):
    gmm = DistributedGMM(4, random_state=0, average=True).partial_fit(rows[:2000])
    gmm.partial_fit(rows[2000:4000])
    size = len(pickle.dumps(gmm))
    tracemalloc.start()
    try:
        for i in range(40):
            gmm.partial_fit(rows[1000 * i : 1000 * i + 2000])
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert abs(len(pickle.dumps(gmm)) - size) < 100
    assert held < 1e6


def test_what_is_refused(rows):
    X = rows[:500]
    with pytest.raises(ValueError, match=r"3 distinct row\(s\).*n_components=4"):
        DistributedGMM(4).partial_fit(np.repeat(X[:3], 5, axis=0))
    gmm = DistributedGMM(4, random_state=0).partial_fit(X)
    before = gmm.means_.copy()
    with pytest.raises(ValueError, match="3 features, but DistributedGMM is expecting 2"):
        gmm.partial_fit(np.zeros((5, 3)))
    with pytest.raises(ValueError, match=r"NaN.*row 1"):
        gmm.partial_fit([[0.0, 1.0], [np.nan, 0.0]])
    with pytest.raises(ValueError, match="partial_fit goes on from the previous solution"):
        gmm.set_params(n_components=3).partial_fit(X)
    gmm.set_params(n_components=4)
    with pytest.raises(ValueError, match="Sample weights must contain a value above zero"):
        gmm.partial_fit(X, sample_weight=np.zeros(500))
    np.testing.assert_array_equal(gmm.means_, before)
    for decay in (0.5, 1.1):
        with pytest.raises(ValueError, match="learning_decay"):
            DistributedGMM(4, learning_decay=decay).partial_fit(X)


def test_changed_column_names_are_refused(rows):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(rows[:500], columns=["a", "b"])
    gmm = DistributedGMM(4, random_state=0).partial_fit(frame)
    with pytest.raises(ValueError, match="feature names"):
        gmm.partial_fit(frame.rename(columns={"b": "c"}))
