"""Mixtures with a component of constant density."""

import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from conftest import COVARIANCE_TYPES, CutIn
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from skdistmix import BLBMixture, DistributedGMM, MixtureOfExpertsAggregator, reduce_mixtures
from skdistmix._noise import likely_noise
from skdistmix.families import gaussian_family
from skdistmix.io import write_predictions
from skdistmix.model_selection import bootstrap_likelihood_ratio

R = json.loads((Path(__file__).parent / "r_values" / "noise.json").read_text())
MODELS = list(R["models"])
PARAMETERS = ("weights_", "means_", "covariances_", "noise_weight_", "noise_volume_")


def labels_of(text):
    return np.array([-1 if c == "-" else int(c) for c in text])


@pytest.fixture(scope="module")
def minefield():
    return np.array(R["x"]), labels_of(R["labels"])


def clutter(n_rows=1500, n_noise=500, n_features=2, seed=0):
    """Three clusters in clutter that lies evenly about them, and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n_rows)
    means = 5.0 * np.stack([np.resize(row, n_features) for row in ([1, -1], [-1, -1], [0, 1])])
    spread = np.array([0.6, 0.9, 1.2])[labels]
    X = rng.normal(size=(n_rows, n_features)) * spread[:, None] + means[labels]
    noise = rng.uniform(-10, 10, (n_noise, n_features))
    order = rng.permutation(n_rows + n_noise)
    return np.vstack([X, noise])[order], np.append(labels, np.full(n_noise, -1))[order]


def fit(X, covariance_type="full", max_iter=200, sample_weight=None, **options):
    options = {"noise": "auto", "reg_covar": 0, "tol": 1e-8, "random_state": 0, **options}
    n_components = options.pop("n_components", 3)
    gmm = DistributedGMM(
        n_components, covariance_type=covariance_type, max_iter=max_iter, **options
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return gmm.fit(X, sample_weight=sample_weight)


def assert_same(a, b, rtol=1e-8):
    for name in PARAMETERS:
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=rtol, atol=1e-9)
    np.testing.assert_allclose(a.lower_bounds_, b.lower_bounds_, rtol=1e-9)


# ------------------------------------------------------------------ R


@pytest.mark.parametrize("model", MODELS)
def test_em_ends_where_r_does(minefield, model):
    X, labels = minefield
    theirs = R["models"][model]
    gmm = fit(X, model, 20_000, n_components=2, init_params=labels, tol=1e-13)
    total = gmm.lower_bound_ * len(X)
    assert 1 / gmm.noise_volume_ == pytest.approx(R["density"], rel=1e-12)
    assert gmm.n_parameters_ == theirs["df"]
    if model == "VVE":
        assert theirs["em"] - 1e-4 < total < theirs["em"] + 1e-2
        return
    assert total == pytest.approx(theirs["em"], rel=1e-10)
    assert gmm.bic_ == pytest.approx(-theirs["bic"], rel=1e-10)
    np.testing.assert_allclose([*gmm.weights_, gmm.noise_weight_], theirs["weights"], atol=1e-6)
    np.testing.assert_allclose(gmm.means_, theirs["means"], atol=1e-3)
    family, params = gmm._family_and_params()
    covariances = family.gaussian.components(params).covariances
    if covariances.ndim == 2:
        covariances = covariances[:, :, None] * np.eye(2)
    np.testing.assert_allclose(covariances, theirs["covariances"], rtol=1e-4, atol=1e-2)
    np.testing.assert_array_equal(gmm.predict(X), labels_of(theirs["classes"]))


def test_a_volume_does_what_auto_does(minefield):
    X, labels = minefield
    auto = fit(X, n_components=2, init_params=labels)
    given = fit(X, n_components=2, init_params=labels, noise=auto.noise_volume_)
    assert_same(auto, given)
    assert auto.bic_ == pytest.approx(given.bic_)
    assert fit(X, n_components=2, init_params=labels, noise=1e6).noise_volume_ == 1e6


# ------------------------------------------------------------------ what the fit says


def test_what_is_noise(any_type):
    X, labels = clutter()
    gmm = fit(X, any_type)
    proba, predicted = gmm.predict_proba(X), gmm.predict(X)
    assert proba.shape == (len(X), 4)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    np.testing.assert_array_equal(predicted, np.where(proba.argmax(1) == 3, -1, proba.argmax(1)))
    assert set(predicted) == {-1, 0, 1, 2}
    assert np.mean((predicted == -1) == (labels == -1)) > 0.88
    assert gmm.weights_.shape == (3,)
    assert gmm.weights_.sum() + gmm.noise_weight_ == pytest.approx(1)
    assert gmm.noise_weight_ == pytest.approx(0.25, abs=0.06)
    assert gmm.score(X) == pytest.approx(gmm.lower_bound_, rel=1e-12)
    assert gmm.icl(X) == pytest.approx(gmm.icl_, rel=1e-12)
    assert gmm.n_parameters_ == gaussian_family(any_type)(3).n_parameters_of(2) + 2
    far = gmm.score_samples([[1e6, 1e6]])
    assert far[0] == pytest.approx(np.log(gmm.noise_weight_ / gmm.noise_volume_))


@pytest.mark.parametrize("acceleration", [None, "squarem", "anderson"])
@pytest.mark.parametrize("weights", ["free", "equal"])
def test_the_objective_never_falls(any_type, acceleration, weights):
    X, _ = clutter(300, 300)
    gmm = fit(X, any_type, 60, tol=0, acceleration=acceleration, weights=weights)
    assert np.diff(gmm.objectives_).min() > -1e-12


def test_acceleration_and_the_likelihood_rule():
    X, _ = clutter(600, 600)
    plain = fit(X, max_iter=3000, tol="likelihood")
    fast = fit(X, max_iter=3000, tol="likelihood", acceleration="squarem")
    assert plain.converged_ and fast.converged_
    assert abs(plain.score(X) - fast.score(X)) * len(X) < 0.1
    penalised = fit(X, covariance_penalty="auto")
    prior = fit(X, prior="auto")
    for gmm in (penalised, prior):
        assert np.diff(gmm.objectives_).min() > -1e-12
        assert gmm.objective_ < gmm.lower_bound_


def test_equal_weights_share_what_noise_leaves():
    X, _ = clutter()
    gmm = fit(X, weights="equal")
    np.testing.assert_allclose(gmm.weights_, (1 - gmm.noise_weight_) / 3, rtol=1e-14)
    assert gmm.noise_weight_ == pytest.approx(0.25, abs=0.03)
    assert gmm.n_parameters_ == fit(X).n_parameters_ - 2


def test_rows_far_from_all_components_are_noise_and_harm_none():
    """Without noise a component is drawn away by them, or wide."""
    X, labels = clutter(1000, 0)
    outliers = np.array([[300.0, 0.0], [0.0, -500.0], [-700.0, 700.0]])
    gmm = fit(np.vstack([X, outliers]))
    truth = np.stack([X[labels == k].mean(axis=0) for k in range(3)])
    apart = np.linalg.norm(gmm.means_[:, None] - truth, axis=2).min(axis=0)
    assert apart.max() < 0.1
    assert gmm.predict(outliers).tolist() == [-1, -1, -1]


# ------------------------------------------------------------------ starts


def best_of(X, labels, **options):
    return fit(X, init_params=labels, **options).lower_bound_


@pytest.mark.parametrize("init_params", ["k-means||", "k-means++", "hierarchical"])
@pytest.mark.parametrize("n_noise", [0, 100, 1500])
def test_starts_find_clusters_in_clutter(init_params, n_noise):
    for seed in range(3):
        X, labels = clutter(1500, n_noise, seed=seed)
        gmm = fit(X, init_params=init_params, random_state=seed)
        assert gmm.lower_bound_ > best_of(X, labels) - 1e-5


@pytest.mark.parametrize("subsample", [None, 600])
@pytest.mark.parametrize("init_params", ["k-means||", "k-means++", "hierarchical"])
def test_a_wide_cluster_beside_a_tight_one_is_no_noise(init_params, subsample):
    """By the distances to neighbours alone it is."""
    rng = np.random.default_rng(0)
    tight, wide = rng.normal(3, 0.1, size=(700, 2)), rng.normal(-3, 1, size=(700, 2))
    X = np.vstack([tight, wide, rng.uniform(-7, 7, (100, 2))])
    labels = np.repeat([0, 1, -1], [700, 700, 100])
    assert likely_noise(X, 12)[labels == 1].mean() > 0.9
    gmm = fit(X, n_components=2, init_params=init_params, subsample=subsample)
    assert gmm.lower_bound_ > best_of(X, labels, n_components=2) - 1e-5


def test_responsibilities_may_have_a_column_of_noise():
    X, labels = clutter()
    resp = (labels[:, None] == [0, 1, 2, -1]).astype(float)
    assert_same(fit(X, init_params=labels), fit(X, init_params=resp))
    assert_same(fit(X, init_params=np.where(labels < 0, 0, labels)),
                fit(X, init_params=resp[:, :3] + resp[:, 3:] * [1, 0, 0]))  # fmt: skip


def test_a_start_without_noise_begins_with_some():
    X, labels = clutter()
    gmm = fit(X, max_iter=0, init_params=np.where(labels < 0, 0, labels))
    assert gmm.noise_weight_ == 0.05
    gmm = fit(X, max_iter=0, init_params=labels)
    assert gmm.noise_weight_ == pytest.approx(np.mean(labels < 0))


def test_given_parameters():
    X, _ = clutter()
    gmm = fit(X, max_iter=30, tol=0)
    start = {"means_init": gmm.means_, "precisions_init": gmm.precisions_, "max_iter": 0}
    same = fit(X, weights_init=gmm.weights_, **start)
    assert same.score(X) == pytest.approx(gmm.score(X), rel=1e-12)
    whole = gmm.weights_ / gmm.weights_.sum()
    assert fit(X, weights_init=whole, **start).noise_weight_ == 0.05
    assert fit(X, means_init=gmm.means_).lower_bound_ >= gmm.lower_bound_ - 1e-6


def test_warm_start():
    X, _ = clutter()
    gmm = fit(X, max_iter=5, tol=0, warm_start=True)
    before = gmm.lower_bound_
    gmm.set_params(max_iter=0).fit(X)
    assert gmm.lower_bound_ == pytest.approx(before, rel=1e-12)
    gmm.set_params(max_iter=20, noise=None, tol=1e-3).fit(X)  # the noise goes
    assert not hasattr(gmm, "noise_weight_") and gmm.weights_.sum() == pytest.approx(1)
    assert gmm.predict_proba(X).shape == (len(X), 3)
    gmm.set_params(noise="auto", max_iter=200).fit(X)  # and comes again
    assert gmm.lower_bound_ == pytest.approx(fit(X).lower_bound_, abs=1e-2)


def test_a_sample_first():
    X, _ = clutter(20_000, 10_000)
    whole, sampled = fit(X), fit(X, subsample=3000)
    assert sampled.lower_bound_ == pytest.approx(whole.lower_bound_, abs=1e-5)
    assert sampled.noise_volume_ == whole.noise_volume_  # of all rows, also on a sample


def test_likely_noise():
    X, labels = clutter(1000, 1000)
    assert np.mean(likely_noise(X, 12) == (labels == -1)) > 0.88
    assert not likely_noise(np.zeros((50, 2)), 12).any()
    equal = np.repeat(X[:20], 30, axis=0)
    assert likely_noise(np.vstack([equal, X[20:60]]), 12).shape == (640,)


# ------------------------------------------------------------------ laws


@pytest.mark.parametrize("way", CutIn.ways)
def test_any_split_and_order_gives_the_same_fit(any_type, way):
    X, labels = clutter(400, 200)
    whole = fit(X, any_type, 12, tol=0, init_params=labels)
    parts, starts = CutIn.cut(X, way), CutIn.cut(labels, way)
    assert_same(fit(parts, any_type, 12, tol=0, init_params=starts), whole)
    assert_same(fit(parts[::-1], any_type, 12, tol=0, init_params=starts[::-1]), whole)


def test_seeded_fits_do_not_depend_on_contiguous_splits():
    X, _ = clutter()
    whole = fit(X, max_iter=12, tol=0)
    for way in CutIn.ways:
        assert_same(fit(CutIn.cut(X, way), max_iter=12, tol=0), whole)


def test_same_bits_for_every_number_of_workers():
    X, _ = clutter(60_000, 30_000)
    one, two = (fit(np.array_split(X, 3), max_iter=3, n_jobs=n) for n in (1, 2))
    for name in PARAMETERS:
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_row_weights_are_repeated_rows(any_type):
    X, labels = clutter(300, 150)
    counts = np.random.default_rng(1).integers(0, 4, len(X))
    weighted = fit(X, any_type, 10, counts, tol=0, init_params=labels)
    repeated = fit(
        np.repeat(X, counts, axis=0), any_type, 10, tol=0, init_params=np.repeat(labels, counts)
    )
    assert_same(weighted, repeated)
    assert weighted.bic_ == pytest.approx(repeated.bic_, rel=1e-10)


def test_a_shift_changes_nothing_but_the_means(any_type):
    X, labels = clutter(400, 200)
    here, there = (fit(x, any_type, 10, tol=0, init_params=labels) for x in (X, X + 1e6))
    np.testing.assert_allclose(there.means_ - 1e6, here.means_, atol=1e-6)
    np.testing.assert_allclose(there.noise_weight_, here.noise_weight_, rtol=1e-6)
    np.testing.assert_allclose(there.lower_bounds_, here.lower_bounds_, rtol=1e-6)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "VVE"])
def test_the_safe_kernel_has_noise_too(covariance_type):
    """A component so tight that sums of raw products would lose it."""
    X, labels = clutter(600, 300)
    X[labels == 0] = X[labels == 0].mean(axis=0) + 1e-7 * (X[labels == 0] % 1)
    if covariance_type == "tied":
        X[labels >= 0] = 5.0 * labels[labels >= 0, None] + 1e-7 * (X[labels >= 0] % 1)
    gmm = fit(X, covariance_type, 20, tol=0, init_params=labels)
    assert np.diff(gmm.objectives_).min() > -1e-10
    np.testing.assert_allclose(gmm.weights_[0], np.mean(labels == 0), rtol=1e-3)
    np.testing.assert_array_equal(gmm.predict(X[labels == 0]), 0)


def test_every_form_of_input(tmp_path):
    X, labels = clutter()
    np.save(tmp_path / "x.npy", X)
    whole = fit(X, init_params=labels)
    for form in (X.tolist(), np.load(tmp_path / "x.npy", mmap_mode="r"), str(tmp_path / "x.npy")):
        assert_same(fit(form, init_params=labels), whole)
    single = fit(X.astype(np.float32), init_params=labels)
    assert single.noise_weight_ == pytest.approx(whole.noise_weight_, rel=1e-4)


def test_dask():
    dask_array = pytest.importorskip("dask.array")
    X, labels = clutter()
    chunks = dask_array.from_array(X, chunks=(700, 2))
    gmm = fit(chunks, init_params=labels)
    assert_same(gmm, fit(X, init_params=labels))
    np.testing.assert_array_equal(gmm.predict(chunks).compute(), gmm.predict(X))
    assert gmm.predict_proba(chunks).shape == (len(X), 4)


def test_arrays_of_other_libraries():
    torch = pytest.importorskip("torch")
    X, labels = clutter()
    tensor = torch.asarray(X)
    gmm = fit(tensor, init_params=labels)
    assert_same(gmm, fit(X, init_params=labels), rtol=1e-6)
    predicted = gmm.predict(tensor)
    assert predicted.dtype == torch.int64
    np.testing.assert_array_equal(predicted.numpy(), gmm.predict(X))


def test_pickle_clone_and_predictions_on_file(tmp_path):
    pyarrow = pytest.importorskip("pyarrow.parquet")
    X, _ = clutter()
    gmm = fit(X)
    again = pickle.loads(pickle.dumps(gmm))
    np.testing.assert_array_equal(again.predict_proba(X), gmm.predict_proba(X))
    assert clone(gmm).noise == "auto"
    (path,) = write_predictions(gmm, X, tmp_path / "labels.parquet")
    np.testing.assert_array_equal(pyarrow.read_table(path)["label"], gmm.predict(X))
    (path,) = write_predictions(gmm, X, tmp_path / "p.parquet", method="predict_proba")
    assert pyarrow.read_table(path).num_columns == 4
    gmm.set_params(noise=None)  # a fitted model stays what it was
    assert (gmm.predict(X) == -1).any()


def test_verbose_lines(capsys):
    X, _ = clutter()
    fit(X, max_iter=3, verbose=2)
    assert "Start 0" in capsys.readouterr().out


# ------------------------------------------------------------------ draws


def test_rows_are_drawn_in_the_box():
    X, _ = clutter()
    turned = X @ [[0.6, -0.8], [0.8, 0.6]]  # so that the box is along the principal axes
    turned = turned * [1, 0.3] @ [[0.8, 0.6], [-0.6, 0.8]]
    for rows in (X, turned):
        gmm = fit(rows)
        drawn, labels = gmm.sample(40_000)
        assert set(labels) == {-1, 0, 1, 2}
        assert np.mean(labels == -1) == pytest.approx(gmm.noise_weight_, abs=0.01)
        box, noise = gmm._noise_box, drawn[labels == -1]
        assert np.exp(box.log_volume) == pytest.approx(gmm.noise_volume_)
        inside = (noise - box.center) @ box.axes
        assert (inside >= box.ranges.low - 1e-9).all() and (inside <= box.ranges.high + 1e-9).all()
        middle = (box.ranges.low + box.ranges.high) / 2
        np.testing.assert_allclose(inside.mean(axis=0), middle, atol=0.3)
        again = fit(drawn, max_iter=500)
        assert again.noise_weight_ == pytest.approx(gmm.noise_weight_, abs=0.02)


def test_the_box_is_the_smaller_of_two():
    rng = np.random.default_rng(0)
    u = rng.uniform(-1, 1, (2000, 2)) * [10, 1]
    assert fit(u, n_components=1).noise_volume_ == pytest.approx(40, rel=0.02)
    turned = u @ [[0.8, 0.6], [-0.6, 0.8]]
    assert fit(turned, n_components=1).noise_volume_ == pytest.approx(40, rel=0.05)
    assert np.ptp(turned, axis=0).prod() > 100


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize("noise", [0, -1.0, np.inf, np.nan, "box"])
def test_wrong_noise(noise):
    X, _ = clutter(60, 20)
    with pytest.raises(ValueError, match="The 'noise' parameter of DistributedGMM must be"):
        fit(X, noise=noise)


def test_noise_is_no_switch():
    with pytest.raises(ValueError, match="noise=True is neither 'auto' nor a volume"):
        fit(clutter(60, 20)[0], noise=True)


@pytest.mark.filterwarnings("ignore:Columns .* are constant")
def test_a_box_without_volume():
    X, _ = clutter(60, 20)
    with pytest.raises(ValueError, match=r"columns \[1\] are constant. Drop such columns, or give"):
        fit(np.column_stack([X[:, 0], np.ones(len(X))]), n_components=1, reg_covar=1e-6)
    with pytest.raises(ValueError, match=r"all rows, which is 0: columns \[0, 1\]"):
        fit(np.ones((20, 2)), n_components=1, reg_covar=1e-6)
    with pytest.raises(ValueError, match="columns are linear combinations of others"):
        fit(X[:, [0, 1, 0]] + [0, 0, 3], n_components=1, reg_covar=1e-6)
    with pytest.raises(ValueError, match="seem so beside rows that are very far away"):
        fit(np.vstack([X, [1e9, 1e9]]), n_components=1)
    with pytest.raises(ValueError, match="scale the columns"):
        fit(1e100 * np.random.default_rng(0).normal(size=(50, 4)), n_components=1)


def test_noise_that_takes_all_rows():
    X, _ = clutter(60, 20)
    with pytest.raises(ValueError, match="Give a larger volume as noise, or noise='auto'"):
        fit(X, noise=1e-30, max_iter=50)


def test_wrong_labels():
    X, labels = clutter(60, 20)
    with pytest.raises(ValueError, match=r"from -1 \(noise\) to 2, got values from -2 to 2"):
        fit(X, init_params=np.where(labels < 0, -2, labels))
    with pytest.raises(ValueError, match="Only with noise are there rows of -1"):
        fit(X, noise=None, init_params=labels)
    with pytest.raises(ValueError, match=r"or 4 with that of noise as the last"):
        fit(X, init_params=np.full((len(X), 5), 0.2))
    with pytest.raises(ValueError, match="at most 1, the rest being the weight of noise"):
        fit(X, weights_init=[0.5, 0.5, 0.5])


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_what_does_not_know_noise_says_so(covariance_type):
    X, _ = clutter(200, 50)
    gmm = fit(X, covariance_type)
    asked = DistributedGMM(2, covariance_type=covariance_type, noise="auto")
    given = fit(X, covariance_type, noise=400.0)
    with pytest.raises(ValueError, match="not where"):
        given.sample(10)
    with pytest.raises(NotImplementedError, match="with noise has no scores"):
        gmm.standard_errors(X)
    refused = [
        (lambda: asked.partial_fit(X), "partial_fit"),
        (lambda: gmm.partial_fit(X), "partial_fit"),
        (gmm.to_sklearn, "to_sklearn"),
        (lambda: reduce_mixtures([gmm, gmm]), r"reduce_mixtures \(model 0\)"),
        (lambda: BLBMixture(asked).fit(X), "BLBMixture"),
        (lambda: MixtureOfExpertsAggregator(asked, 2).fit([X, X]), "A local mixture"),
        (lambda: bootstrap_likelihood_ratio(asked, X, max_components=3), "The test"),
    ]
    for call, what in refused:
        with pytest.raises(ValueError, match=f"{what} does not support the noise component"):
            call()
