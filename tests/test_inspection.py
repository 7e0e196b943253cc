"""ShardDisplay: the numbers that are drawn, how they are drawn, and what is left alone."""

import builtins
import itertools
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import norm
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdistmix import DistributedGMM, MixtureOfExpertsAggregator
from skdistmix.families import FullGaussian
from skdistmix.families._components import GaussianComponents
from skdistmix.inspection import ShardDisplay
from skdistmix.inspection._distances import middle_of, relative_distances
from skdistmix.inspection._drawing import number, percent, rows_with_room, shortened

mpl = pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def no_windows():
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")


@pytest.fixture(scope="module")
def fitted():
    """Six shards: the third is corrupt, the fifth has too few rows for a model."""
    rng = np.random.default_rng(0)
    sites = [
        rng.normal(rng.choice([-4.0, 4.0], size=(n, 1)), 1.0, size=(n, 2))
        for n in (500, 800, 600, 700, 5, 400)
    ]
    sites[2] += 50
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MixtureOfExpertsAggregator(n_components=2, robust=True, random_state=0)
        model.fit(sites)
    assert model.rejected_shards_.tolist() == [2]
    assert model.experts_[4] is None
    return model


def arrays(n, rejected=(), missing=(), seed=0):
    """Distances and weights of shards that agree, but for some."""
    rng = np.random.default_rng(seed)
    places = rng.normal(size=(n, 4)) * 0.02 * rng.uniform(0.5, 2, size=(n, 1))
    distances = np.linalg.norm(places[:, None] - places, axis=2)
    weights = rng.uniform(1, 5, size=n)
    for s in rejected:
        distances[s] = distances[:, s] = 1.0
        distances[s, s] = weights[s] = 0.0
    for s in missing:
        distances[s] = distances[:, s] = np.nan
        weights[s] = 0.0
    return {
        "distances": distances, "weights": weights / weights.sum(), "rejected": list(rejected),
    }  # fmt: skip


def row_labels(display):
    return [label.get_text() for label in display.axes_[0].get_yticklabels()]


def words_beside(display):
    return [text.get_text() for text in display.axes_[1].texts]


# --------------------------------------------------------------------------- the numbers


def mixture(weights, means, variances):
    return GaussianComponents(
        np.array(weights), np.array(means, float)[:, None], np.array(variances)[:, None, None]
    )


def test_distance_is_the_one_of_the_densities():
    a = mixture([0.3, 0.7], [0, 3], [1.0, 0.5])
    b = mixture([1.0], [1], [2.0])
    x = np.linspace(-30, 30, 200_001)
    f, g = (
        sum(w * norm.pdf(x, m, s) for w, m, s in zip(
            c.weights, c.means[:, 0], np.sqrt(c.covariances[:, 0, 0])
        ))
        for c in (a, b)
    )  # fmt: skip
    expected = np.sqrt(((f - g) ** 2).sum() / (f**2 + g**2).sum())
    distances = relative_distances(FullGaussian(2), [a, b])
    assert_allclose(distances, [[0, expected], [expected, 0]], rtol=1e-9)


def test_distance_has_no_units_and_stays_between_0_and_1():
    models = [mixture([0.5, 0.5], [0, m], [1.0, 2.0]) for m in (3, 3, 4, 1e6)]
    distances = relative_distances(FullGaussian(2), models)
    assert distances[0, 1] == 0
    assert 0.05 < distances[0, 2] < 0.5
    assert 0.5 < distances[0, 3] <= 1
    scaled = [GaussianComponents(m.weights, 1e-5 * m.means, 1e-10 * m.covariances) for m in models]
    assert_allclose(relative_distances(FullGaussian(2), scaled), distances, atol=1e-7)


def test_distance_in_many_dimensions():
    # Densities of 100 features leave the range of numbers.
    models = [
        GaussianComponents(np.ones(1), np.full((1, 100), m), 1e4 * np.eye(100)[None])
        for m in (0.0, 5.0, 1e4)
    ]
    distances = relative_distances(FullGaussian(1), models)
    # Of equal covariances the overlap is exp(-|difference|^2 / (4 variance)).
    assert_allclose(distances[0, 1] ** 2, 1 - np.exp(-100 * 25 / 4e4), rtol=1e-9)
    assert distances[0, 2] == 1


def test_no_model_has_no_distance():
    good = mixture([1.0], [0], [1.0])
    bad = mixture([1.0], [np.nan], [1.0])
    distances = relative_distances(FullGaussian(1), [good, None, good, bad])
    known = np.isfinite(distances)
    assert_array_equal(known, np.outer([1, 0, 1, 0], [1, 0, 1, 0]))
    assert_array_equal(distances[known], 0)


def test_the_middle_is_among_the_majority():
    assert middle_of(arrays(7, rejected=[0, 1, 2])["distances"]) in (3, 4, 5, 6)
    assert middle_of(arrays(5, missing=[0, 1, 2])["distances"]) in (3, 4)


def test_numbers_of_an_estimator(fitted):
    display = ShardDisplay.from_estimator(fitted)
    there = [0, 1, 2, 3, 5]
    family, _ = fitted.experts_[0]._family_and_params()
    models = [family.components(fitted.experts_[s]._family_and_params()[1]) for s in there]
    assert_array_equal(display.distances[np.ix_(there, there)], relative_distances(family, models))
    assert np.isnan(display.distances[4]).all()
    assert np.isnan(display.distances[:, 4]).all()
    assert display.distances[2, [0, 1, 3, 5]].min() > 0.99
    assert np.nanmax(display.distances[0, [1, 3, 5]]) < 0.3
    assert display.weights.tolist() == fitted.shard_weights_.tolist()
    assert display.rejected.tolist() == [2]
    assert display.names == [f"shard {s}" for s in range(6)]
    assert display.middle in (0, 1, 3, 5)


# --------------------------------------------------------------------------- the picture


def test_what_is_drawn(fitted):
    names = ["A", "B", "C", "D", "E", "F"]
    display = ShardDisplay.from_estimator(fitted, names=names)
    assert_array_equal(display.order_, range(6))
    assert_array_equal(display.im_.get_array().filled(np.nan), display.distances)
    assert_allclose([bar.get_width() for bar in display.bars_], fitted.shard_weights_)
    assert row_labels(display) == ["A", "B", "× C", "D", "E", "F"]
    matrix, bars = display.axes_
    assert [label.get_text() for label in matrix.get_xticklabels()] == ["×"]
    assert_array_equal(matrix.get_xticks(), [2])
    assert words_beside(display)[2] == "× rejected"
    assert words_beside(display)[4] == "no model"
    assert words_beside(display)[1] == percent(fitted.shard_weights_[1])
    assert display.text_[0, 1].get_text() == number(display.distances[0, 1])
    assert display.text_[0, 0] is None
    assert display.text_[0, 4] is None
    assert matrix.patch.get_hatch()  # seen where there is no model
    assert bars.get_ylim() == matrix.get_ylim()
    assert display.figure_ is matrix.figure


def test_order_by_distance():
    given = arrays(8, rejected=[1], missing=[3])
    display = ShardDisplay(**given).plot(order="distance")
    order = display.order_
    assert order[0] == display.middle
    assert order[-2:].tolist() == [1, 3]
    assert (np.diff(given["distances"][display.middle, order[:-1]]) >= 0).all()
    drawn = display.im_.get_array().filled(np.nan)
    assert_array_equal(drawn, given["distances"][np.ix_(order, order)])
    assert_allclose([bar.get_width() for bar in display.bars_], given["weights"][order])
    assert row_labels(display)[-2:] == ["× shard 1", "shard 3"]
    assert words_beside(display)[-2:] == ["× rejected", "no model"]


def test_the_middle_comes_first_among_equals():
    given = arrays(4, rejected=[0])
    given["distances"][1:, 1:] = 0
    display = ShardDisplay(**given).plot(order="distance")
    assert display.order_.tolist() == [1, 2, 3, 0]


def test_rejected_without_a_model():
    display = ShardDisplay(**{**arrays(4, missing=[2]), "rejected": [2]}).plot()
    assert words_beside(display)[2] == "× no usable model"


def texts_overlap(texts):
    boxes = [text.get_window_extent() for text in texts]
    return any(a.overlaps(b) for a, b in itertools.pairwise(sorted(boxes, key=lambda b: b.y0)))


@pytest.mark.parametrize("n", [2, 3, 12, 30, 60, 100, 250])
def test_readable_for_any_number(n):
    rejected = sorted({n // 2, n - 1})
    names = [f"hospital of the town number {s}, {'long ' * (s % 9)}{s}" for s in range(n)]
    display = ShardDisplay(**arrays(n, rejected), names=names).plot()
    display.figure_.canvas.draw()
    labels = display.axes_[0].get_yticklabels()
    assert not texts_overlap(labels)
    assert not texts_overlap(display.axes_[1].texts)
    assert sum(label.get_text().startswith("×") for label in labels) == len(rejected)
    assert len(labels) == n or n > 100
    inside = display.figure_.bbox.padded(1)
    for text in [*labels, *display.axes_[1].texts]:
        box = text.get_window_extent()
        assert inside.contains(box.x0, box.y0)
        assert inside.contains(box.x1, box.y1)
    if n > 60:  # no room for words
        (crosses,) = display.axes_[1].lines
        assert_array_equal(crosses.get_ydata(), rejected)
        assert "× rejected" in display.axes_[1].get_xlabel()
        assert display.text_ is None


def test_all_models_equal():
    display = ShardDisplay(distances=np.zeros((4, 4)), weights=np.full(4, 0.25)).plot()
    display.figure_.canvas.draw()
    assert {text.get_text() for text in display.text_.flat if text is not None} == {"0"}
    assert words_beside(display) == ["25%"] * 4
    assert row_labels(display) == [f"shard {s}" for s in range(4)]


def test_an_absurd_model_does_not_flatten_the_others():
    display = ShardDisplay(**arrays(6, rejected=[0])).plot()
    honest = display.distances[1:, 1:][np.triu_indices(5, 1)]
    scale = display.im_.norm
    assert scale(1.0) == 1
    assert scale(0.0) == 0
    assert honest.max() < 0.15
    assert scale(honest.max()) - scale(honest.min()) > 0.15


def test_numbers_stand_out_from_their_cells():
    display = ShardDisplay(**arrays(4, rejected=[0])).plot()
    assert display.text_[0, 1].get_color() == "k"  # on yellow
    assert display.text_[1, 2].get_color() == "w"


def test_long_and_odd_names():
    names = ["/data/hospitals/north/2025/part-0001.parquet", "cost in $, or $\\frac$", "a\nb"]
    display = ShardDisplay(**arrays(3), names=names).plot()
    display.figure_.canvas.draw()
    drawn = row_labels(display)
    assert drawn[0].startswith("/data")
    assert drawn[0].endswith("part-0001.parquet")
    assert "…" in drawn[0]
    assert drawn[1:] == ["cost in $, or $\\frac$", "a b"]
    assert display.names == names


def test_options():
    display = ShardDisplay(**arrays(5)).plot(
        cmap="cividis", colorbar=False, include_values=False,
        im_kw={"vmax": 0.1, "alpha": 0.5}, bar_kw={"color": "tab:green"},
    )  # fmt: skip
    assert display.text_ is None
    assert display.im_.get_cmap().name == "cividis"
    assert (display.im_.norm.vmin, display.im_.norm.vmax) == (0, 0.1)
    assert display.im_.get_alpha() == 0.5
    assert display.bars_[0].get_facecolor() == mpl.colors.to_rgba("tab:green")
    without = len(display.axes_[0].child_axes)
    display.plot(im_kw={"norm": mpl.colors.Normalize(0, 2)})
    assert len(display.axes_[0].child_axes) == without + 1
    assert display.im_.norm(1.0) == 0.5
    assert ShardDisplay(**arrays(30)).plot(include_values=True).text_.shape == (30, 30)


# --------------------------------------------------------------------------- good manners


def test_given_axes(no_windows):
    plt = no_windows
    fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    plt.sca(right)
    display = ShardDisplay(**arrays(5)).plot(ax=left)
    assert display.figure_ is fig
    assert plt.gca() is right
    assert fig.axes == [left, right]
    fig.canvas.draw()
    place = left.get_window_extent().padded(1)
    for ax in display.axes_:  # nothing protrudes into the neighbour
        box = ax.get_window_extent()
        assert place.contains(box.x0, box.y0)
        assert place.contains(box.x1, box.y1)
    assert max(text.get_window_extent().x1 for text in display.axes_[1].texts) < (
        right.get_window_extent().x0
    )


def test_axes_outside_pyplot(no_windows):
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    assert ShardDisplay(**arrays(3)).plot(ax=ax).figure_ is ax.figure
    assert no_windows.get_fignums() == []


def test_settings_of_the_user_stay(no_windows):
    with mpl.rc_context({"axes.grid": True, "font.size": 14, "axes.spines.left": False}):
        before = dict(mpl.rcParams)
        display = ShardDisplay(**arrays(4)).plot()
        display.figure_.canvas.draw()
        assert dict(mpl.rcParams) == before
        gridlines = display.axes_[0].get_xgridlines() + display.axes_[1].get_xgridlines()
        assert not any(line.get_visible() for line in gridlines)
    assert no_windows.get_fignums() == [display.figure_.number]


def test_plot_gives_the_display_and_can_be_repeated():
    given = arrays(4, rejected=[0])
    display = ShardDisplay(**given)
    assert not hasattr(display, "figure_")
    assert display.plot() is display
    first = display.figure_
    assert display.plot(order="distance").figure_ is not first
    assert_array_equal(display.distances, given["distances"])
    given["distances"][:] = 1  # of the caller
    assert display.distances[1, 1] == 0


def test_without_matplotlib(fitted, monkeypatch):
    true_import = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "matplotlib":
            raise ImportError(f"No module named {name!r}")
        return true_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    display = ShardDisplay(**arrays(3))  # the numbers need none
    with pytest.raises(ImportError, match=r'matplotlib: pip install "skdistmix\[plot\]"'):
        display.plot()
    with pytest.raises(ImportError, match=r'matplotlib: pip install "skdistmix\[plot\]"'):
        ShardDisplay.from_estimator(fitted)


# --------------------------------------------------------------------------- errors


def test_what_is_not_a_fitted_aggregator():
    X = np.random.default_rng(0).normal(size=(100, 2))
    gmm = DistributedGMM().fit(X)
    with pytest.raises(TypeError, match="got a value of type DistributedGMM"):
        ShardDisplay.from_estimator(gmm)
    with pytest.raises(TypeError, match="got the class MixtureOfExpertsAggregator"):
        ShardDisplay.from_estimator(MixtureOfExpertsAggregator)
    pipeline = make_pipeline(StandardScaler(), MixtureOfExpertsAggregator())
    with pytest.raises(TypeError, match="Of a pipeline give the last step"):
        ShardDisplay.from_estimator(pipeline)
    with pytest.raises(NotFittedError, match="MixtureOfExpertsAggregator is not fitted"):
        ShardDisplay.from_estimator(MixtureOfExpertsAggregator())


def test_a_fit_that_could_not_decide():
    rng = np.random.default_rng(0)
    two_worlds = [rng.normal(20.0 * (s % 2), 1.0, size=(300, 1)) for s in range(11)]
    model = MixtureOfExpertsAggregator(robust=True, random_state=0)
    with pytest.raises(ValueError, match="two groups"):
        model.fit(two_worlds)
    with pytest.raises(NotFittedError, match="robust=False"):
        ShardDisplay.from_estimator(model)
    display = ShardDisplay.from_estimator(model.set_params(robust=False).fit(two_worlds))
    assert display.distances[0, [2, 4, 10]].max() < 0.3
    assert display.distances[0, [1, 3, 5]].min() > 0.99


def test_one_shard_is_nothing_to_compare(no_windows):
    X = np.random.default_rng(0).normal(size=(100, 2))
    model = MixtureOfExpertsAggregator().fit(X)
    with pytest.raises(ValueError, match=r"compares shards, and there is 1: .*n_shards"):
        ShardDisplay.from_estimator(model)
    with pytest.raises(ValueError, match="compares shards"):
        ShardDisplay(distances=[[0.0]], weights=[1.0])
    assert no_windows.get_fignums() == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"distances": np.zeros((3, 2))}, r"shape \(3, 2\), expected \(n_shards, n_shards\)"),
        ({"distances": np.full((3, 3), np.nan)}, "No shard has a model"),
        ({"distances": [[0, np.nan, 0], [np.nan, 0, 0], [0, 0, 0]]}, "NaN between shards"),
        ({"distances": [[0, 1, 0], [0.5, 0, 0], [0, 0, 0]]}, "symmetric"),
        ({"distances": [[0, 2, 2], [2, 0, 2], [2, 2, 0]]}, "between 0 and 1"),
        ({"distances": -np.ones((3, 3))}, "between 0 and 1"),
        ({"weights": [1, 2]}, r"weights has shape \(2,\), expected \(3,\)"),
        ({"weights": [1, -1, 1]}, "weights must be finite, at least 0"),
        ({"weights": [0, 0, 0]}, "not all 0"),
        ({"rejected": [3]}, "indices of the 3 shards"),
        ({"rejected": [True, False]}, "indices of the 3 shards"),
        ({"rejected": [0.5]}, "indices of the 3 shards"),
        ({"names": ["A", "B"]}, "2 names were given for 3 shards"),
    ],
)
def test_arrays_that_do_not_go_together(changed, message):
    with pytest.raises(ValueError, match=message):
        ShardDisplay(**{**arrays(3), **changed})


def test_rejected_in_several_forms():
    given = arrays(3)
    for rejected in ([2, 0], np.array([0, 2]), [True, False, True], (0, -1)):
        given["rejected"] = rejected
        assert ShardDisplay(**given).rejected.tolist() == [0, 2]
    for rejected in (None, [], np.array([], dtype=int), [False] * 3):
        given["rejected"] = rejected
        assert ShardDisplay(**given).rejected.tolist() == []


def test_order_must_be_known():
    with pytest.raises(ValueError, match=r"order='size' must be one of \['shard', 'distance'\]"):
        ShardDisplay(**arrays(3)).plot(order="size")


# --------------------------------------------------------------------------- small parts


def test_words():
    assert [number(v) for v in (0, 1e-5, 0.0123, 0.1, 0.999, 1)] == [
        "0", "1e-05", "0.012", "0.10", "1.00", "1.00",
    ]  # fmt: skip
    assert [percent(v) for v in (0, 0.004, 0.26, 1)] == ["0%", "0.4%", "26%", "100%"]
    assert shortened("short") == "short"
    assert len(shortened("x" * 100)) == 28


def test_rows_with_room():
    assert rows_with_room([5, 6, *range(10)], 1) == list(range(10))
    assert rows_with_room([5, 6, *range(10)], 2) == [0, 2, 5, 7, 9]
