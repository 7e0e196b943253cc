"""Fast searches: who is stopped, who starts again, and the winners of mclust."""

import json
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import make_blobs
from searches import GMM, GRID, separate
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning

from skdistmix import DistributedGMM
from skdistmix.model_selection import MixtureSearch
from skdistmix.model_selection._contest import WINDOW, Contest, Trace

ITERATIVE = {"VEI", "VEE", "VEV", "EVE", "VVE"}  # where ways may part
R_VALUES = Path(__file__).parent / "r_values"


def rows_of(name):
    if name == "faithful":
        return np.array(json.loads((R_VALUES / "faithful.json").read_text())["x"])
    if name == "wine":
        return load_wine().data[:, :5]
    return make_blobs(3000, 2, 4)[0]


@pytest.mark.parametrize("criterion", ["bic", "icl"])
@pytest.mark.parametrize("name", ["blobs", "faithful", "wine"])
def test_fast_finds_the_winner_of_exact(name, criterion):
    X, grid = rows_of(name), {**GRID, "n_components": [1, 2, 3, 4, 5]}
    gmm = clone(GMM).set_params(covariance_penalty="auto", n_init=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fast, exact = (
            MixtureSearch(gmm, grid, criterion=criterion, strategy=strategy).fit(X)
            for strategy in ("fast", "exact")
        )
    assert fast.best_params_ == exact.best_params_
    assert fast.best_score_ > exact.best_score_ - 0.5
    ended = ~fast.cv_results_["stopped"]
    behind = fast.cv_results_["criterion"] - exact.cv_results_["criterion"]
    assert behind[ended].max() < 0.5
    if criterion == "bic":
        assert 5 * ended.sum() < 4 * len(ended)
        n_iter = [search.cv_results_["n_iter"].sum() for search in (fast, exact)]
        assert n_iter[0] < 0.8 * n_iter[1]


def test_fast_leaves_a_poor_optimum_by_its_neighbour():
    """Of four groups two get one centre; K = 5 shows it, and two of its components are merged."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1200, 2)) + np.repeat([[0, 0], [40, 0], [0, 40], [6, 0]], 300, axis=0)
    poor = {"init_params": "random_from_data", "random_state": 1}
    grid = {"n_components": [3, 4, 5]}
    gmm = clone(GMM).set_params(covariance_type="EII", **poor)
    alone = [one.bic_ for one in separate(gmm, grid, X)]
    fast = MixtureSearch(gmm, grid).fit(X)
    assert fast.best_params_ == {"n_components": 4}
    assert -fast.best_score_ < min(alone) - 10
    gmm.set_params(max_iter=15, tol=0.01)  # too few iterations to look for other optima
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        few, exact = (
            MixtureSearch(gmm, grid, strategy=strategy).fit(X) for strategy in ("fast", "exact")
        )
    assert few.best_score_ == exact.best_score_ < fast.best_score_ - 10


def test_fast_finds_by_another_type_what_it_stopped_on_a_plateau(monkeypatch):
    """k-means cuts the long column; "full" leaves that optimum soon, "EEI" after many passes."""
    rng = np.random.default_rng(1)
    X = np.concatenate([rng.normal(c, (1, 50), size=(n, 2)) for c, n in ((-4, 400), (4, 700))])
    grid = {"n_components": [1, 2], "covariance_type": ["full", "EEI"]}
    exact = MixtureSearch(GMM, grid, strategy="exact").fit(X)
    fast = MixtureSearch(GMM, grid).fit(X)
    assert fast.best_params_ == {"n_components": 2, "covariance_type": "EEI"}
    assert fast.best_score_ > exact.best_score_ - 0.5
    with monkeypatch.context() as patch:
        patch.setattr("skdistmix.model_selection._cells.neighbours", lambda *args: [])
        alone = MixtureSearch(GMM, grid).fit(X)
    assert alone.best_score_ < fast.best_score_ - 10
    starts = [np.zeros(1100, int), (X[:, 1] > 0).astype(int)]
    given = [
        {"n_components": [K + 1], "init_params": [start], "covariance_type": ["full", "EEI"]}
        for K, start in enumerate(starts)
    ]
    left_alone = MixtureSearch(GMM, given).fit(X)  # starts that are given stay
    assert left_alone.best_score_ == pytest.approx(alone.best_score_)


def test_fast_stops_on_the_sample_who_is_far_behind():
    X = make_blobs(20_000, 3, 4, spread=1.5)[0]
    grid = {"n_components": [2, 3, 4], "covariance_type": ["full", "EII"]}
    search = MixtureSearch(clone(GMM).set_params(subsample=4000), grid).fit(X)
    assert search.best_params_ == {"n_components": 4, "covariance_type": "full"}
    table = search.cv_results_
    far = table["criterion"] > table["criterion"].min() + 20_000
    assert far.sum() >= 3
    assert table["stopped"][far].all()
    assert (table["n_iter"][far] == 1).all()  # one step on all rows, and its likelihood


class Run:
    """A run of EM as a contest sees it."""

    def __init__(self, values, n_parameters=1, n_components=1):
        self.values = self.objectives = list(values)
        self.family = self
        self.n_parameters, self.n_components = lambda: n_parameters, n_components


def contest_of(criterion, *runs, total=None):
    """A contest of models with one run each, after a pass over rows of weight 1000."""
    contest, point = Contest(criterion), SimpleNamespace(stats=SimpleNamespace(weight=1000.0))
    for place, run in enumerate(runs):
        point.params = f"of {place}"
        watch = contest.add()
        assert not (watch if total is None else watch.on_sample(total))(run, point)
    return contest


STEADY = -2.0 - 0.5 ** np.arange(2 * WINDOW + 12)


def test_contest():
    ahead, behind, young = Run(STEADY), Run(STEADY - 1), Run((STEADY - 9)[: 2 * WINDOW])
    contest = contest_of("aic", ahead, behind, young)
    assert contest.resting([0, 1, 2], True) == {1}  # of a young run one cannot tell
    assert contest.resting([0, 1, 2], False) == set()
    assert contest.leader() == (0, ahead, "of 0")
    contest.end(1)
    assert contest.is_ended(1)
    assert contest.resting([1], True) == set()  # it is to end
    assert contest_of("icl", ahead, behind).resting([0, 1], True) == set()
    crawling = Run(-2.5 + 0.01 * np.arange(2 * WINDOW + 4))
    assert contest_of("aic", ahead, crawling).resting([0, 1], True) == set()  # gains do not shrink
    assert contest_of("bic", young).leader() is None
    # who soared and broke down is no measure any more
    contest = contest_of("bic", ahead, behind)
    ahead.objectives = [*ahead.values, -np.inf]
    assert contest.resting([1], True) == set()
    assert contest.leader()[0] == 1
    # the number of parameters counts
    contest = contest_of("bic", Run(STEADY), Run(STEADY, 30, 10))
    assert contest.resting([0, 1], True) == {1}
    trace = Trace(Run(STEADY[: 2 * WINDOW + 1]), 1.0, 1.0)
    assert trace.still_to_gain() == pytest.approx(-2 - trace.run.values[-1])


@pytest.mark.parametrize("lead, rests", [(0.01, set()), (0.2, {1})])
def test_a_sample_must_be_beyond_chance(lead, rests):
    contest = contest_of("bic", Run(STEADY + lead), Run(STEADY), total=1e6)
    assert contest.resting([0, 1], False) == rests
    contest.end(1)
    assert contest.is_ended(1)
    assert contest.resting([1], True) == set()


# ------------------------------------------------------------------ R's mclust


@pytest.mark.parametrize("strategy", ["fast", pytest.param("exact", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["iris", "faithful"])
def test_the_winner_of_mclust(name, strategy, iris):
    """All models for 1 to 9 components, from the partitions that mclust starts from."""
    file = {"iris": "parsimonious.json", "faithful": "faithful.json"}[name]
    theirs = json.loads((R_VALUES / file).read_text())
    X = iris if name == "iris" else np.array(theirs["x"])
    labels = {int(K): np.array([int(c) for c in s]) for K, s in theirs["grid"]["labels"].items()}
    labels[1], models = np.zeros(len(X), int), list(theirs["grid"]["bic"])
    bic = {
        (model, K + 1): value
        for model, values in theirs["grid"]["bic"].items()
        for K, value in enumerate(values)
        if value is not None
    }
    grid = [
        {"n_components": [K], "init_params": [labels[K]], "covariance_type": models}
        for K in range(1, 10)
    ]  # fmt: skip
    gmm = DistributedGMM(reg_covar=0, tol="likelihood", max_iter=5000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitFailedWarning)  # singular covariances, as in R
        search = MixtureSearch(gmm, grid, strategy=strategy).fit(X)
    best = max(bic, key=bic.get)
    assert (search.best_params_["covariance_type"], search.best_params_["n_components"]) == best
    assert search.best_score_ == pytest.approx(bic[best], abs=0.1)
    results = search.cv_results_
    for (model, K), value in bic.items():
        cell = 14 * (K - 1) + models.index(model)
        assert results["params"][cell]["n_components"] == K
        if strategy == "exact" and not results["error"][cell] and model not in ITERATIVE:
            assert results["mean_test_score"][cell] > value - 0.1  # mclust stops sooner
    if strategy == "exact":
        n_parameters = {"2": 10, "3": 15} if name == "faithful" else {"2": 23, "3": 32}
        for K, total in theirs["vve"].items():
            (cell,) = [
                i
                for i, cell in enumerate(results["params"])
                if (cell["covariance_type"], cell["n_components"]) == ("VVE", int(K))
            ]
            assert results["log_likelihood"][cell] == pytest.approx(total, abs=0.05)
            assert results["n_parameters"][cell] == n_parameters[K]
