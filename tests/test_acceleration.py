"""Prolonged steps of EM: never lower, fewer passes, and the stopping rule in units of BIC."""

import warnings

import numpy as np
import pytest
from conftest import make_blobs, start_of
from sklearn.exceptions import ConvergenceWarning

from skdistmix import DistributedGMM
from skdistmix._acceleration import ACCELERATIONS, Anderson, Squarem, usable_acceleration
from skdistmix._em import EMRun
from skdistmix.families import GAUSSIAN_FAMILIES, FullGaussian, Moments


def slow(seed=0):
    """Overlapping components: EM needs many steps."""
    return make_blobs(n_rows=4000, n_features=2, n_components=5, spread=1, seed=seed)[0]


@pytest.mark.parametrize("name", list(ACCELERATIONS))
def test_fewer_passes_to_no_lower_a_likelihood(covariance_type, name):
    plain_passes = passes = 0
    for seed in range(4):
        X = slow(seed)
        common = {"covariance_type": covariance_type, "tol": 1e-8, "max_iter": 5000, "reg_covar": 0}
        common.update(start_of(X, 5, covariance_type, seed))
        plain = DistributedGMM(5, **common).fit(X)
        fast = DistributedGMM(5, acceleration=name, **common).fit(X)
        assert np.diff(fast.objectives_).min() >= -1e-13
        assert fast.lower_bound_ >= plain.lower_bound_ - 1e-7
        assert fast.score(X) == pytest.approx(fast.lower_bound_, rel=1e-12)
        assert len(fast.objectives_) == fast.n_iter_ + 1
        plain_passes, passes = plain_passes + plain.n_iter_, passes + fast.n_iter_
    assert passes < 0.75 * plain_passes


@pytest.mark.parametrize("name", list(ACCELERATIONS))
def test_no_step_is_lower_than_the_step_of_em(name, monkeypatch):
    taken = []
    original = EMRun._next

    def both(self, here, image, prolong):
        there = yield from original(self, here, image, prolong)
        if there.params is not image:
            plain = yield self._sweep(None, image)
            taken.append((there.objective, plain.log_likelihood / plain.weight))
        return there

    monkeypatch.setattr(EMRun, "_next", both)
    for seed in range(5):
        X = slow(seed)
        DistributedGMM(
            5, acceleration=name, reg_covar=0, tol=1e-9, max_iter=3000, **start_of(X, 5, "full")
        ).fit(X)
    prolonged, plain = np.array(taken).T
    assert len(prolonged) > 40
    assert (prolonged - plain).min() > -1e-11


@pytest.mark.parametrize("name", list(ACCELERATIONS))
def test_a_passing_limit_of_iterations_is_kept(name):
    X = slow()
    for max_iter in range(20, 60, 7):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            gmm = DistributedGMM(
                5, acceleration=name, tol=0, max_iter=max_iter, **start_of(X, 5, "full")
            ).fit(X)
        assert gmm.n_iter_ == max_iter
        assert gmm.lower_bound_ == pytest.approx(gmm.score(X), rel=1e-12)


@pytest.mark.parametrize("name", list(ACCELERATIONS))
def test_values_are_those_of_the_parameters_where_em_itself_falls(covariance_type, name):
    X = slow()[:500]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        gmm = DistributedGMM(
            5, covariance_type=covariance_type, acceleration=name, reg_covar=0.3, tol=1e-6,
            max_iter=100, random_state=0,
        ).fit(X)  # fmt: skip
    assert gmm.score(X) == pytest.approx(gmm.lower_bound_, rel=1e-12)
    assert len(gmm.objectives_) == gmm.n_iter_ + 1


@pytest.mark.parametrize("name", list(ACCELERATIONS))
def test_what_is_left_to_gain_is_known_after_a_prolonged_step(name):
    X = slow()[:400]
    for seed in range(3):
        gmm = DistributedGMM(
            3, covariance_type="tied", acceleration=name, reg_covar=0, tol=1e-9, max_iter=3000,
            random_state=seed,
        ).fit(X)  # fmt: skip
        assert gmm.convergence_gap_ < 0.01
        gmm.bic(X)  # does not warn


def test_acceleration_with_a_prior_and_a_lost_component():
    X = slow()
    gmm = DistributedGMM(
        5,
        acceleration="squarem",
        prior="auto",
        reg_covar=0,
        tol=1e-8,
        max_iter=3000,
        random_state=0,
    ).fit(X)
    assert np.diff(gmm.objectives_).min() >= -1e-13
    start = start_of(X, 5, "full")
    start["means_init"][0] = 1e3  # no row is near
    gmm = DistributedGMM(5, acceleration="anderson", max_iter=500, tol=1e-4, **start).fit(X)
    assert gmm.converged_


def test_a_linear_map_is_solved():
    rng = np.random.default_rng(0)
    A = np.diag([0.99, 0.9, 0.5, 0.1])
    goal = rng.normal(size=4)

    def steps(rule, n):
        x = np.zeros(4)
        for _ in range(n):
            image = goal + A @ (x - goal)
            x = rule.propose(x, image) if rule else image
            x = image if x is None else x
        return np.abs(x - goal).max()

    assert steps(Anderson(), 30) < 1e-6 < steps(None, 30)
    assert steps(Squarem(), 90) < 0.1 * steps(None, 90)


def test_families_that_cannot_be_accelerated_say_so():
    class Falling(FullGaussian):
        monotone = False

    class Bare(FullGaussian):
        has_coordinates = False

    assert usable_acceleration(FullGaussian(2), "squarem") == "squarem"
    assert usable_acceleration(Falling(2), None) is None
    with pytest.warns(UserWarning, match="Falling may lower the likelihood"):
        assert usable_acceleration(Falling(2), "squarem") is None
    with pytest.warns(UserWarning, match="Bare has no coordinates"):
        assert usable_acceleration(Bare(2), "anderson") is None
    with pytest.raises(ValueError, match="acceleration"):
        DistributedGMM(acceleration="fast").fit(np.eye(3))


def test_the_warning_points_to_the_caller_of_fit(monkeypatch):
    monkeypatch.setattr(FullGaussian, "monotone", False)
    X, _ = make_blobs(n_rows=300)
    with pytest.warns(UserWarning, match="is not used") as caught:
        DistributedGMM(2, acceleration="squarem", random_state=0).fit(X)
    assert caught[0].filename == __file__ and len(caught) == 1


def test_coordinates_go_there_and_back(covariance_type):
    X, labels = make_blobs()
    family = GAUSSIAN_FAMILIES[covariance_type](3).prepare(Moments.of_rows(X, None, True, 3))
    resp = (np.arange(3)[:, None] == labels).astype(float)
    params = family.m_step(family.statistics(X, None, resp, np.zeros((3, 3))))
    vector = family.coordinates(params)
    back = family.params_of_coordinates(vector, like=params)
    for name in ("weights", "means", "covariances", "precisions_cholesky"):
        np.testing.assert_allclose(getattr(back, name), getattr(params, name), rtol=1e-9)
    assert len(vector) == family.n_parameters() + 1  # weights up to a constant


# ------------------------------------------------------------------ tol="likelihood"


@pytest.mark.parametrize("name", [None, *ACCELERATIONS])
def test_bic_differences_by_the_likelihood_rule_are_those_of_the_optima(name):
    """The benchmark does this at 200,000 rows, and with a component too many."""
    X, _ = make_blobs(n_rows=10_000, n_features=2, n_components=3, spread=1.5, seed=1)
    differences = []
    for tol, rule in (("likelihood", name), (1e-11, None)):
        bic = [
            DistributedGMM(
                K, tol=tol, acceleration=rule, max_iter=20_000, random_state=0, reg_covar=0
            )
            .fit(X)
            .bic_
            for K in (1, 2, 3)
        ]
        differences.append(np.diff(bic))
    np.testing.assert_allclose(*differences, atol=1.0)


@pytest.mark.parametrize("name", list(ACCELERATIONS))
def test_the_likelihood_rule_costs_no_more_passes_where_nothing_was_prolonged(name):
    X, _ = make_blobs(spread=9)
    for K in (1, 3):
        common = {"tol": "likelihood", "random_state": 0}
        plain = DistributedGMM(K, **common).fit(X)
        assert DistributedGMM(K, acceleration=name, **common).fit(X).n_iter_ == plain.n_iter_ < 20
