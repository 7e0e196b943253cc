"""UncertaintyDisplay: the numbers that are drawn are those of the model; what is left alone."""

import builtins
import itertools

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import trapezoid
from scipy.stats import chi2, norm
from sklearn.exceptions import NotFittedError

from skdistmix import BLBMixture, DistributedGMM, MixtureOfExpertsAggregator
from skdistmix.inspection import UncertaintyDisplay
from skdistmix.inspection._estimates import Normal, _coordinates, _flat, _of_coordinates
from skdistmix.inspection._interval_drawing import ends

mpl = pytest.importorskip("matplotlib")
Z = norm.ppf(0.975)
KINDS = ("intervals", "ellipses", "density")


@pytest.fixture(autouse=True)
def no_windows():
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")


def rows(n_features=2, n=1500, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, n_features)) * np.arange(1, n_features + 1)
    X[:, -1] += 0.5 * X[:, 0]
    X[rng.random(n) < 0.4, 0] += 6.0
    return X


def gmm_of(X, covariance_type="full", n_components=2):
    gmm = DistributedGMM(
        n_components, covariance_type=covariance_type, tol="likelihood", max_iter=2000,
        random_state=0,
    )  # fmt: skip
    return gmm.fit(X)


@pytest.fixture(scope="module")
def X():
    return rows()


@pytest.fixture(scope="module")
def resampled(X):
    """Of two subsets."""
    return BLBMixture(
        DistributedGMM(2), n_subsets=2, subset_size=1000, n_resamples=30, random_state=0
    ).fit(X)


@pytest.fixture(scope="module")
def fit(X):
    gmm = gmm_of(X)
    return gmm, gmm.standard_errors(X)


@pytest.fixture(scope="module")
def of_types():
    """One fit by resamples and by standard errors for each covariance type."""
    X, found = rows(3), {}
    for kind in ("full", "tied", "diag", "spherical"):
        gmm = gmm_of(X, kind)
        estimator = DistributedGMM(2, covariance_type=kind, max_iter=2000)
        blb = BLBMixture(estimator, method="bootstrap", n_resamples=20, random_state=0).fit(X)
        found[kind] = gmm, gmm.standard_errors(X), blb
    return found


def segments(display):
    """Ends of the bars in each panel, shape (n_panels, n_components, 2)."""
    bars = [bars.get_segments() for bars in display.artists_.intervals]
    return np.array([[segment[:, 0] for segment in panel] for panel in bars])


def ticks(display):
    return np.array([line.get_xdata() for line in display.artists_.estimates])


def titles(display):
    return [ax.get_title() for ax in display.axes_]


# --------------------------------------------------------------------------- intervals


def test_intervals_are_those_of_the_model(resampled):
    display = UncertaintyDisplay.from_estimator(
        resampled, blocks=("weights", "means", "variances"), feature_names=["a", "b"]
    )
    assert titles(display) == [
        "weight", "mean of\na", "mean of\nb", "variance of\na", "variance of\nb",
    ]  # fmt: skip
    drawn, at = segments(display), ticks(display)
    for side, name in enumerate(("lower", "upper")):
        own = resampled.confidence_intervals_[name]
        assert_allclose(drawn[0, :, side], own.weights)
        assert_allclose(drawn[1:3, :, side].T, own.means)
        assert_allclose(drawn[3:, :, side], np.diagonal(own.covariances, axis1=1, axis2=2).T)
    assert_allclose(at[0], resampled.weights_)
    assert_allclose(at[1:3].T, resampled.means_)
    assert_allclose(at[3], resampled.covariances_[:, 0, 0])
    assert display.confidence_level == 0.95


def test_another_level(resampled):
    display = UncertaintyDisplay.from_estimator(resampled, confidence_level=0.5)
    wide = UncertaintyDisplay.from_estimator(resampled)
    assert (np.ptp(segments(display), axis=2) < np.ptp(segments(wide), axis=2)).all()
    own = resampled._uncertainty.intervals(0.5)
    assert_allclose(display.lower.means, own.lower.means)


def test_intervals_of_standard_errors(fit):
    gmm, errors = fit
    display = UncertaintyDisplay.from_standard_errors(
        gmm, errors, blocks=("variances", "means", "weights"), features=1
    )
    assert titles(display) == ["variance of\nfeature 1", "mean of\nfeature 1", "weight"]
    variances, means, weights = np.moveaxis(segments(display), 2, 1)
    at, error = gmm.covariances_[:, 1, 1], errors.covariances[:, 1, 1]
    assert_allclose(np.log(variances), np.log(at) + Z * np.outer([-1, 1], error / at))
    assert_allclose(means, gmm.means_[:, 1] + Z * np.outer([-1, 1], errors.means[:, 1]))
    logit = np.log(gmm.weights_ / (1 - gmm.weights_))
    error = errors.weights / (gmm.weights_ * (1 - gmm.weights_))
    assert_allclose(np.log(weights / (1 - weights)), logit + Z * np.outer([-1, 1], error))


def test_all_covariance_types(of_types, covariance_type):
    gmm, errors, blb = of_types[covariance_type]
    variances = {
        "full": lambda c: np.diagonal(c, axis1=1, axis2=2), "tied": lambda c: [np.diag(c)] * 2,
        "diag": lambda c: c, "spherical": lambda c: np.repeat(c[:, None], 3, axis=1),
    }[covariance_type]  # fmt: skip
    one = UncertaintyDisplay.from_standard_errors(gmm, errors, blocks="variances")
    two = UncertaintyDisplay.from_estimator(blb, blocks="variances")
    assert_allclose(one.estimates.variances, variances(gmm.covariances_))
    assert_allclose(two.lower.variances, variances(blb.confidence_intervals_.lower.covariances))
    width = Z * np.asarray(variances(errors.covariances)) / one.estimates.variances
    assert_allclose(np.log(one.upper.variances / one.estimates.variances), width)
    for display in (one, two):
        display.plot(kind="ellipses", features=(0, 2))
        display.plot(kind="density", features=2).figure_.canvas.draw()
        some = display._source.draws([0, 2])[0]
        assert (np.linalg.eigvalsh(some.covariances) > 0).all()
        assert_allclose(some.weights.sum(axis=1), 1)
        if covariance_type == "tied":
            assert_allclose(some.covariances[:, 0], some.covariances[:, 1])
        if covariance_type in ("diag", "spherical"):
            assert_array_equal(some.covariances[:, :, 0, 1], 0)
        if covariance_type == "spherical":
            assert_allclose(some.covariances[:, :, 0, 0], some.covariances[:, :, 1, 1])


def test_one_component_has_the_weight_one():
    X = rows(1)
    gmm = gmm_of(X, n_components=1)
    display = UncertaintyDisplay.from_standard_errors(gmm, gmm.standard_errors(X))
    assert_array_equal(segments(display)[0], [[1, 1]])
    display.figure_.canvas.draw()
    display.plot(kind="density")
    display.figure_.canvas.draw()


# --------------------------------------------------------------------------- ellipses


def on_ellipse(curve, mean, covariance):
    offset = curve - mean
    return np.einsum("ni,ij,nj->n", offset, np.linalg.inv(covariance), offset)


def test_ellipses_of_the_fit_and_of_resamples(resampled, X):
    display = UncertaintyDisplay.from_estimator(
        resampled, X, kind="ellipses", features=(1, 0), n_draws=10
    )
    flip = np.ix_([1, 0], [1, 0])
    for k, curve in enumerate(display.artists_.fit.get_segments()):
        squares = on_ellipse(curve, resampled.means_[k, ::-1], resampled.covariances_[k][flip])
        assert_allclose(squares, chi2.ppf(0.9, 2))
    every = [params for some in resampled._uncertainty.reflected for params in some]
    shown = [every[i] for i in np.linspace(0, len(every) - 1, 10).round().astype(int)]
    assert len(display.artists_.draws) == 2
    for k, curves in enumerate(display.artists_.draws):
        assert len(curves.get_segments()) == 10
        for curve, params in zip(curves.get_segments(), shown):
            squares = on_ellipse(curve, params.means[k, ::-1], params.covariances[k][flip])
            assert_allclose(squares, chi2.ppf(0.9, 2))
    points = display.artists_.rows.get_offsets()
    assert len(points) == len(X)
    assert_array_equal(points, X[:, ::-1])
    assert display.ax_.get_xlabel() == "feature 1"
    assert display.ax_.get_ylabel() == "feature 0"
    words = [text.get_text() for text in display.ax_.get_legend().texts]
    assert words[2:] == ["the same for 10 resamples", "1,500 rows"]


def test_regions_of_means(fit, resampled):
    gmm, errors = fit
    display = UncertaintyDisplay.from_standard_errors(gmm, errors, kind="ellipses")
    for k, path in enumerate(display.artists_.regions.get_paths()):
        where = [errors.names.index(f"means[{k}, {i}]") for i in (0, 1)]
        covariance = errors.covariance_matrix[np.ix_(where, where)]
        squares = on_ellipse(path.vertices[:-1], gmm.means_[k], covariance)
        assert_allclose(squares, chi2.ppf(0.95, 2))
    centres, covariances = display._source.regions([0, 1])
    others = UncertaintyDisplay.from_estimator(resampled)._source.regions([0, 1])
    sizes = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
    same = np.abs(centres[:, None] - others[0]).sum(axis=2).argmin(axis=1)
    assert (np.abs(centres - others[0][same]) < sizes).all()
    assert_allclose(np.sqrt(np.diagonal(others[1][same], axis1=1, axis2=2)), sizes, rtol=0.4)


def test_no_more_draws_than_there_are(resampled):
    display = UncertaintyDisplay.from_estimator(resampled, kind="ellipses", n_draws=10**6)
    n_good = int(resampled.n_resamples_.sum()) - resampled.alignment_failures_
    assert len(display.artists_.draws[0].get_segments()) == n_good


def test_draws_have_the_covariance_of_the_estimates(fit):
    gmm, errors = fit
    source = Normal(*gmm._family_and_params(), errors)
    (draws,) = source.draws([0, 1])
    for name, own in (("weights", errors.weights), ("means", errors.means)):
        assert_allclose(np.std(getattr(draws, name), axis=0), own, rtol=0.12)
    assert_allclose(draws.covariances.std(axis=0), errors.covariances, rtol=0.15)
    assert_array_equal(source.draws([0, 1])[0].means, draws.means)  # again the same


@pytest.mark.parametrize("features", [[0], [1, 0]])
def test_coordinates_and_their_derivatives(resampled, features):
    at = UncertaintyDisplay.from_estimator(resampled)._source.draws(features)[0].pick([0])
    point, slope = _coordinates(at)
    back = _of_coordinates(point[None], at)
    flat = [_flat(one.weights, one.means, one.covariances)[0] for one in (at, back)]
    assert_allclose(*flat)
    steps = np.array([
        _flat(one.weights, one.means, one.covariances)
        for one in (_of_coordinates(point + s * 1e-6 * np.eye(len(point)), at) for s in (1, -1))
    ])  # fmt: skip
    inverse = (steps[0] - steps[1]).T / 2e-6
    # Logarithms of weights move them all, because they sum to one.
    K = at.weights.size
    inverse[:K, :K] += np.outer(at.weights[0], at.weights[0])
    assert_allclose(slope @ inverse, np.eye(len(point)), atol=1e-7)


# --------------------------------------------------------------------------- densities


def test_band_is_the_interval_of_the_density():
    X = rows(1)
    model = BLBMixture(
        DistributedGMM(2), n_subsets=2, subset_size=800, n_resamples=25, random_state=0
    ).fit(X)
    display = UncertaintyDisplay.from_estimator(model, X, kind="density")
    x, density = display.artists_.fit.get_data()
    assert_allclose(density, np.exp(model.score_samples(x[:, None])))
    lower, upper = model.confidence_interval(lambda gmm: np.exp(gmm.score_samples(x[:, None])))
    vertices = display.artists_.band.get_paths()[0].vertices
    for side in (lower, upper):  # every corner of both sides is in the outline of the band
        gaps = np.abs(vertices[:, None] - np.stack([x, side], axis=1)).sum(axis=2)
        assert gaps.min(axis=0).max() < 1e-12
    assert_allclose(sum(line.get_ydata() for line in display.artists_.components), density)
    area = sum(bar.get_height() * bar.get_width() for bar in display.artists_.rows)
    assert area == pytest.approx(1)


def test_band_of_a_marginal_of_standard_errors(fit):
    gmm, errors = fit
    display = UncertaintyDisplay.from_standard_errors(gmm, errors, kind="density", features=1)
    x, density = display.artists_.fit.get_data()
    sizes = np.sqrt(gmm.covariances_[:, 1, 1])
    parts = gmm.weights_[:, None] * norm.pdf(x, gmm.means_[:, [1]], sizes[:, None])
    assert_allclose(density, parts.sum(axis=0))
    assert trapezoid(density, x) == pytest.approx(1, abs=1e-3)
    vertices = display.artists_.band.get_paths()[0].vertices
    assert 1.01 * density.max() < vertices[:, 1].max() < 1.5 * density.max()


# --------------------------------------------------------------------------- the picture


def overlap(texts):
    boxes = [text.get_window_extent() for text in texts]
    return any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


@pytest.mark.parametrize("n_components", [1, 12, 40])
def test_readable_for_any_number(n_components):
    rng = np.random.default_rng(0)
    centres = 20.0 * rng.normal(size=(n_components, 6))
    X = (centres[:, None] + rng.normal(size=(n_components, 60, 6))).reshape(-1, 6)
    gmm = DistributedGMM(
        n_components, covariance_type="diag", tol="likelihood", means_init=centres, max_iter=500
    ).fit(X)
    display = UncertaintyDisplay.from_standard_errors(
        gmm, gmm.standard_errors(X), blocks=("weights", "means", "variances"),
        feature_names=[f"the measured quantity {i} $" for i in range(6)], features=(0, 2, 5),
    )  # fmt: skip
    assert len(display.axes_) == 7  # in two rows
    display.figure_.canvas.draw()
    inside = display.figure_.bbox.padded(1)
    words = [ax.title for ax in display.axes_]
    for ax in display.axes_:
        words += [*ax.texts, *ax.get_yticklabels()]
        assert not overlap([*ax.texts, ax.title])
    assert not overlap([ax.title for ax in display.axes_])
    for text in words:
        box = text.get_window_extent()
        assert inside.contains(box.x0, box.y0)
        assert inside.contains(box.x1, box.y1)
    assert bool(display.axes_[0].texts) == (n_components <= 12)


def test_not_all_of_many_features():
    X = np.random.default_rng(0).normal(size=(500, 7))
    gmm = gmm_of(X, n_components=1)
    display = UncertaintyDisplay.from_standard_errors(gmm, gmm.standard_errors(X), blocks="means")
    assert titles(display) == [f"mean of\nfeature {i}" for i in range(4)]
    assert len(display.plot(blocks="means", features=range(7)).axes_) == 7


def test_values_on_demand(fit):
    display = UncertaintyDisplay.from_standard_errors(*fit, include_values=False)
    assert not display.axes_[0].texts
    display.plot(include_values=True)
    assert len(display.axes_[0].texts) == 2


def test_words():
    low, high = np.array([0.1234, -1.0]), np.array([0.1534, -0.95])
    assert ends(low, high) == ["0.123 to 0.153", "-1.000 to -0.950"]
    assert ends(np.array([1234.0]), np.array([1300.0])) == ["1234 to 1300"]
    assert ends(np.array([1.0]), np.array([1.0])) == ["1"]
    assert ends(np.array([2e-9]), np.array([3e-9])) == ["2e-09 to 3e-09"]
    assert ends(np.array([1.0e9]), np.array([1.1e9])) == ["1e+09 to 1.1e+09"]


def test_names(fit, X):
    gmm, errors = fit
    frame = pd.DataFrame(X, columns=["height", "mass"])
    named = gmm_of(frame)
    display = UncertaintyDisplay.from_standard_errors(
        named, named.standard_errors(frame), frame, kind="ellipses", features=["mass", "height"],
        component_names=np.array(["small", "large"]),
    )  # fmt: skip
    assert display.ax_.get_xlabel() == "mass"
    assert {text.get_text() for text in display.ax_.texts} == {"small", "large"}
    display.plot()
    assert titles(display)[1:] == ["mean of\nheight", "mean of\nmass"]
    labels = display.axes_[0].get_yticklabels()
    assert [label.get_text() for label in labels] == ["small", "large"]
    plain = UncertaintyDisplay.from_standard_errors(gmm, errors, kind="density", features=-1)
    assert plain.ax_.get_xlabel() == "feature 1"
    assert [text.get_text() for text in plain.ax_.texts] == ["0", "1"]


def test_rows_are_a_sample(fit):
    many = [rows(n=n, seed=n) for n in (5000, 7000)]
    display = UncertaintyDisplay.from_standard_errors(*fit, many)
    assert 1800 < len(display.rows) < 2200
    with pytest.raises(ValueError, match="3 features"):
        UncertaintyDisplay.from_standard_errors(*fit, rows(3))


def test_an_aggregate(X):
    model = MixtureOfExpertsAggregator(n_components=2, refine=20, random_state=0).fit(
        [X[:700], X[700:]]
    )
    errors = model.standard_errors([X[:700], X[700:]])
    display = UncertaintyDisplay.from_standard_errors(model, errors)
    assert_allclose(display.estimates.means, model.means_)


# --------------------------------------------------------------------------- good manners


@pytest.mark.parametrize("kind", KINDS)
def test_given_axes(fit, no_windows, kind):
    plt = no_windows
    fig, (left, right) = plt.subplots(1, 2, figsize=(12, 4))
    plt.sca(right)
    display = UncertaintyDisplay.from_standard_errors(*fit, kind=kind, ax=left)
    assert display.figure_ is fig
    assert display.ax_ is left
    assert plt.gca() is right
    assert fig.axes == [left, right]
    assert not right.has_data()
    fig.canvas.draw()
    place = left.get_window_extent().padded(1)
    for ax in display.axes_:
        box = ax.get_window_extent()
        assert place.contains(box.x0, box.y0)
        assert place.contains(box.x1, box.y1)


@pytest.mark.parametrize("kind", KINDS)
def test_axes_outside_pyplot(fit, no_windows, kind):
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    display = UncertaintyDisplay.from_standard_errors(*fit, kind=kind, ax=ax)
    assert display.figure_ is ax.figure
    assert no_windows.get_fignums() == []


@pytest.mark.parametrize("kind", KINDS)
def test_settings_of_the_user_stay(fit, X, no_windows, kind):
    with mpl.rc_context({"font.size": 14, "axes.grid": True}):
        before = dict(mpl.rcParams)
        display = UncertaintyDisplay.from_standard_errors(*fit, X, kind=kind)
        display.figure_.canvas.draw()
        assert dict(mpl.rcParams) == before
    assert no_windows.get_fignums() == [display.figure_.number]


def test_plot_gives_the_display_and_can_be_repeated(fit):
    display = UncertaintyDisplay.from_standard_errors(*fit)
    first = display.figure_
    assert display.plot(kind="density") is display
    assert display.figure_ is not first
    assert display.axes_.tolist() == [display.ax_]


def test_without_matplotlib(fit, resampled, monkeypatch):
    true_import = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "matplotlib":
            raise ImportError(f"No module named {name!r}")
        return true_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    missing = r'UncertaintyDisplay needs matplotlib: pip install "skdistmix\[plot\]"'
    with pytest.raises(ImportError, match=missing):
        UncertaintyDisplay.from_estimator(resampled)
    with pytest.raises(ImportError, match=missing):
        UncertaintyDisplay.from_standard_errors(*fit)


# --------------------------------------------------------------------------- errors


def test_what_cannot_be_shown(fit, resampled, X):
    gmm, errors = fit
    with pytest.raises(TypeError, match=r"got a value of type DistributedGMM.*from_standard_err"):
        UncertaintyDisplay.from_estimator(gmm)
    with pytest.raises(TypeError, match="got the class BLBMixture"):
        UncertaintyDisplay.from_estimator(BLBMixture)
    with pytest.raises(TypeError, match=r"BLBMixture\. Of a BLBMixture call from_estimator"):
        UncertaintyDisplay.from_standard_errors(resampled, errors)
    with pytest.raises(NotFittedError):
        UncertaintyDisplay.from_estimator(BLBMixture())
    with pytest.raises(NotFittedError):
        UncertaintyDisplay.from_standard_errors(DistributedGMM(), errors)
    for other in (None, X, resampled.standard_errors_):
        with pytest.raises(TypeError, match=r"errors must be what standard_errors\(X\)"):
            UncertaintyDisplay.from_standard_errors(gmm, other)
    for other in (gmm_of(X[:1000]), gmm_of(X, "diag"), gmm_of(X, n_components=1)):
        with pytest.raises(ValueError, match="errors are those of another fit"):
            UncertaintyDisplay.from_standard_errors(other, errors)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "forest"}, r"kind='forest' must be one of \['intervals', 'ellipses', 'density'"),
        ({"kind": None}, "kind=None must be one of"),
        ({"blocks": ("weights", "covariances")}, r"must be some of \['weights', 'means', 'varian"),
        ({"blocks": ()}, "must be some of"),
        ({"features": 2}, "Feature 2 is out of range: the mixture has 2, give an index from 0 to"),
        ({"features": (0, -3)}, "Feature -3 is out of range"),
        ({"features": "height"}, "no feature 'height'.*give one of 'feature 0', 'feature 1', or"),
        ({"features": 0.5}, "indices or names of features, got a value of type float"),
        ({"features": ()}, "takes one or more different"),
        ({"features": (0, 0)}, "takes one or more different"),
        ({"kind": "ellipses", "features": 1}, r"takes 2 different feature\(s\), got features=\[1"),
        ({"kind": "density", "features": (0, 1)}, r"takes 1 different feature\(s\)"),
        ({"n_draws": 0}, "n_draws must be a whole number of at least 1, got 0"),
        ({"confidence_level": 95}, "confidence_level must be between 0 and 1, got 95"),
        ({"component_names": ["one"]}, "1 component_names were given for 2 components"),
        ({"feature_names": "ab"}, "1 feature_names were given for 2 features"),
    ],
)
def test_what_does_not_go(fit, no_windows, given, message):
    with pytest.raises(ValueError, match=message):
        UncertaintyDisplay.from_standard_errors(*fit, **given)
    assert no_windows.get_fignums() == []


def test_one_feature_has_no_ellipses():
    X = rows(1)
    gmm = gmm_of(X)
    with pytest.raises(ValueError, match="needs 2 features, and the mixture has 1: take kind='den"):
        UncertaintyDisplay.from_standard_errors(gmm, gmm.standard_errors(X), kind="ellipses")
