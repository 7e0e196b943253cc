"""One start that leads to no covariance is dropped; the others go on."""

import numpy as np
import pytest
from conftest import make_blobs

from skdistmix import DistributedGMM
from skdistmix._compute import Workers
from skdistmix._em import EMFit, EMRun, em, em_together, first_pass, hopeless
from skdistmix._progressive import fitted_on_sample
from skdistmix._seeding import params_from_centers
from skdistmix._shards import cut_rows
from skdistmix._sweeps import Sweep, run_together
from skdistmix.families import DegenerateComponentError, FullGaussian
from skdistmix.mixture import _start

POINT = np.array([13.5, -14.0])  # which many rows are at


@pytest.fixture(scope="module")
def rows():
    X, _ = make_blobs(n_rows=1500, n_features=2, n_components=3, spread=6, seed=4)
    return np.random.default_rng(0).permutation(np.vstack([X, np.tile(POINT, (150, 1))]))


class Seed(np.random.RandomState):
    """A generator of a single start with this seed."""

    def __init__(self, seed):
        super().__init__(0)
        self.seed_of_start = seed

    def randint(self, *args, **kwargs):
        return self.seed_of_start


def fit(X, **kwargs):
    kwargs = {"init_params": "random_from_data", "tol": 1e-5, "max_iter": 2000, **kwargs}
    return DistributedGMM(3, reg_covar=0, **kwargs).fit(X)


def test_a_start_that_degenerates_is_dropped(rows, capsys):
    gmm = fit(rows, n_init=8, random_state=1, verbose=1)
    dropped = np.isneginf(gmm.init_scores_)
    assert 0 < dropped.sum() < 8
    assert gmm.objective_ == pytest.approx(gmm.init_scores_.max(), rel=1e-11)
    assert gmm.score(rows) == pytest.approx(gmm.lower_bound_, rel=1e-12)
    said = capsys.readouterr().out
    for i, seed in enumerate(np.random.RandomState(1).randint(2**31 - 1, size=8).tolist()):
        found = f"Start {i} was dropped: The covariance of component" in said
        assert found == dropped[i]
        if dropped[i]:
            with pytest.raises(DegenerateComponentError, match="not positive definite"):
                fit(rows, random_state=Seed(seed))
        elif f"Start {i} converged" in said:
            alone = fit(rows, random_state=Seed(seed)).objective_
            assert gmm.init_scores_[i] == pytest.approx(alone, rel=1e-9)


def test_the_number_of_workers_changes_nothing(rows):
    a, b = (fit(rows, n_init=8, random_state=1, n_jobs=n_jobs) for n_jobs in (1, 3))
    np.testing.assert_array_equal(a.init_scores_, b.init_scores_)
    np.testing.assert_array_equal(a.covariances_, b.covariances_)


def test_an_error_if_all_degenerate():
    X = np.random.default_rng(0).normal(size=(200, 1)) * [1.0, 2.0]  # on a line
    messages = []
    for n_init in (1, 3):
        with pytest.raises(DegenerateComponentError, match="larger reg_covar") as caught:
            fit(X, n_init=n_init, random_state=0)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


# ------------------------------------------------------------------ side by side


@pytest.fixture(scope="module")
def workers():
    with Workers(1) as workers:
        yield workers


@pytest.fixture(scope="module")
def prepared(rows, workers):
    """Shards, a family, a start that leads to an optimum and one that shrinks to a point."""
    shards = cut_rows(rows, 1)
    family = FullGaussian(3).prepare(first_pass(workers.map_reduce, shards, True, 3))
    centers = rows[np.linalg.norm(rows - POINT, axis=1) > 2][:3]
    good = params_from_centers(workers.map_reduce, shards, family, centers)
    means = np.vstack([centers[:2], POINT])
    covariances = np.stack([np.cov(rows.T), np.cov(rows.T), 9 * np.eye(2)])
    bad = type(good)(good.weights, means, covariances, family.factors_of(covariances))
    return shards, family, good, bad


def test_the_other_runs_go_on(workers, prepared):
    shards, family, good, bad = prepared
    alone = em(workers.map_reduce, shards, family, good, 1e-6, 500)
    early = DegenerateComponentError("before EM")
    runs = [EMRun(family, params, 1e-6, 500) for params in (bad, good, early)]
    late, fit, same = em_together(workers.map_reduce, shards, runs)
    assert isinstance(late, DegenerateComponentError) and same is early
    assert len(runs[0].objectives) > 2  # it was some iterations until there
    np.testing.assert_allclose(fit.values, alone.values, rtol=1e-12)
    assert [run.objectives[-1] for run in (runs[0], runs[2])] == [-np.inf, -np.inf]
    with pytest.raises(DegenerateComponentError, match="before EM"):
        em_together(workers.map_reduce, shards, [EMRun(family, p, 1e-6, 500) for p in (early, bad)])


def test_resting_computations_take_no_part_until_they_wake():
    taken = []

    def computation(name, n):
        for _ in range(n):
            yield Sweep(name)
        return name

    def map_reduce(function, shards, block_rows, check=False):
        names = getattr(function, "functions", (function,))
        taken.append("".join(names))
        return type("Sums", (), {"values": names})

    def resting():
        return [1] if 1 <= len(taken) < 4 else [2] if len(taken) > 4 else []

    computations = [computation(name, n) for name, n in (("a", 4), ("b", 3), ("c", 9))]
    assert run_together(map_reduce, None, computations, resting) == ["a", "b", None]
    assert taken == ["abc", "ac", "ac", "ac", "bc", "b"]


class Scripted(EMRun):
    """A run with given objectives, and an error at its end if it has no fit."""

    def _until_converged(self):
        for value in self.params:
            yield Sweep(str)
            self.objectives.append(value)
        if not self.tol:
            raise DegenerateComponentError
        return EMFit(None, self.objectives, self.objectives, True, 0.0, None)


def test_a_run_is_not_given_up_for_one_that_soars_and_degenerates():
    behind = -1 - 0.5 ** np.arange(100)
    soaring = np.r_[np.full(10, -2.0), np.linspace(-2, 20, 60)]
    runs = [Scripted(None, soaring, 0, 0), Scripted(None, behind, 1, 0)]
    steps = []

    def map_reduce(function, shards, block_rows, check=False):
        n = len(getattr(function, "functions", (function,)))
        steps.append(n)
        return type("Sums", (), {"values": (None,) * n})

    lost, found = em_together(map_reduce, None, runs, give_up=True)
    assert isinstance(lost, DegenerateComponentError)
    assert found.objectives == behind.tolist()
    assert steps.count(1) > 50  # it rested, and went on alone
    assert hopeless(runs) == []


# ------------------------------------------------------------------ on a sample


def test_what_degenerates_on_a_sample_leaves_the_race(workers, prepared):
    shards, family, good, bad = prepared
    early = DegenerateComponentError("before EM")
    starts = {0: [early, good, bad], 1: [early, early], 2: [bad]}

    def found(seeds):
        return fitted_on_sample(
            workers.map_reduce, shards, family, lambda X, family, seed, n: starts[seed], seeds
        )

    first, second, third = found([0, 1, 2])
    assert second is early and isinstance(third, DegenerateComponentError)
    np.testing.assert_array_equal(first.means, found([0])[0].means)
    assert found([1, 2]) is None


def test_a_start_that_degenerates_on_the_sample_is_dropped(rows, monkeypatch, capsys):
    X = np.tile(rows, (8, 1)) + 1e-3 * np.random.default_rng(0).normal(size=(8 * len(rows), 2))
    several_starts, seeds = _start.several_starts, []

    def second_fails(map_reduce, start, shards, family, seed, number):
        seeds.append(seed)
        starts = several_starts(map_reduce, start, shards, family, seed, number)
        return [DegenerateComponentError("nothing is left")] if len(seeds) == 2 else starts

    monkeypatch.setattr(_start, "several_starts", second_fails)
    gmm = fit(X, n_init=3, subsample=2000, random_state=0, verbose=1)
    assert np.isneginf(gmm.init_scores_).tolist() == [False, True, False]
    assert "Start 1 was dropped: nothing is left" in capsys.readouterr().out
