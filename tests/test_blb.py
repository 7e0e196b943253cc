"""BLBMixture: errors and intervals against known answers and simulations, and its input."""

import pickle
import warnings

import joblib
import numpy as np
import pytest
from conftest import CutIn, make_blobs
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from skdistmix import BLBMixture, DistributedGMM
from skdistmix.families import GAUSSIAN_FAMILIES, Family, FullGaussian

NAMES = ("weights", "means", "covariances")
METHODS = ("blb", "bootstrap", "weighted", "parametric")


def two_groups(n_rows, seed=0, distance=3.0):
    rng = np.random.default_rng(seed)
    labels = rng.random(n_rows) < 0.6
    return rng.normal(size=(n_rows, 1)) + distance * labels[:, None]


def start(distance=3.0):
    """From the truth, so that components have their places."""
    return DistributedGMM(
        2, means_init=[[0.0], [distance]], weights_init=[0.4, 0.6],
        precisions_init=np.ones((2, 1, 1)), max_iter=2000,
    )  # fmt: skip


def flat(bunch):
    return np.concatenate([np.ravel(bunch[name]) for name in NAMES])


def assert_same(a, b, rtol=1e-6):
    np.testing.assert_array_equal(a.n_resamples_, b.n_resamples_)
    for name in ("standard_errors_", "bias_"):
        np.testing.assert_allclose(
            flat(getattr(a, name)), flat(getattr(b, name)), rtol=rtol, atol=rtol * 1e-3
        )
    for end in ("lower", "upper"):
        ends = (flat(model.confidence_intervals_[end]) for model in (a, b))
        np.testing.assert_allclose(*ends, rtol=rtol)


# ------------------------------------------------------------------ known answers


@pytest.mark.parametrize("method", METHODS)
def test_one_component_has_known_errors(method):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 2)) @ [[1.0, 0.5], [0.0, 2.0]]
    model = BLBMixture(method=method, random_state=0, n_resamples=600).fit(X)
    S, n = model.covariances_[0], len(X)
    errors = model.standard_errors_
    np.testing.assert_allclose(errors.weights, 0, atol=1e-12)
    np.testing.assert_allclose(errors.means[0], np.sqrt(np.diag(S) / n), rtol=0.1)
    variances = (np.outer(np.diag(S), np.diag(S)) + S**2) / n
    np.testing.assert_allclose(errors.covariances[0], np.sqrt(variances), rtol=0.12)
    lower, upper = (model.confidence_intervals_[end] for end in ("lower", "upper"))
    width = 2 * 1.96 * np.sqrt(np.diag(S) / n)
    np.testing.assert_allclose((upper.means - lower.means)[0], width, rtol=0.25)
    assert (lower.covariances < model.covariances_).all()
    assert (upper.covariances > model.covariances_).all()
    assert np.abs(flat(model.bias_)).max() < 0.5 * flat(errors).max()
    assert model.alignment_failures_ == 0


@pytest.mark.parametrize("n_features", [31, 60])
def test_many_features(n_features):
    """No features kernel; with 60 columns no Jacobian either."""
    X = np.random.default_rng(0).normal(size=(400, n_features))
    model = BLBMixture(method="bootstrap", random_state=0, n_resamples=40).fit(X)
    ratio = model.standard_errors_.means[0] / np.sqrt(np.diag(model.covariances_[0]) / len(X))
    assert np.median(ratio) == pytest.approx(1, abs=0.1)
    ratio = model.standard_errors_.covariances[0] / np.sqrt((1 + np.eye(n_features)) / len(X))
    assert np.median(ratio) == pytest.approx(1, abs=0.1)


@pytest.fixture(scope="module")
def sampling_errors():
    """Standard deviations of the estimates over data sets, and one of these."""
    estimates = []
    for seed in range(200):
        model = BLBMixture(start(), method="bootstrap", n_resamples=2, n_jobs=1, random_state=0)
        model.fit(two_groups(4000, seed))
        estimates.append(flat({name: getattr(model, name + "_") for name in NAMES}))
    return np.std(estimates, axis=0)


@pytest.mark.parametrize("method", METHODS)
def test_errors_are_those_of_repeated_sampling(sampling_errors, method):
    each = []
    for seed in range(4):
        options = {"method": method, "random_state": 0, "n_jobs": 1, "n_resamples": 80}
        options["n_subsets"] = 3
        each.append(
            flat(BLBMixture(start(), **options).fit(two_groups(4000, seed)).standard_errors_)
        )
    ratio = np.mean(each, axis=0) / sampling_errors
    assert np.median(ratio) == pytest.approx(1, abs=0.15)
    assert 0.75 < ratio.min() and ratio.max() < 1.3


def test_intervals_cover():
    truth = flat({"weights": [0.4, 0.6], "means": [0, 3], "covariances": [1, 1]})
    hits = []
    for seed in range(30):
        model = BLBMixture(start(), n_subsets=2, n_resamples=60, n_jobs=1, random_state=seed)
        ends = model.fit(two_groups(3000, 1000 + seed)).confidence_intervals_
        hits.append((flat(ends.lower) <= truth) & (truth <= flat(ends.upper)))
    assert 0.89 < np.mean(hits) < 0.99


# ------------------------------------------------------------------ what it says


def test_the_point_is_the_exact_optimum():
    X = two_groups(3000, distance=2.5)
    model = BLBMixture(start(2.5), method="bootstrap", n_resamples=5, random_state=0).fit(X)
    exact = start(2.5).set_params(tol=1e-15, max_iter=100_000).fit(X)
    for name in NAMES:
        off = getattr(model, name + "_") - getattr(exact, name + "_")
        assert (np.abs(off) < 0.01 * model.standard_errors_[name] + 1e-9).all()
    gmm = model.estimator_
    assert gmm.score(X) == pytest.approx(gmm.lower_bound_, rel=1e-12)
    assert model.lower_bound_ == gmm.lower_bound_ == gmm.lower_bounds_[-1]
    assert len(gmm.lower_bounds_) == gmm.n_iter_ == len(gmm.objectives_) - 1
    assert model.bic_ == pytest.approx(model.bic(X))
    for method in ("predict", "predict_proba", "score_samples"):
        np.testing.assert_array_equal(getattr(model, method)(X), getattr(gmm, method)(X))
    assert model.score(X) == gmm.score(X)
    assert model.sample(3)[0].shape == (3, 1)


def test_the_point_is_exact_where_a_subset_says_little():
    """There the Jacobian of EM is nearly singular, and standard errors read from it are huge."""
    X = two_groups(20_000, distance=1.5)
    gmm = DistributedGMM(2, max_iter=5000, acceleration="squarem", n_init=3)
    model = BLBMixture(gmm, subset_size=1025, n_subsets=1, n_resamples=2, random_state=0)
    with pytest.warns(UserWarning, match="do not tell them apart"):
        model.fit(X)
    assert model.estimator_.standard_errors(X).distance < 0.02


def test_intervals_are_valid_where_they_meet_a_boundary():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(900, 2)), rng.normal(9, 1, size=(12, 2))])
    gmm = DistributedGMM(2, init_params=np.repeat([0, 1], [900, 12]), max_iter=2000)
    model = BLBMixture(gmm, method="bootstrap", random_state=0).fit(X)
    lower, upper = model.confidence_intervals_.lower, model.confidence_intervals_.upper
    for end in (lower, upper):
        assert (end.weights > 0).all() and (end.weights < 1).all()
        assert (np.diagonal(end.covariances, axis1=1, axis2=2) > 0).all()
    assert lower.weights[1] < 12 / 912 < upper.weights[1]


@pytest.mark.parametrize("covariance_type", ["tied", "diag", "spherical"])
def test_errors_have_the_shapes_of_parameters(blobs, covariance_type):
    X, labels = blobs
    gmm = DistributedGMM(
        3, covariance_type=covariance_type, init_params=labels, prior="auto", max_iter=500
    )
    model = BLBMixture(gmm, method="bootstrap", n_resamples=20, random_state=0).fit(X)
    bunches = [model.standard_errors_, model.bias_, *model.confidence_intervals_.values()]
    for bunch in bunches:
        for name in NAMES:
            assert bunch[name].shape == getattr(model, name + "_").shape
    assert (flat(model.standard_errors_) > 0).all()


def test_intervals_of_anything():
    X = two_groups(6000)
    model = BLBMixture(start(), random_state=0, n_subsets=3, n_resamples=60).fit(X)
    low, high = model.confidence_interval(lambda gmm: gmm.means_[1, 0])
    ends = model.confidence_intervals_
    assert low == pytest.approx(ends.lower.means[1, 0])
    assert high == pytest.approx(ends.upper.means[1, 0])
    narrow = model.confidence_interval(lambda gmm: gmm.means_[1, 0], confidence_level=0.5)
    assert low < narrow[0] < narrow[1] < high
    points = np.linspace(-2, 5, 8)[:, None]
    low, high = model.confidence_interval(lambda gmm: np.exp(gmm.score_samples(points)))
    x = points[:, 0]
    density = (0.4 * np.exp(-(x**2) / 2) + 0.6 * np.exp(-((x - 3) ** 2) / 2)) / np.sqrt(2 * np.pi)
    assert low.shape == high.shape == (8,)
    assert np.mean((low < density) & (density < high)) > 0.5
    for level in (95, "95 %", np.nan):
        with pytest.raises(ValueError, match="between 0 and 1"):
            model.confidence_interval(lambda gmm: 0.0, confidence_level=level)


def test_statistics_return_numbers_of_one_shape():
    X = two_groups(2000)
    model = BLBMixture(start(), method="bootstrap", random_state=0, n_resamples=40).fit(X)
    ends = model.confidence_interval(lambda gmm: gmm.means_[0, 0] < gmm.means_[1, 0])
    assert ends == (1.0, 1.0)
    assert model.confidence_interval(lambda gmm: (0, 1))[0].tolist() == [0.0, 1.0]
    for value in (None, "a", {"a": 1}, [1, [2]], 1j):
        with pytest.raises(TypeError, match="must return a number or an array of numbers, got"):
            model.confidence_interval(lambda gmm, value=value: value)
    with pytest.raises(ValueError, match=r"of one shape .* got the shapes \(1,\), \(2,\)"):
        model.confidence_interval(lambda gmm: np.ones(1 + (gmm.means_[0, 0] > model.means_[0, 0])))


def test_intervals_of_probabilities():
    X = two_groups(6000)
    model = BLBMixture(start(), random_state=0, n_subsets=3, n_resamples=60).fit(X)
    rows = np.linspace(-2, 5, 20)[:, None]
    low, high = model.predict_proba_interval(rows)
    proba = model.predict_proba(rows)
    assert low.shape == high.shape == proba.shape
    assert (0 <= low).all() and (low < proba).all() and (proba < high).all() and (high <= 1).all()
    np.testing.assert_allclose(low[:, 0], 1 - high[:, 1], atol=1e-9)
    by_statistic = model.confidence_interval(lambda gmm: gmm.predict_proba(rows))
    np.testing.assert_allclose(low, by_statistic[0], atol=1e-12)
    np.testing.assert_allclose(high, by_statistic[1], atol=1e-12)
    listed = model.predict_proba_interval([rows[:5], rows[5:]])
    np.testing.assert_array_equal(np.concatenate(listed[0]), low)
    narrow = model.predict_proba_interval(rows, 0.5)
    assert (narrow[0] >= low).all() and (narrow[1] <= high).all()
    with pytest.raises(ValueError, match="2 features"):
        model.predict_proba_interval(np.ones((3, 2)))


# ------------------------------------------------------------------ the same everywhere


@pytest.mark.parametrize("method", METHODS)
def test_any_split_gives_the_same_errors(method):
    X, _ = make_blobs(4000, 2)
    options = {"method": method, "n_subsets": 2, "n_resamples": 25, "random_state": 1}
    options["subset_size"] = 800
    gmm = DistributedGMM(3, max_iter=1000)
    whole = BLBMixture(gmm, **options).fit(X)
    for way in CutIn.ways[1:]:
        assert_same(BLBMixture(gmm, **options).fit(CutIn.cut(X, way)), whole)


@pytest.mark.parametrize("method", METHODS)
def test_same_bits_for_every_number_of_workers_and_backend(method):
    X, _ = make_blobs(4000, 2)
    options = {"method": method, "n_subsets": 3, "n_resamples": 45, "random_state": 1}
    gmm = DistributedGMM(3, max_iter=1000)

    def bits(**kwargs):
        model = BLBMixture(gmm, **options, **kwargs).fit(X)
        ends = model.confidence_intervals_
        return b"".join(flat(b).tobytes() for b in (model.standard_errors_, ends.lower, ends.upper))

    one = bits(n_jobs=1)
    assert bits(n_jobs=2) == bits(n_jobs=3) == one
    with joblib.parallel_config("loky", n_jobs=2):
        assert bits() == one


def test_integer_weights_are_repeated_rows():
    X = two_groups(1500)
    w = np.random.default_rng(0).integers(0, 4, len(X))
    options = {"method": "bootstrap", "n_resamples": 250, "random_state": 0}
    weighted = BLBMixture(start(), **options).fit(X, sample_weight=w)
    repeated = BLBMixture(start(), **options).fit(np.repeat(X, w, axis=0))
    np.testing.assert_allclose(weighted.means_, repeated.means_, rtol=1e-6)
    ratio = flat(weighted.standard_errors_) / flat(repeated.standard_errors_)
    assert np.abs(ratio - 1).max() < 0.2
    absent = BLBMixture(start(), **options).fit(X[w > 0], sample_weight=w[w > 0])
    assert_same(absent, weighted)


def test_errors_follow_the_sum_of_weights():
    X = two_groups(5000)
    options = {"method": "bootstrap", "n_resamples": 200, "random_state": 0}
    one = BLBMixture(start(), **options).fit(X)
    four = BLBMixture(start(), **options).fit(X, sample_weight=np.full(len(X), 4.0))
    ratio = flat(one.standard_errors_) / flat(four.standard_errors_)
    assert np.median(ratio) == pytest.approx(2, rel=0.1)
    assert four.n_samples_seen_ == 20_000


def test_a_penalty_acts_with_the_weight_of_all_rows():
    X = two_groups(20_000)
    gmm = start().set_params(covariance_penalty=1000.0)
    model = BLBMixture(gmm, n_subsets=2, n_resamples=20, random_state=0).fit(X)
    subset = model._uncertainty._params(model._uncertainty.found[0].at)
    np.testing.assert_allclose(subset.covariances, model.covariances_, rtol=0.3)


# ------------------------------------------------------------------ how many


def test_numbers_are_adapted():
    X = two_groups(20_000, distance=5.0)
    model = BLBMixture(start(5.0), random_state=0).fit(X)
    assert 6 <= model.n_subsets_ <= 10
    assert model.n_resamples_.shape == (model.n_subsets_,)
    assert len(set(model.n_resamples_)) == 1  # they settle as an average
    assert (model.n_resamples_ >= 40).all() and (model.n_resamples_ <= 200).all()
    assert model.subset_size_ == int(np.ceil(20_000**0.7))
    assert model.method_ == "blb"


def test_there_are_enough_resamples_for_the_level():
    X = np.random.default_rng(0).normal(size=(3000, 1))
    model = BLBMixture(n_subsets=2, confidence_level=0.99, random_state=0).fit(X)
    assert (model.n_resamples_ >= 199).all()
    model = BLBMixture(n_subsets=2, n_resamples=60, random_state=0).fit(X)
    model.confidence_interval(lambda gmm: gmm.means_, confidence_level=0.95)
    with pytest.warns(UserWarning, match="of 0.99 needs 199 .* there are 60") as caught:
        model.confidence_interval(lambda gmm: gmm.means_, confidence_level=0.99)
    with pytest.warns(UserWarning, match="needs 199 resamples"):
        model.predict_proba_interval(X[:2], 0.99)
    assert caught[0].filename == __file__


def test_few_rows_get_the_ordinary_bootstrap_with_a_warning():
    X = two_groups(150)
    with pytest.warns(UserWarning, match="ordinary bootstrap") as caught:
        model = BLBMixture(start(), random_state=0, n_resamples=20).fit(X)
    assert caught[0].filename == __file__
    assert model.method_ == "bootstrap" and model.n_subsets_ == 1
    same = BLBMixture(start(), random_state=0, n_resamples=20, method="bootstrap").fit(X)
    assert_same(model, same)
    with pytest.warns(UserWarning, match="subset_size is 200 and there are 150: the ordinary"):
        BLBMixture(start(), subset_size=200, n_resamples=20, random_state=0).fit(X)


def test_shards_may_be_the_subsets():
    X = two_groups(12_000)
    parts = np.array_split(X, 6)
    options = {"subsets": "shards", "n_resamples": 60, "random_state": 0}
    model = BLBMixture(start(), **options).fit(parts)
    rows = BLBMixture(start(), random_state=0, n_resamples=60).fit(X)
    ratio = flat(model.standard_errors_) / flat(rows.standard_errors_)
    assert np.median(ratio) == pytest.approx(1, abs=0.2)
    assert model.subset_size_ == 2000
    assert BLBMixture(start(), n_subsets=2, **options).fit(parts).n_subsets_ == 2
    with pytest.warns(UserWarning, match="random pieces of the rows: shard 0") as caught:
        BLBMixture(start(), n_subsets=2, **options).fit(np.array_split(np.sort(X, axis=0), 2))
    assert caught[0].filename == __file__
    # Those that are too small to be subsets need not look like the rest.
    BLBMixture(start(), **options).fit([*parts, np.full((3, 1), 8.0)])
    with pytest.raises(ValueError, match="No shard has"):
        BLBMixture(start(), **options).fit(np.array_split(X, 200))


# ------------------------------------------------------------------ state


def test_fitted_state_survives_pickling():
    X = two_groups(2000)
    model = BLBMixture(start(), method="bootstrap", n_resamples=20, random_state=0).fit(X)
    back = pickle.loads(pickle.dumps(model))
    for a, b in zip(model.predict_proba_interval(X), back.predict_proba_interval(X), strict=True):
        np.testing.assert_array_equal(a, b)
    assert clone(model).get_params().keys() == model.get_params().keys()
    nested = BLBMixture(DistributedGMM()).set_params(estimator__n_components=2)
    assert nested.estimator.n_components == 2
    given = start()
    BLBMixture(given, method="bootstrap", n_resamples=2, random_state=0).fit(X)
    assert given.tol == 1e-3 and not hasattr(given, "weights_")


def test_names_of_columns_are_kept():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(two_groups(1000), columns=["a"])
    model = BLBMixture(start(), method="bootstrap", n_resamples=5, random_state=0).fit(frame)
    assert model.feature_names_in_.tolist() == ["a"]
    low, _ = model.predict_proba_interval(frame)
    assert low.shape == (1000, 2)
    model.confidence_interval(lambda gmm: gmm.score(frame))


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    "options",
    [{"n_resamples": 1}, {"n_subsets": 0}, {"method": "jackknife"}, {"subset_exponent": 1.0},
     {"confidence_level": 1.0}, {"subsets": "blocks"}, {"estimator": BLBMixture()},
     {"estimator": "kmeans"}, {"subset_size": 1}],
)  # fmt: skip
def test_parameters_are_checked(options):
    with pytest.raises(ValueError, match=f"The '{next(iter(options))}' parameter of BLBMixture"):
        BLBMixture(**options).fit(two_groups(100))


def test_subsets_grow_where_components_overlap():
    X = two_groups(20_000, distance=2.1)
    model = BLBMixture(start(2.1), n_resamples=40, random_state=0).fit(X)
    assert 2 * 20_000**0.7 < model.subset_size_ < 20_000
    ratio = flat(model.standard_errors_) / flat(model.estimator_.standard_errors(X))
    assert 0.7 < ratio.min() and ratio.max() < 1.4


class Scoreless(FullGaussian):
    """A family that cannot say how much components overlap."""

    score_kernel = Family.score_kernel


def test_families_without_scores_have_subsets_by_rows_alone(monkeypatch):
    monkeypatch.setitem(GAUSSIAN_FAMILIES, "full", Scoreless)
    model = BLBMixture(start(), n_subsets=1, n_resamples=2, random_state=0)
    assert model.fit(two_groups(20_000)).subset_size_ == int(np.ceil(20_000**0.7))


def test_subsets_that_do_not_tell_components_apart_are_warned_of():
    X = two_groups(20_000, distance=1.8)
    model = BLBMixture(start(1.8), subset_size=1000, n_subsets=1, n_resamples=2, random_state=0)
    with pytest.warns(
        UserWarning, match=r"do not tell them apart, .* subsets of \d+ rows"
    ) as caught:
        model.fit(X)
    assert caught[0].filename == __file__


def test_a_subset_that_is_too_small_is_refused_with_what_works():
    with pytest.raises(ValueError, match=r"subset_size=20 .* at least 50 rows, .*exponent=0.43"):
        BLBMixture(start(), subset_size=20).fit(two_groups(10_000))

    with pytest.raises(ValueError, match="50 are needed, and there are 40: use method='boot"):
        BLBMixture(start(), subset_size=20).fit(two_groups(40))


def test_weights_that_sum_to_few_rows_are_refused():
    """A resample of one row has one value, and errors would come from reg_covar."""
    X = two_groups(1000)
    with pytest.raises(ValueError, match=r"stand for 1 rows, .* 2 component.*frequencies"):
        BLBMixture(start()).fit(X, sample_weight=np.full(len(X), 1 / len(X)))


def test_a_fit_that_did_not_converge_is_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        with pytest.raises(ValueError, match=r"did not converge.*max_iter .* above 3"):
            BLBMixture(start().set_params(max_iter=3)).fit(two_groups(1000, distance=1.5))


def test_failures_are_counted_and_warned_of():
    X = np.random.default_rng(0).normal(size=(80, 1))
    gmm = DistributedGMM(
        3, init_params=np.digitize(X[:, 0], [-0.5, 0.5]), prior="auto", reg_covar=0, max_iter=9999
    )
    with pytest.warns(UserWarning, match="resamples are left out") as caught:
        model = BLBMixture(gmm, method="bootstrap", n_resamples=40, random_state=0).fit(X)
    assert caught[0].filename == __file__
    assert 1 < model.alignment_failures_ < 20
    assert np.isfinite(flat(model.standard_errors_)).all()
