"""CriterionDisplay: the numbers that are drawn, and what they are called."""

from functools import partial

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdistmix import DistributedGMM
from skdistmix.inspection import CriterionDisplay
from skdistmix.model_selection import FullData, MixtureSearch, neg_bic

mpl = pytest.importorskip("matplotlib")
GMM = DistributedGMM(tol="likelihood", max_iter=3000, random_state=0)


@pytest.fixture(autouse=True)
def no_windows():
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")


@pytest.fixture(scope="module")
def search(blobs):
    grid = {"n_components": [3, 1, 2, 4], "covariance_type": ["full", "EII"]}
    return MixtureSearch(GMM, grid).fit(blobs[0])


def test_lines_hold_the_criterion(search):
    display = CriterionDisplay.from_search(search)
    assert list(display.lines_) == ["full", "EII"]
    results = search.cv_results_
    for name, line in display.lines_.items():
        mine = [i for i, cell in enumerate(results["params"]) if cell["covariance_type"] == name]
        x, y = line.get_data()
        assert x.tolist() == [1, 2, 3, 4]
        sizes = [results["params"][i]["n_components"] for i in mine]
        np.testing.assert_array_equal(y, results["bic"][mine][np.argsort(sizes)])
    assert display.best_.get_xdata() == [3]
    assert display.best_.get_ydata() == [-search.best_score_]
    assert display.best_.get_color() == display.lines_["full"].get_color()
    assert display.ax_.get_ylabel() == "BIC"
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == ["full", "EII", "stopped early"]
    hollow = [line for line in display.ax_.lines if line.get_label() == "_"]
    assert sum(len(line.get_xdata()) for line in hollow) == results["stopped"].sum() > 0


def test_differences(search, no_windows):
    _, ax = no_windows.subplots()
    display = CriterionDisplay.from_search(search, differences=True, ax=ax, line_kw={"marker": "x"})
    assert display.ax_ is ax
    assert display.ax_.get_yscale() == "symlog"
    assert min(line.get_ydata().min() for line in display.lines_.values()) == 0.0
    assert display.lines_["full"].get_marker() == "x"
    assert display.best_.get_ydata() == [0.0]


def test_names_of_lines(blobs):
    X = blobs[0][:300]
    starts = {K: np.arange(300) % K for K in (1, 2)}
    grid = [
        {"n_components": [K], "init_params": [starts[K]], "covariance_type": ["tied"],
         "reg_covar": [0.0, 0.1]}
        for K in (1, 2)
    ]  # fmt: skip
    display = CriterionDisplay.from_search(MixtureSearch(GMM, grid, criterion="icl").fit(X))
    assert list(display.lines_) == ["0.0", "0.1"]  # what does not vary, and starts, are left out
    assert display.ax_.get_ylabel() == "ICL"
    pipe = make_pipeline(StandardScaler(), GMM)
    grid = {
        "distributedgmm__n_components": [1, 2],
        "distributedgmm__reg_covar": [0.0, 0.1],
        "distributedgmm__covariance_type": ["diag", "EII"],
    }
    display = CriterionDisplay.from_search(MixtureSearch(pipe, grid).fit(X))
    assert "covariance_type=diag, reg_covar=0.0" in display.lines
    theirs = GridSearchCV(GMM, {"n_components": [1, 2]}, scoring=neg_bic, cv=FullData()).fit(X)
    display = CriterionDisplay.from_search(theirs)
    assert list(display.lines_) == [""]
    assert display.ax_.get_legend() is None
    assert display.ax_.get_ylabel() == "criterion"
    np.testing.assert_array_equal(display.criterion, -theirs.cv_results_["mean_test_score"])


def test_models_that_failed_leave_a_gap():
    display = CriterionDisplay(
        n_components=[1, 2, 3], criterion=[3.0, np.nan, 1.0], lines=["a"] * 3, criterion_name="$x"
    ).plot()
    assert display.lines_["a"].get_xdata().tolist() == [1, 3]
    assert display.best_index == 2
    display.figure_.canvas.draw()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"n_components": [1.5], "criterion": [1.0]}, "whole numbers"),
        ({"n_components": [], "criterion": []}, "expected one number a model"),
        ({"n_components": [1, 2], "criterion": [1.0]}, r"criterion has shape \(1,\)"),
        ({"n_components": [1], "criterion": [np.nan]}, "no finite value"),
        ({"n_components": [1], "criterion": [1.0], "lines": "ab"}, "lines has shape"),
        ({"n_components": [1], "criterion": [1.0], "stopped": [1, 0]}, "stopped has shape"),
    ],
)
def test_bad_numbers(arguments, message):
    with pytest.raises(ValueError, match=message):
        CriterionDisplay(**arguments)


def test_criteria_without_a_name(blobs):
    search = MixtureSearch(GMM, {"n_components": [1, 2]}).fit(blobs[0][:200])
    search.criterion = partial(max)  # has none, like an object that can be called
    assert CriterionDisplay.from_search(search).ax_.get_ylabel() == "criterion"


def test_bad_searches(blobs):
    with pytest.raises(TypeError, match="without cv_results_"):
        CriterionDisplay.from_search(GMM)
    search = MixtureSearch(GMM, {"covariance_type": ["full", "diag"]}).fit(blobs[0])
    with pytest.raises(ValueError, match="n_components is not in all params"):
        CriterionDisplay.from_search(search)
    with pytest.raises(ValueError, match="no 'mean_test_score'"):
        CriterionDisplay.from_results({"params": []})
