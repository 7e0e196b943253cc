"""The slope heuristic: by hand, against a slow version and R's capushe, and on mixtures."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture

from skdistmix import DistributedGMM
from skdistmix.model_selection import SlopeHeuristic, aggregated_criterion
from skdistmix.model_selection._robust_line import slope_of


def random_table(seed, n_models=30):
    """Contrasts that fall to a knee, then along a line, with noise and two failed fits."""
    rng = np.random.default_rng(seed)
    complexity = np.cumsum(rng.integers(1, 4, size=n_models)).astype(float)
    knee = complexity[rng.integers(4, 9)]
    contrast = 15 * np.maximum(knee - complexity, 0) - complexity + rng.normal(0, 0.5, n_models)
    contrast[rng.choice(np.arange(12, n_models), 2, replace=False)] += rng.uniform(5, 20, 2)
    order = rng.permutation(n_models)
    return complexity[order], contrast[order]


# ------------------------------------------------------------------ a slow version


def textbook_line(x, y, psi):
    """M-estimate of a slope as ``rlm`` of R's MASS documents it.

    Least squares first; then, 20 times at most, weighted least squares with weights psi(u) / u of
    residuals over their median absolute value / 0.6745, until these change by less than 1e-4.
    """

    def fit(w):
        design = np.column_stack([np.ones_like(x), x])
        root = np.sqrt(w)
        coefficients = np.linalg.lstsq(design * root[:, None], y * root, rcond=None)[0]
        return coefficients[1], y - design @ coefficients

    slope, residuals = fit(np.ones_like(x))
    for _ in range(20 if psi is not None else 0):
        scale = np.median(np.abs(residuals)) / 0.6745
        if scale < 1e-12:
            break
        u = residuals / scale
        new_slope, new = fit(np.where(u == 0, 1.0, psi(u) / np.where(u == 0, 1.0, u)))
        change = np.sqrt(((new - residuals) ** 2).sum() / max(1e-20, (residuals**2).sum()))
        slope, residuals = new_slope, new
        if change <= 1e-4:
            break
    return slope


PSI = {
    "huber": lambda u: np.clip(u, -1.345, 1.345),
    "bisquare": lambda u: np.where(np.abs(u) < 4.685, u * (1 - (u / 4.685) ** 2) ** 2, 0.0),
    "least-squares": None,
}


def textbook_slope(complexity, contrast, regression, factor=2.0, share=0.15):
    """Baudry, Maugis and Michel (2012), as the manual of capushe states the steps of DDSE."""
    order = np.argsort(complexity)
    pen, gamma = complexity[order], contrast[order]
    slopes, chosen = [], []
    for p in range(len(pen) - 1):
        slopes.append(textbook_line(pen[p:], -gamma[p:], PSI[regression]))
        chosen.append(int(order[np.argmin(gamma + factor * slopes[-1] * pen)]))
    plateaus = []
    for model in chosen:
        if plateaus and plateaus[-1][0] == model:
            plateaus[-1][1] += 1
        else:
            plateaus.append([model, 1])
    best = [model for model, size in plateaus if size >= share * len(slopes)][-1]
    return slopes, chosen, [size for _, size in plateaus], best


def textbook_jump(complexity, contrast, factor=2.0):
    """Penalties at which the choice may change are those at which two models tie: all are tried."""
    ties = {
        (contrast[a] - contrast[b]) / (complexity[b] - complexity[a])
        for a in range(len(contrast))
        for b in range(len(contrast))
        if complexity[b] > complexity[a]
    }
    ties = sorted(tie for tie in ties if tie > 0)
    between = [ties[0] / 2, *np.convolve(ties, [0.5, 0.5], "valid"), ties[-1] * 2]

    def best(penalty):
        return int(np.argmin(contrast + penalty * complexity))

    path = [best(penalty) for penalty in between]
    falls = np.array([complexity[a] - complexity[b] for a, b in pairwise(path)])
    penalty = ties[np.flatnonzero(falls == falls.max())[-1]]
    where = np.flatnonzero(falls > 0)
    return np.array(ties)[where], falls[where], penalty, best(factor * penalty)


@pytest.mark.filterwarnings("ignore:The slope is -")  # least squares at the mercy of failed fits
@pytest.mark.parametrize("regression", list(PSI))
@pytest.mark.parametrize("seed", range(4))
def test_slope_as_the_textbook_says(seed, regression):
    complexity, contrast = random_table(seed)
    slopes, chosen, sizes, best = textbook_slope(complexity, contrast, regression)
    heuristic = SlopeHeuristic(regression=regression).fit(complexity, contrast)
    assert_allclose(heuristic.slopes_, slopes, rtol=1e-9)
    assert_array_equal(heuristic.slope_choices_, chosen)
    assert_array_equal(heuristic.plateau_sizes_, sizes)
    assert heuristic.best_index_ == heuristic.slope_index_ == best
    start = int(sum(sizes[: heuristic.plateau_]))
    own = slopes[start : start + sizes[heuristic.plateau_]]
    assert_allclose(heuristic.slope_interval_, (min(own), max(own)), rtol=1e-9)
    assert_allclose(heuristic.slope_, own[len(own) // 2], rtol=1e-9)


@pytest.mark.parametrize("factor", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("seed", range(4))
def test_jump_as_the_textbook_says(seed, factor):
    complexity, contrast = random_table(seed)
    penalties, falls, penalty, best = textbook_jump(complexity, contrast, factor)
    heuristic = SlopeHeuristic("jump", factor=factor).fit(complexity, contrast)
    assert_allclose(heuristic.jump_penalties_, penalties, rtol=1e-12)
    assert_allclose(heuristic.jump_sizes_, falls)
    assert_allclose(heuristic.jump_, penalty, rtol=1e-12)
    if factor > 1:  # at the penalty of the jump itself, two models tie
        assert heuristic.best_index_ == heuristic.jump_index_ == best


def test_a_table_by_hand():
    """Contrasts 10, 4, 1, 0.5, 0 of complexities 1 to 5.

    Without a penalty the fifth model is best. At 0.5 it ties with the fourth and the third
    (0 + 0.5 x 5 = 1 + 0.5 x 3), a jump by 2; at 3 the third ties with the second, at 6 the second
    with the first. At the penalty 2 x 0.5 the third has 1 + 3 = 4, less than 11, 6, 4.5 and 5.
    Least-squares slopes of minus the contrasts are 2.35 (deviations -2 -1 0 1 2 times -10 -4 -1
    -0.5 0, over 10), then 1.25 (-1.5 -0.5 0.5 1.5 times -4 -1 -0.5 0, over 5), 0.5 and 0.5. Twice
    these choose models 2 (at 4.7: 4 + 9.4 is less than 10 + 4.7 and 1 + 14.1), 3 (at 2.5: 8.5
    against 9 and 12.5), 3 and 3.
    """
    table = ([1, 2, 3, 4, 5], [10, 4, 1, 0.5, 0])
    heuristic = SlopeHeuristic(regression="least-squares").fit(*table)
    assert_allclose(heuristic.jump_penalties_, [0.5, 3, 6])
    assert_allclose(heuristic.jump_sizes_, [2, 1, 1])
    assert_array_equal(heuristic.jump_choices_, [4, 2, 1, 0])
    assert (heuristic.jump_, heuristic.jump_index_) == (0.5, 2)
    assert_allclose(heuristic.slopes_, [2.35, 1.25, 0.5, 0.5])
    assert_array_equal(heuristic.slope_choices_, [1, 2, 2, 2])
    assert_array_equal(heuristic.plateau_sizes_, [1, 3])
    assert (heuristic.plateau_, heuristic.best_index_) == (1, 2)
    assert_allclose((heuristic.slope_, *heuristic.slope_interval_), (0.5, 0.5, 1.25))


@pytest.mark.parametrize("regression", list(PSI))
def test_the_table_of_capushe(regression):
    R = json.loads((Path(__file__).parent / "r_values" / "slope.json").read_text())
    heuristic = SlopeHeuristic(regression=regression).fit(R["complexity"], R["contrast"])
    line, jump = R[regression], R["jump"]
    assert_allclose(heuristic.slopes_, line["slopes"], rtol=1e-7)
    assert_array_equal(heuristic.slope_choices_, line["choices"])
    assert_array_equal(heuristic.plateau_sizes_, line["plateau_sizes"])
    assert_allclose(heuristic.slope_interval_, line["interval"], rtol=1e-7)
    assert heuristic.slope_index_ == line["best"]
    assert_allclose(heuristic.jump_penalties_, jump["penalties"], rtol=1e-7)
    assert_array_equal(heuristic.jump_choices_, jump["choices"])
    assert_array_equal(heuristic.jump_sizes_, jump["sizes"])
    assert heuristic.jump_index_ == jump["best"]
    assert_allclose(2 * heuristic.jump_, jump["penalty"], rtol=1e-7)


def test_failed_fits_do_not_turn_a_robust_line():
    x = np.arange(20.0)
    y = 3 * x + np.random.default_rng(0).normal(0, 0.1, 20)
    y[[4, 6]] -= 100
    assert abs(slope_of(x, y, "bisquare") - 3) < 0.02
    assert abs(slope_of(x, y, "huber") - 3) < 0.1
    assert abs(slope_of(x, y, "least-squares") - 3) > 0.2
    assert_allclose(slope_of(x, 3 * x + 1e6, "bisquare"), 3, rtol=1e-9)  # on the line exactly


def test_one_model_for_each_penalty_shape():
    complexity, contrast = random_table(0)
    heuristic = SlopeHeuristic().fit(complexity, contrast)
    doubled = SlopeHeuristic().fit(
        np.concatenate([complexity, complexity]), np.concatenate([contrast + 1, contrast])
    )
    assert doubled.best_index_ == heuristic.best_index_ + 30
    assert_allclose(doubled.slopes_, heuristic.slopes_)
    assert len(doubled.table_["index"]) == 30


def test_units_of_penalty_and_contrast():
    complexity, contrast = random_table(1)
    plain = SlopeHeuristic().fit(complexity, contrast)
    scaled = SlopeHeuristic().fit(complexity, 10 * contrast + 1e4, complexity / 1000)
    assert scaled.best_index_ == plain.best_index_
    assert scaled.jump_index_ == plain.jump_index_
    assert_allclose(scaled.slope_, 1e4 * plain.slope_, rtol=1e-6)
    assert_allclose(scaled.jump_, 1e4 * plain.jump_, rtol=1e-6)
    curved = SlopeHeuristic().fit(complexity, contrast, complexity**2)
    assert abs(curved.slope_ / plain.slope_ - 1) > 0.1


def test_options_do_something():
    complexity, contrast = random_table(2)
    light = SlopeHeuristic("jump", factor=0.1).fit(complexity, contrast)
    heavy = SlopeHeuristic("jump", factor=50.0).fit(complexity, contrast)
    assert complexity[light.best_index_] > complexity[heavy.best_index_]
    # contrasts with two lines: of the two plateaus only the first is long enough
    complexity = np.arange(1.0, 31)
    contrast = (
        -5 * np.minimum(complexity, 27) - 0.5 * complexity + 80 * np.maximum(10 - complexity, 0)
    )
    late = SlopeHeuristic(min_plateau=0.0).fit(complexity, contrast)
    early = SlopeHeuristic(min_plateau=0.5).fit(complexity, contrast)
    assert late.plateau_ > early.plateau_
    assert late.best_index_ == 26 and early.best_index_ == 9


def test_the_smallest_model_may_be_best_without_a_penalty():
    heuristic = SlopeHeuristic("jump").fit(np.arange(1, 6), [0.0, 1, 1.5, 1.7, 2])
    assert heuristic.jump_ is None and len(heuristic.jump_sizes_) == 0
    assert heuristic.best_index_ == heuristic.jump_index_ == 0


def test_contrasts_that_grow():
    contrast = np.concatenate([[10.0, 5, 0], 0.5 * np.arange(10)])
    with pytest.warns(UserWarning, match=r"slope is -0.5: .* do not fall"):
        SlopeHeuristic().fit(np.arange(13), contrast)
    assert SlopeHeuristic("jump").fit(np.arange(13), contrast).best_index_ == 0  # does not warn


def test_warnings_point_at_the_caller():
    X = np.random.default_rng(0).normal(size=(60, 1))
    models = [DistributedGMM(K, random_state=0).fit(X) for K in (1, 2, 3)]
    for model in models:
        model.lower_bound_ = -model.n_components
    local = [{p: (-float(p), 10, p) for p in range(1, 9)}]
    with pytest.warns(UserWarning, match="do not fall") as caught:
        SlopeHeuristic().fit(np.arange(13), np.arange(13))
        SlopeHeuristic(min_plateau=0).fit_models(models)
        aggregated_criterion(local, method="slope")
    assert [one.filename for one in caught] == [__file__] * 3


# ------------------------------------------------------------------ mixtures


@pytest.fixture(scope="module")
def mixtures():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(center, 1.0, size=(150, 1)) for center in (-8, 0, 8)])
    options = {"tol": "likelihood", "acceleration": "squarem", "max_iter": 2000}
    models = [DistributedGMM(K, random_state=0, **options).fit(X) for K in range(1, 11)]
    return models, X


@pytest.mark.parametrize("method", ["slope", "jump"])
def test_mixtures(mixtures, method):
    models, X = mixtures
    heuristic = SlopeHeuristic(method).fit_models(models)
    assert models[heuristic.best_index_].n_components == 3
    assert_array_equal(heuristic.table_["complexity"], [3 * K - 1 for K in range(1, 11)])
    again = SlopeHeuristic(method).fit_models(models, [X[:100], X[100:]])
    assert again.best_index_ == heuristic.best_index_
    assert_allclose(again.table_["contrast"], heuristic.table_["contrast"], rtol=1e-10)
    assert_allclose(again.table_["contrast"], [-len(X) * m.score(X) for m in models], rtol=1e-10)
    weight = np.full(len(X), 2.0)
    heavy = SlopeHeuristic(method).fit_models(models, X, weight)
    assert_allclose(heavy.table_["contrast"], 2 * heuristic.table_["contrast"], rtol=1e-10)


def test_mixtures_of_scikit_learn(mixtures):
    models, X = mixtures
    theirs = [model.to_sklearn() for model in models]
    expected = SlopeHeuristic().fit_models(models)
    found = SlopeHeuristic().fit_models(theirs, X)
    assert found.best_index_ == expected.best_index_
    assert_allclose(found.slope_, expected.slope_, rtol=1e-6)
    with pytest.raises(ValueError, match="Model 0 does not know its log-likelihood"):
        SlopeHeuristic().fit_models(theirs)


# ------------------------------------------------------------------ manners


def test_conventions():
    heuristic = SlopeHeuristic(method="jump", factor=3.0)
    assert clone(heuristic).get_params() == heuristic.get_params()
    complexity, contrast = random_table(0)
    before = complexity.copy(), contrast.copy()
    assert heuristic.fit(complexity, contrast) is heuristic
    assert_array_equal((complexity, contrast), before)
    assert not np.shares_memory(heuristic.table_["contrast"], contrast)
    lists = SlopeHeuristic(method="jump", factor=3.0).fit(complexity.tolist(), contrast.tolist())
    assert lists.best_index_ == heuristic.best_index_


def test_bad_tables():
    fit = SlopeHeuristic().fit
    with pytest.raises(ValueError, match="NaN"):
        fit([1, 2, 3, 4], [3, 2, np.nan, 0])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        fit([1, 2, 3, 4], [3, 2, 1])
    with pytest.raises(ValueError, match=r"contrast has the shape \(1, 4\)"):
        fit([1, 2, 3, 4], [[3, 2, 1, 0]])
    with pytest.raises(ValueError, match="complexity must be at least 0, got -1"):
        fit([-1, 2, 3, 4], [3, 2, 1, 0])
    with pytest.raises(ValueError, match=r"2 different penalty shapes.*at least 3"):
        fit([1, 2, 2, 2], [3, 2, 1, 0])
    with pytest.raises(ValueError, match="must grow with complexity"):
        fit([1, 2, 3, 4], [3, 2, 1, 0], [4, 3, 2, 1])
    for bad in ({"method": "elbow"}, {"factor": 0.0}, {"regression": "ols"}, {"min_plateau": 2}):
        with pytest.raises(ValueError, match=f"'{next(iter(bad))}' parameter"):
            SlopeHeuristic(**bad).fit([1, 2, 3], [3, 2, 1])


def test_without_a_plateau():
    table = ([1, 2, 3, 4], [10, 4, 1, 0.9])
    heuristic = SlopeHeuristic(min_plateau=1.0)
    with pytest.raises(ValueError, match=r"No plateau is long enough.*method='jump'"):
        heuristic.fit(*table)
    assert not hasattr(heuristic, "slopes_")
    jump = heuristic.set_params(method="jump").fit(*table)
    assert jump.slope_index_ is None and jump.slope_ is None and jump.plateau_ is None
    assert jump.best_index_ == jump.jump_index_


def test_bad_models(mixtures):
    models, X = mixtures
    fit = SlopeHeuristic().fit_models
    with pytest.raises(ValueError, match="no models"):
        fit([])
    with pytest.raises(TypeError, match="Model 1 must be a fitted mixture"):
        fit([models[0], X])
    with pytest.raises(NotFittedError):
        fit([*models, DistributedGMM()])
    with pytest.raises(NotFittedError):
        fit([*models, GaussianMixture()])
    with pytest.raises(ValueError, match="sample_weight was given without X"):
        fit(models, sample_weight=np.ones(len(X)))
    with pytest.raises(ValueError, match="fitted to 100 to 450 rows"):
        fit([*models, DistributedGMM().fit(X[:100])])
    with pytest.raises(ValueError, match="Model 10 has n_features_in_ 2, an earlier one 1"):
        fit([*models, DistributedGMM().fit(np.hstack([X, X**2]))], X)


# ------------------------------------------------------------------ the picture


@pytest.fixture
def display_class():
    pytest.importorskip("matplotlib").use("Agg")
    import matplotlib.pyplot as plt

    from skdistmix.inspection import SlopeHeuristicDisplay

    yield SlopeHeuristicDisplay
    plt.close("all")


def test_the_picture_shows_the_numbers(display_class):
    complexity, contrast = random_table(0)
    heuristic = SlopeHeuristic().fit(complexity, contrast)
    display = display_class.from_fit(heuristic)
    assert_allclose(
        display.points_.get_offsets(), np.column_stack([np.sort(complexity), -display.contrast])
    )
    x, y = display.line_.get_data()
    assert_allclose(np.diff(y) / np.diff(x), heuristic.slope_)
    # as many models above the line as below
    residuals = -display.contrast - y
    assert_allclose(np.median(residuals[display.line_start :]), 0, atol=1e-9)
    assert complexity[heuristic.slope_index_] == display.penalty_shape[display.slope_choice]
    places = {name: mark.get_xdata()[0] for name, mark in display.marks_.items()}
    expected = {"jump": 1.0, "by jump": 2.0}
    assert places["jump"] == heuristic.jump_
    assert places == pytest.approx(
        {name: f * heuristic.jump_ for name, f in expected.items()}
        | {"by slope": 2 * heuristic.slope_}
    )
    x, y = display.steps_.get_data()
    for penalty in (0.0, *places.values()):  # right of each mark
        best = np.argmin(contrast + (penalty + 1e-9) * complexity)
        assert y[np.searchsorted(x, penalty + 1e-9) - 1] == complexity[best]


def test_pictures_of_what_there_is(display_class):
    import matplotlib.pyplot as plt

    jump = SlopeHeuristic("jump", min_plateau=1.0).fit([1, 2, 3, 4], [10, 4, 1, 0.9])
    _, axes = plt.subplots(1, 2)
    display = display_class.from_fit(jump, axes=axes, points_kw={"s": 5})
    assert display.line_ is None and sorted(display.marks_) == ["by jump", "jump"]
    assert display.figure_ is axes[0].figure and display.axes_[1] is axes[1]
    assert display.points_.get_sizes() == [5]
    none = SlopeHeuristic("jump").fit(np.arange(1, 6), [0.0, 1, 1.5, 1.7, 2])
    display = display_class.from_fit(none, line_kw={"color": "k"})
    assert display.line_.get_color() == "k" and list(display.marks_) == ["by slope"]


def test_pictures_of_something_else(display_class):
    with pytest.raises(TypeError, match="shows a SlopeHeuristic, got a value of type list"):
        display_class.from_fit([1, 2])
    with pytest.raises(NotFittedError, match="call fit first"):
        display_class.from_fit(SlopeHeuristic())
    with pytest.raises(ValueError, match=r"penalties has the shape \(1,\).*1 more"):
        display_class(penalty_shape=[1, 2], contrast=[1, 0], penalties=[1], complexities=[2])
