"""Soft assignments, targets, gradients and centres against the formulas of the papers."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import softmax
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans

torch = pytest.importorskip("torch")
pytest.importorskip("skorch")

from skdistmix.deep._heads import Head  # noqa: E402
from skdistmix.deep._inference import in_batches  # noqa: E402
from skdistmix.deep._objectives import OBJECTIVES  # noqa: E402
from skdistmix.deep._starts import centers_of, reseeded, start_labels  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

N, K, D = 60, 4, 3


@pytest.fixture
def codes():
    return np.random.default_rng(0).normal(0, 2, (N, D))


@pytest.fixture
def centers():
    return np.random.default_rng(1).normal(0, 2, (K, D))


def head_of(centers, assignment="student_t", alpha=1.0):
    return Head(torch.tensor(centers), assignment, alpha)


def log_q_of(codes, head):
    return head(torch.tensor(codes)).detach().numpy()


def squared_distances(codes, centers):
    return ((codes[:, None] - centers) ** 2).sum(axis=2)


def student_t(codes, centers, alpha):
    """Xie et al. (2016), eq. 1, as printed."""
    q = (1 + squared_distances(codes, centers) / alpha) ** (-(alpha + 1) / 2)
    return q / q.sum(axis=1, keepdims=True)


def target_of(q):
    """Xie et al. (2016), eq. 3, as printed."""
    p = np.empty_like(q)
    f = [sum(q[i, j] for i in range(len(q))) for j in range(q.shape[1])]
    for i in range(len(q)):
        sharp = [q[i, j] ** 2 / f[j] for j in range(q.shape[1])]
        p[i] = np.array(sharp) / sum(sharp)
    return p


# --------------------------------------------------------------------------- assignments


@pytest.mark.parametrize("alpha", [0.5, 1.0, 7.0])
def test_student_t(codes, centers, alpha):
    q = np.exp(log_q_of(codes, head_of(centers, alpha=alpha)))
    assert_allclose(q, student_t(codes, centers, alpha), rtol=1e-10)


def test_student_t_far_away_and_in_a_centre(centers):
    codes = np.vstack([centers[:1], centers[:1] + 1e15])
    log_q = log_q_of(codes, head_of(centers))
    assert np.isfinite(log_q).all()
    assert_allclose(np.exp(log_q[1]), 1 / K, rtol=1e-6)
    assert log_q[0].argmax() == 0


def test_gaussian_with_the_spread_of_the_codes(codes, centers):
    head = head_of(centers, "gaussian")
    squared = squared_distances(codes, centers)
    head.measure(squared)
    s2 = squared.min(axis=1).mean() / D
    assert_allclose(float(head.spread), s2, rtol=1e-10)
    expected = softmax(-squared / (2 * s2), axis=1)
    assert_allclose(np.exp(log_q_of(codes, head)), expected, rtol=1e-8, atol=1e-300)
    # other units of the codes change nothing
    scaled = head_of(100 * centers, "gaussian")
    scaled.measure(squared * 1e4)
    assert_allclose(log_q_of(100 * codes, scaled), log_q_of(codes, head), rtol=1e-8, atol=1e-8)


def test_codes_of_the_nearest_centre_lose_no_digits():
    centers = np.array([[1e4, 0.0], [1e4 + 0.5, 0.0]], dtype=np.float32)
    codes = np.array([[1e4 + 0.125, 0.0]], dtype=np.float32)
    assert_allclose(head_of(centers).squared_distances(torch.tensor(codes)).detach(),
                    [[0.125**2, 0.375**2]])  # fmt: skip


# --------------------------------------------------------------------------- DEC and IDEC


@pytest.mark.parametrize("name", ["dec", "idec"])
def test_targets_are_of_all_rows(codes, centers, name):
    head = head_of(centers)
    targets = OBJECTIVES[name]().refresh(codes, log_q_of(codes, head), head, None)
    q = student_t(codes, centers, 1.0)
    assert_allclose(targets.values, target_of(q), rtol=1e-9)
    assert_allclose(targets.values.sum(axis=1), 1)
    assert_array_equal(targets.labels, q.argmax(axis=1))


def test_an_empty_cluster_gives_no_nan(codes):
    head = head_of(np.vstack([codes[:2], [[1e30] * D]]))
    targets = OBJECTIVES["idec"]().refresh(codes, log_q_of(codes, head), head, None)
    assert np.isfinite(targets.values).all()


def divergence(name, codes, centers, target, alpha=1.0):
    """The value of an objective, with its gradients for codes and centres."""
    head, code = head_of(centers, alpha=alpha), torch.tensor(codes, requires_grad=True)
    value = OBJECTIVES[name]().value(code, head, None, target)
    value.backward()
    return value.item(), code.grad.numpy(), head.centers.grad.numpy()


@pytest.mark.parametrize("alpha", [1.0, 3.0])
def test_divergence_and_its_gradients(codes, centers, alpha):
    q = student_t(codes, centers, alpha)
    p = target_of(q)
    value, by_code, by_center = divergence("idec", codes, centers, torch.tensor(p), alpha)
    assert_allclose(value, (p * np.log(p / q)).sum() / N, rtol=1e-10)
    # Xie et al. (2016), eqs. 4 and 5, for the mean over rows
    factor = (alpha + 1) / alpha / (1 + squared_distances(codes, centers) / alpha) * (p - q)
    pulls = factor[:, :, None] * (codes[:, None] - centers)
    assert_allclose(by_code, pulls.sum(axis=1) / N, rtol=1e-8, atol=1e-14)
    assert_allclose(by_center, -pulls.sum(axis=0) / N, rtol=1e-8, atol=1e-14)


def test_targets_of_a_batch_are_constants(codes, centers):
    p = torch.tensor(target_of(student_t(codes, centers, 1.0)))
    for ours, given in zip(divergence("dec", codes, centers, None),
                           divergence("dec", codes, centers, p)):  # fmt: skip
        assert_allclose(ours, given, rtol=1e-10, atol=1e-14)


def test_what_objectives_minimise():
    assert not OBJECTIVES["dec"].reconstructs and OBJECTIVES["idec"].reconstructs
    assert OBJECTIVES["dcn"].reconstructs and not OBJECTIVES["dekm"].reconstructs
    assert OBJECTIVES["dec"].gamma == 1.0 and OBJECTIVES["idec"].gamma == 0.1
    assert OBJECTIVES["dec"].learns_centers and not OBJECTIVES["dcn"].learns_centers


# --------------------------------------------------------------------------- DCN


def test_dcn_draws_codes_to_the_nearest_centre(codes, centers):
    head, code = head_of(centers), torch.tensor(codes, requires_grad=True)
    value = OBJECTIVES["dcn"]().value(code, head, None, None)
    value.backward()
    squared = squared_distances(codes, centers)
    assert_allclose(value.item(), squared.min(axis=1).mean() / 2, rtol=1e-10)
    assert_allclose(code.grad.numpy(), (codes - centers[squared.argmin(axis=1)]) / N, rtol=1e-10)


def test_centres_of_dcn_move_as_by_one_code_after_the_other(codes, centers):
    """Yang et al. (2017), eq. 8: m -= (m - f(x)) / c, with the count c of codes so far."""
    head, dcn = head_of(centers), OBJECTIVES["dcn"]()
    targets = dcn.refresh(codes, log_q_of(codes, head), head, None)
    counts = np.bincount(targets.labels, minlength=K).astype(float)
    expected = centers.copy()
    rng = np.random.default_rng(2)
    for _ in range(3):
        batch = codes[rng.choice(N, 20, replace=False)]
        dcn.after_step(torch.tensor(batch), head)
        labels = squared_distances(batch, expected).argmin(axis=1)
        for code, k in zip(batch, labels):
            counts[k] += 1
            expected[k] -= (expected[k] - code) / counts[k]
        assert_allclose(head.centers.detach(), expected, rtol=1e-10)


# --------------------------------------------------------------------------- DEKM


def test_dekm(codes, centers):
    head, dekm = head_of(centers), OBJECTIVES["dekm"]()
    targets = dekm.refresh(codes, log_q_of(codes, head), head, np.random.RandomState(0))
    kmeans = KMeans(K, init=centers, n_init=1).fit(codes)
    assert_array_equal(targets.labels, kmeans.labels_)
    assert_allclose(head.centers.detach(), kmeans.cluster_centers_, rtol=1e-10)
    within = sum(
        np.outer(x - kmeans.cluster_centers_[k], x - kmeans.cluster_centers_[k])
        for x, k in zip(codes, kmeans.labels_)
    )
    values, axes = np.linalg.eigh(within)
    last = axes[:, np.argmax(values)]
    assert_allclose(abs(dekm.axis.numpy() @ last), 1, rtol=1e-10)
    # Guo et al. (2021): in the rotated space the last coordinate of a code becomes its centre's
    rotated, goal = codes @ axes, codes @ axes
    goal[:, -1] = (kmeans.cluster_centers_ @ axes)[kmeans.labels_, -1]
    value = dekm.value(torch.tensor(codes), head, torch.tensor(targets.labels), None)
    assert_allclose(float(value), ((rotated - goal) ** 2).sum(axis=1).mean(), rtol=1e-10)


# --------------------------------------------------------------------------- starts


def test_centres_are_means(codes):
    labels = np.arange(N) % K
    expected = [codes[labels == k].mean(axis=0) for k in range(K)]
    assert_allclose(centers_of(codes, labels, K), expected)


def test_labels_of_a_clusterer_begin_at_zero(codes):
    class Odd(BaseEstimator):
        def fit_predict(self, X):
            return np.where(X[:, 0] > 0, 7, np.where(X[:, 1] > 2, -1, 3))

    odd = Odd()
    labels = start_labels(odd, codes, 2, np.random.RandomState(0))
    found = odd.fit_predict(codes)
    assert_array_equal(labels[found == 3], 0)
    assert_array_equal(labels[found == 7], 1)
    assert set(labels) == {0, 1}  # noise too goes to the nearer mean
    with pytest.raises(ValueError, match="finds 2 clusters of the codes, and n_clusters=3"):
        start_labels(odd, codes, 3, np.random.RandomState(0))


def test_many_codes_get_labels_from_some(codes, monkeypatch):
    monkeypatch.setattr("skdistmix.deep._starts.MOST_ROWS", 30)
    X = np.concatenate([codes, codes + 50])
    labels = start_labels("kmeans", X, 2, np.random.RandomState(0))
    assert len(set(labels[:N])) == len(set(labels[N:])) == 1 and labels[0] != labels[-1]


def test_empty_clusters_get_a_code_of_the_widest():
    tight, wide = np.zeros((10, 2)), np.array([[10.0, 0], [10, 5], [10, -5], [14, 0]])
    codes = np.vstack([tight, wide])
    centers = np.array([[0.0, 0], [10, 0], [99, 99]])
    labels = squared_distances(codes, centers).argmin(axis=1)
    moved = reseeded(codes, centers, labels, np.random.RandomState(0))
    assert_array_equal(moved[:2], centers[:2])
    assert moved[2].tolist() in wide[1:].tolist()  # not the row in the centre itself
    assert reseeded(codes, centers[:2], labels, np.random.RandomState(0)) is None
    same = np.zeros((5, 2))
    moved = reseeded(same, centers, np.zeros(5, dtype=int), np.random.RandomState(0))
    assert_array_equal(moved, centers)


def test_batches_of_any_size_give_the_same_values(codes, centers):
    head, X = head_of(centers), torch.tensor(codes)
    whole = in_batches(head, X, "cpu")
    assert_array_equal(in_batches(head, X, "cpu", 7), whole)
    assert_array_equal(in_batches(head, X, "cpu", 256, padded=True), whole)
