"""MixtureSearch: equal to separate fits, reads the rows together, and says what went wrong."""

import pickle
import threading
import warnings

import numpy as np
import pytest
from conftest import CutIn, make_blobs, start_of
from poisson import PoissonFamily, make_counts
from searches import GMM, GRID, separate
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning, NotFittedError
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, ParameterGrid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdistmix import DistributedGMM, DistributedMixture, as_shards
from skdistmix._compute import Workers
from skdistmix.model_selection import FullData, MixtureSearch, neg_bic
from skdistmix.preprocessing import Shardwise

# ------------------------------------------------------------------ exact


@pytest.mark.parametrize(
    "options",
    [
        {"n_init": 3, "init_params": "random"},
        {"subsample": 500, "tol": 1e-4},
        {"acceleration": "squarem", "covariance_penalty": "auto"},
    ],
)
def test_exact_is_separate_fits(blobs, options):
    X, _ = blobs
    gmm = DistributedGMM(max_iter=200, random_state=3, **options)
    fits = separate(gmm, GRID, X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        search = MixtureSearch(gmm, GRID, strategy="exact").fit(X)
    results = search.cv_results_
    for name in ("bic", "icl", "aic", "n_iter", "n_parameters", "converged"):
        theirs = [getattr(one, f"{name}_") for one in fits]
        np.testing.assert_allclose(results[name], theirs, rtol=1e-9, err_msg=name)
    best = fits[search.best_index_]
    for name in ("weights_", "means_", "covariances_", "objectives_"):
        np.testing.assert_allclose(
            getattr(search.best_estimator_, name), getattr(best, name), rtol=1e-9, atol=1e-9
        )
    assert not results["stopped"].any()
    assert search.best_score_ == pytest.approx(-min(one.bic_ for one in fits), rel=1e-12)
    assert search.best_estimator_.get_params() == best.get_params()


@pytest.fixture
def passes(monkeypatch):
    """Sweeps over more rows than a sample has, counted as they are made."""
    made = []
    plain = Workers.map_reduce

    def counted(self, function, shards, *args, **kwargs):
        made.append(shards.n_rows)
        return plain(self, function, shards, *args, **kwargs)

    monkeypatch.setattr(Workers, "map_reduce", counted)
    return made


@pytest.mark.parametrize(
    "options",
    [{"init_params": "k-means++"}, {"subsample": 400}, {"init_params": "random", "n_init": 2}],
)
def test_exact_reads_the_rows_as_often_as_the_longest_fit(blobs, passes, options):
    X, _ = blobs
    gmm = DistributedGMM(random_state=0, tol=1e-3, **options)
    alone = []
    for cell in ParameterGrid(GRID):
        passes.clear()
        separate(gmm, [{name: [value] for name, value in cell.items()}], X)
        alone.append(passes.count(len(X)))
    passes.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        MixtureSearch(gmm, GRID, strategy="exact").fit(X)
    assert passes.count(len(X)) == max(alone) < sum(alone) / 5


# ------------------------------------------------------------------ what a search offers


def test_layout(blobs):
    X, _ = blobs
    grid = [{"n_components": [1, 3]}, {"n_components": [3], "covariance_type": ["tied"]}]
    search = MixtureSearch(GMM, grid).fit(X)
    theirs = GridSearchCV(GMM, grid, scoring=neg_bic, cv=FullData()).fit(X)
    assert search.best_params_ == theirs.best_params_
    assert search.best_index_ == theirs.best_index_
    assert search.best_score_ == pytest.approx(theirs.best_score_, rel=1e-9)
    ours = search.cv_results_
    assert ours["params"] == theirs.cv_results_["params"]
    assert set(ours) & set(theirs.cv_results_) == {
        "params", "mean_test_score", "rank_test_score", "param_n_components",
        "param_covariance_type",
    }  # fmt: skip
    assert ours["param_covariance_type"].mask.tolist() == [True, True, False]
    for name in ("mean_test_score", "rank_test_score"):
        ended = ~ours["stopped"]
        np.testing.assert_allclose(ours[name][ended], theirs.cv_results_[name][ended], rtol=1e-9)
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(again.predict(X), search.best_estimator_.predict(X))
    np.testing.assert_array_equal(again.predict_proba(X), search.best_estimator_.predict_proba(X))
    np.testing.assert_array_equal(again.score_samples(X), search.best_estimator_.score_samples(X))
    assert again.score(X) == pytest.approx(search.best_estimator_.lower_bound_, rel=1e-12)
    assert again.n_features_in_ == 3


def test_table(blobs, monkeypatch):
    pandas = pytest.importorskip("pandas")
    search = MixtureSearch(GMM, {"n_components": [1, 2, 200_000]})
    with pytest.warns(FitFailedWarning):
        search.fit(blobs[0])
    table = search.criterion_table_
    assert isinstance(table, pandas.DataFrame)
    assert table["n_components"].tolist() == [1, 2, 200_000]
    assert table["rank"].tolist() == [2, 1, 3]
    assert table["criterion"].isna().tolist() == [False, False, True]
    assert "fewer than n_components" in table["error"][2] or "n_samples >=" in table["error"][2]
    np.testing.assert_array_equal(table["bic"], search.cv_results_["bic"])
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    plain = search.criterion_table_
    assert isinstance(plain, dict)
    assert list(plain) == list(table)
    np.testing.assert_array_equal(plain["bic"], table["bic"])


def test_without_refit(blobs):
    X, _ = blobs
    search = MixtureSearch(GMM, {"n_components": [1, 2]}, refit=False)
    assert hasattr(MixtureSearch(GMM, {}), "predict")
    search.fit(X)
    assert search.best_params_ == {"n_components": 2}
    assert not hasattr(search, "predict")  # as GridSearchCV
    assert not hasattr(search, "best_estimator_")
    assert not hasattr(search, "n_features_in_")
    with pytest.raises(AttributeError, match="no attribute 'predict'") as caught:
        search.predict(X)
    assert "refit=True" in str(caught.value.__cause__)


def test_before_fit(blobs):
    with pytest.raises(NotFittedError):
        MixtureSearch(GMM, {"n_components": [1, 2]}).predict(blobs[0])


def test_doubts_about_the_rows_are_told_once(blobs):
    X = blobs[0][:300].copy()
    X[:, 1] = 2.0
    with pytest.warns(UserWarning, match=r"Columns \[1\] are constant") as caught:
        MixtureSearch(GMM, {"n_components": [1, 2]}).fit(X)
    assert len(caught) == 1 and caught[0].filename == __file__


def test_nothing_is_left_of_an_earlier_fit(blobs):
    X = blobs[0][:200]
    frame = pytest.importorskip("pandas").DataFrame(X, columns=list("abc"))
    search = MixtureSearch(GMM, {"n_components": [1, 2]}).fit(frame)
    assert list(search.feature_names_in_) == list("abc")
    search.fit(X)
    assert not hasattr(search, "feature_names_in_")
    results = search.cv_results_
    with pytest.raises(ValueError, match="None of the 1 models"):
        search.set_params(param_grid={"n_components": [1000]}).fit(X)
    assert search.cv_results_ is results  # a search that fails changes nothing
    search.set_params(param_grid={"n_components": [2]}, refit=False).fit(X)
    assert not hasattr(search, "best_estimator_")


def test_a_function_as_criterion(blobs):
    X = blobs[0][:600]

    def strict(gmm):
        total = gmm.lower_bound_ * gmm.n_samples_seen_
        return -2 * total + 300 * gmm.n_parameters_

    bic = MixtureSearch(GMM, GRID, strategy="exact").fit(X)
    same = MixtureSearch(GMM, GRID, criterion=lambda gmm: gmm.bic_).fit(X)
    assert same.best_params_ == bic.best_params_
    assert not same.cv_results_["stopped"].any()
    chosen = MixtureSearch(GMM, GRID, criterion=strict).fit(X)
    assert chosen.best_score_ == -strict(chosen.best_estimator_)
    assert chosen.best_estimator_.n_parameters_ < bic.best_estimator_.n_parameters_
    aic = MixtureSearch(GMM, GRID, criterion="aic").fit(X)
    assert aic.best_score_ == -aic.best_estimator_.aic_


def test_a_function_is_called_in_the_thread_of_the_caller(blobs):
    threads = set()

    def watched(gmm):
        threads.add(threading.get_ident())
        return gmm.bic_

    MixtureSearch(GMM, {"n_components": [1, 2]}, criterion=watched).fit(blobs[0][:300])
    assert threads == {threading.get_ident()}


def assert_same_search(a, b, rtol=1e-8):
    assert a.best_params_ == b.best_params_
    np.testing.assert_allclose(a.cv_results_["criterion"], b.cv_results_["criterion"], rtol=rtol)
    np.testing.assert_allclose(a.best_estimator_.means_, b.best_estimator_.means_, rtol=1e-6)


@pytest.mark.parametrize("form", ["list", "paths", "memmap", "shards", *CutIn.ways[2:]])
def test_forms_of_data(blobs, form, tmp_path):
    X, _ = blobs
    whole = MixtureSearch(GMM, GRID).fit(X)
    parts = CutIn.cut(X, form) if form in CutIn.ways else np.array_split(X, 3)
    if form in ("paths", "memmap"):
        for i, part in enumerate(parts):
            np.save(tmp_path / f"{i}.npy", part)
        np.save(tmp_path / "whole", X)
        parts = [str(tmp_path / f"{i}.npy") for i in range(3)]
    data = np.load(tmp_path / "whole.npy", mmap_mode="r") if form == "memmap" else parts
    search = MixtureSearch(GMM, GRID).fit(as_shards(parts) if form == "shards" else data)
    assert_same_search(search, whole)


def test_dask(blobs, somewhere):
    da = pytest.importorskip("dask.array")
    X, _ = blobs
    grid = {"n_components": [2, 3], "covariance_type": ["full", "diag"]}
    search = MixtureSearch(GMM, grid).fit(da.from_array(X, chunks=(1000, 3)))
    assert_same_search(search, MixtureSearch(GMM, grid).fit(X))


def test_weights_are_repeated_rows(blobs):
    X = blobs[0][:1000]
    weights = np.arange(1000) % 3
    grid = [
        {**{name: [value] for name, value in start_of(X, K, kind).items()},
         "n_components": [K], "covariance_type": [kind]}
        for K in (1, 2, 3) for kind in ("full", "EII")
    ]  # fmt: skip
    gmm = DistributedGMM(tol="likelihood", max_iter=3000)
    weighted = MixtureSearch(gmm, grid, strategy="exact").fit(X, sample_weight=weights)
    repeated = MixtureSearch(gmm, grid, strategy="exact").fit(np.repeat(X, weights, axis=0))
    assert weighted.best_index_ == repeated.best_index_
    for name in ("bic", "icl", "aic"):
        ours, theirs = weighted.cv_results_[name], repeated.cv_results_[name]
        np.testing.assert_allclose(ours, theirs, rtol=1e-8)
    fast = MixtureSearch(gmm, grid).fit([X[:300], X[300:]], sample_weight=weights)
    assert fast.best_score_ == pytest.approx(weighted.best_score_, abs=0.5)


def test_workers_and_seeds():
    X, _ = make_blobs(80_000, 4)
    gmm = DistributedGMM(max_iter=4, tol=0, subsample=None)
    grid = {"n_components": [1, 2, 3], "covariance_type": ["full", "diag"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        one, two, other = (
            MixtureSearch(gmm, grid, n_jobs=n_jobs, random_state=seed).fit(X)
            for n_jobs, seed in ((1, 0), (2, 0), (1, 1))
        )
        alone = separate(gmm.set_params(random_state=0), grid, X)
    assert one.cv_results_["criterion"].tobytes() == two.cv_results_["criterion"].tobytes()
    assert one.cv_results_["bic"].tobytes() != other.cv_results_["bic"].tobytes()
    best = one.best_index_
    assert one.cv_results_["bic"][best] <= alone[best].bic_ + 1e-6
    gmm = DistributedGMM(init_params="random", max_iter=1)
    for search in (
        MixtureSearch(gmm, {"covariance_type": ["full", "VVV"]}, strategy="exact"),
        MixtureSearch(
            gmm.set_params(random_state=np.random.RandomState(0), n_components=2),
            {"covariance_type": ["full", "VVV"]},
            strategy="exact",
        ),
    ):
        with pytest.warns(ConvergenceWarning):
            same = search.fit(X[:100]).cv_results_["bic"]
        assert same[0] == same[1]  # one seed for all models


def test_integers_of_numpy(blobs):
    X, grid = blobs[0][:200], {"n_components": np.arange(1, 4)}
    search = MixtureSearch(GMM, grid, n_jobs=np.int64(1), random_state=np.int64(0)).fit(X)
    assert search.best_score_ == MixtureSearch(GMM, grid).fit(X).best_score_


def test_columns_and_progress(blobs, capsys):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(blobs[0], columns=list("abc"))
    search = MixtureSearch(GMM, {"n_components": [1, 2]}, verbose=2).fit(frame)
    assert search.feature_names_in_.tolist() == list("abc")
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "Sweep 1: 2 of 2 fits go on"
    assert all(line.startswith("Sweep") for line in said)
    MixtureSearch(GMM, {"n_components": [1, 2]}, verbose=1).fit(frame)
    assert capsys.readouterr().out.startswith("Sweep 10: ")
    assert search.best_estimator_.verbose == 0


# ------------------------------------------------------------------ pipelines


class CountingScaler(StandardScaler):
    n_fits = 0

    def fit(self, X, y=None, sample_weight=None):
        type(self).n_fits += 1
        return super().fit(X, y, sample_weight)


def test_pipeline(blobs):
    X = blobs[0][:900]
    pipe = make_pipeline(CountingScaler(), GMM)
    grid = {f"distributedgmm__{name}": values for name, values in GRID.items()}
    search = MixtureSearch(pipe, grid).fit(X)
    assert CountingScaler.n_fits == 1
    plain = MixtureSearch(GMM, GRID).fit(StandardScaler().fit_transform(X))
    assert search.best_score_ == pytest.approx(plain.best_score_, rel=1e-9)
    assert search.best_params_ == {f"distributedgmm__{k}": v for k, v in plain.best_params_.items()}
    assert search.best_estimator_[:-1].transform(X).std() == pytest.approx(1.0)
    alone = clone(pipe).set_params(**search.best_params_).fit(X)
    np.testing.assert_allclose(search.score_samples(X), alone.score_samples(X), rtol=1e-6)
    shards = np.array_split(X, 3)
    over_shards = MixtureSearch(make_pipeline(Shardwise(StandardScaler()), GMM), grid).fit(shards)
    assert over_shards.best_score_ == pytest.approx(search.best_score_, rel=1e-9)
    assert [len(labels) for labels in over_shards.predict(shards)] == [300] * 3
    only = MixtureSearch(make_pipeline(GMM), grid).fit(X)
    assert only.best_score_ == pytest.approx(MixtureSearch(GMM, GRID).fit(X).best_score_)


@pytest.mark.parametrize(
    "grid, message",
    [
        ({"standardscaler__with_mean": [True, False]}, "not comparable.*GridSearchCV"),
        ({"standardscaler": ["passthrough"]}, "a step before the mixture"),
        ({"n_components": [1, 2]}, "Did you mean 'distributedgmm__n_components'"),
        ({"distributedgmm__n_component": [1]}, "Did you mean 'distributedgmm__n_components'"),
        ({"zzz": [None]}, "begin with 'distributedgmm__'"),
        ({"distributedgmm": [GMM]}, "no parameter of the last step"),
    ],
)
def test_pipelines_refuse(blobs, grid, message):
    with pytest.raises(ValueError, match=message):
        MixtureSearch(make_pipeline(StandardScaler(), GMM), grid).fit(blobs[0])


def test_values_of_the_grid_are_copied():
    X, family = make_counts(300)[0], PoissonFamily()
    mixture = DistributedMixture(2, family=PoissonFamily(), random_state=0)
    grid = {"family": [family], "family__floor": [1e-3, 1e-2]}
    search = MixtureSearch(mixture, grid, strategy="exact").fit(X)
    assert family.floor == 1e-6
    assert search.best_estimator_.family.floor == search.best_params_["family__floor"]


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    "grid, message",
    [
        ({"n_component": [1, 2]}, "Did you mean 'n_components'"),
        ({"n_components": [1], "clusters": [3]}, "param_grid has 'clusters'"),
        ({"device": ["cuda"]}, "makes no other model; all models share"),
        ({"n_shards": [1, 2]}, "it changes no result"),
        ({"average": [True]}, "belongs to partial_fit"),
        ({}, "param_grid is empty"),
        ([], "param_grid is empty"),
        ({"n_components": []}, "empty"),
    ],
)
def test_grids_are_checked_before_any_row_is_read(grid, message):
    data = np.full((10, 2), np.nan)  # would be an error too
    with pytest.raises(ValueError, match=message):
        MixtureSearch(GMM, grid).fit(data)


def test_models_that_fail(blobs):
    X = blobs[0][:60]
    grid = {"n_components": [1, 2, 100], "covariance_type": ["full", "circle"], "prior": [None]}
    with pytest.warns(FitFailedWarning, match="4 of 6 models could not be fitted") as caught:
        search = MixtureSearch(GMM, grid).fit(X)
    assert sum(issubclass(w.category, FitFailedWarning) for w in caught) == 1
    errors = search.cv_results_["error"]
    for i, cell in enumerate(search.cv_results_["params"]):
        if cell["covariance_type"] == "circle":
            assert "'circle' is not known" in errors[i]
        elif cell["n_components"] == 100:
            assert "n_components = 100" in errors[i]
        else:
            assert errors[i] == ""
            continue
        assert np.isnan(search.cv_results_["mean_test_score"][i])
        assert search.cv_results_["rank_test_score"][i] == 3
    with pytest.raises(ValueError, match="None of the 3 models") as failure:
        MixtureSearch(GMM, {"covariance_type": ["circle", "square", "circle"]}).fit(X)
    assert "'circle' is not known" in str(failure.value)
    assert "'square' is not known" in str(failure.value)
    assert len(str(failure.value).splitlines()) == 3
    with pytest.warns(FitFailedWarning, match="3 of 5 models"):
        odd = MixtureSearch(GMM, {"n_components": ["3", 1, None, 2, 1.5]}).fit(X)
    assert [bool(error) for error in odd.cv_results_["error"]] == [True, False, True, False, True]
    with pytest.warns(FitFailedWarning, match="criterion is nan"):
        MixtureSearch(
            GMM, {"n_components": [1, 2]},
            criterion=lambda gmm: np.nan if gmm.n_components == 2 else 0.0,
        ).fit(X)  # fmt: skip


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_who_asks_to_stop_ends_the_search(blobs, stop):
    def criterion(gmm):
        if gmm.n_components == 2:
            raise stop
        return gmm.bic_

    before = threading.active_count()
    with pytest.raises(stop):
        MixtureSearch(GMM, {"n_components": [1, 2, 3]}, criterion=criterion).fit(blobs[0][:200])
    assert threading.active_count() == before


def test_rows_that_cannot_be_used_end_the_search(blobs):
    X = blobs[0].copy()
    X[2000, 1] = np.nan
    before = threading.active_count()
    with pytest.raises(ValueError, match="NaN: shard 1"):
        MixtureSearch(GMM, GRID).fit(np.array_split(X, 2))
    assert threading.active_count() == before


def test_estimators_it_cannot_fit(blobs):
    for estimator in (GaussianMixture(), make_pipeline(GaussianMixture()), DistributedGMM):
        with pytest.raises((TypeError, ValueError), match=r"MixtureSearch|estimator"):
            MixtureSearch(estimator, {"n_components": [1]}).fit(blobs[0])
    with pytest.raises(TypeError, match="last step of the Pipeline is a Pipeline"):
        MixtureSearch(make_pipeline(make_pipeline(GMM)), {"n_components": [1]}).fit(blobs[0])

    class NoCriterion(DistributedGMM):
        icl = property()

    with pytest.raises(TypeError, match="NoCriterion has no method icl"):
        MixtureSearch(NoCriterion(), {"n_components": [1]}, criterion="icl").fit(blobs[0])
    for options in ({"criterion": "BIC"}, {"strategy": "quick"}, {"refit": "bic"}):
        with pytest.raises(ValueError, match=next(iter(options))):
            MixtureSearch(GMM, {"n_components": [1]}, **options).fit(blobs[0])


def test_unfinished_models_are_named(blobs):
    gmm = DistributedGMM(max_iter=3, random_state=0)
    with pytest.warns(ConvergenceWarning, match="order of the models may be wrong"):
        MixtureSearch(gmm, {"n_components": [2, 3]}).fit(blobs[0])
