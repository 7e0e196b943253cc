"""Models to and from scikit-learn's GaussianMixture."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import COVARIANCE_TYPES, make_blobs, start_of
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture

from skdistmix import DistributedGMM

ARRAYS = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")


@pytest.fixture(params=[1, 3], ids=["one column", "three columns"])
def X(request):
    return make_blobs(n_rows=400, n_features=request.param, n_components=3, seed=1)[0]


@pytest.fixture
def fitted(iris):
    return GaussianMixture(2, random_state=0).fit(iris)


def assert_predict_the_same(ours, theirs, X):
    np.testing.assert_allclose(ours.score_samples(X), theirs.score_samples(X), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-9)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # ours warns of an unfinished fit
        assert ours.bic(X) == pytest.approx(theirs.bic(X))
        assert ours.aic(X) == pytest.approx(theirs.aic(X))
    assert ours.score(X) == pytest.approx(theirs.score(X))
    for mine, other in zip(ours.sample(10), theirs.sample(10), strict=True):
        assert mine.shape == other.shape
    for name in ARRAYS:
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-7, atol=1e-9)


def assert_nothing_shared(one, other):
    for name in ARRAYS:
        assert not np.shares_memory(getattr(one, name), getattr(other, name))


# ------------------------------------------------------------------ there


def test_to_sklearn(X, covariance_type):
    ours = DistributedGMM(3, covariance_type=covariance_type, random_state=0).fit(X)
    theirs = ours.to_sklearn()
    assert type(theirs) is GaussianMixture
    assert_predict_the_same(ours, theirs, X)
    assert_nothing_shared(ours, theirs)
    assert theirs.lower_bound_ == ours.objectives_[-2]
    assert (theirs.converged_, theirs.n_iter_) == (ours.converged_, ours.n_iter_)


def test_has_all_that_a_fit_of_scikit_learn_has(iris):
    frame = pd.DataFrame(iris, columns=list("abcd"))
    theirs = DistributedGMM(2, random_state=0).fit(frame).to_sklearn()
    native = GaussianMixture(2, random_state=0).fit(frame)
    assert vars(theirs).keys() == vars(native).keys()
    assert theirs.feature_names_in_.tolist() == list("abcd")
    np.testing.assert_array_equal(theirs.predict(frame), native.predict(frame))


def test_parameters_carried_over(iris):
    settings = {
        "covariance_type": "diag",
        "tol": 1e-4,
        "reg_covar": 1e-5,
        "max_iter": 321,
        "n_init": 2,
        "init_params": "k-means++",
        "random_state": 5,
        "warm_start": True,
        "weights_init": np.array([0.3, 0.7]),
        "verbose_interval": 7,
    }
    ours = DistributedGMM(2, **settings).fit(iris)
    theirs = ours.to_sklearn()
    for name, value in settings.items():
        np.testing.assert_array_equal(getattr(theirs, name), value)
    assert theirs.weights_init is not ours.weights_init
    back = DistributedGMM.from_sklearn(theirs)
    for name, value in settings.items():
        np.testing.assert_array_equal(getattr(back, name), value)
    clone(theirs).fit(iris)


@pytest.mark.parametrize("init_params", ["k-means||", "hierarchical", "labels"])
def test_parameters_scikit_learn_does_not_know(iris, init_params):
    init = np.arange(len(iris)) % 2 if init_params == "labels" else init_params
    state = np.random.RandomState(0)
    ours = DistributedGMM(
        2, tol="likelihood", max_iter=1000, init_params=init, random_state=state
    ).fit(iris)
    theirs = ours.to_sklearn()
    assert (theirs.tol, theirs.init_params) == (1e-3, "kmeans")
    assert theirs.random_state is not state
    theirs.fit(iris)


def test_values_are_those_of_a_fit_of_scikit_learn(X, covariance_type):
    start = start_of(X, 3, covariance_type)
    settings = {"covariance_type": covariance_type, "max_iter": 7, "tol": 0, **start}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = DistributedGMM(3, **settings).fit(X).to_sklearn()
        native = GaussianMixture(3, **settings).fit(X)
    np.testing.assert_allclose(theirs.means_, native.means_)
    assert theirs.lower_bound_ == pytest.approx(native.lower_bound_)
    if hasattr(native, "lower_bounds_"):
        np.testing.assert_allclose(theirs.lower_bounds_, native.lower_bounds_)


def test_scikit_learn_goes_on_from_our_fit(X):
    ours = DistributedGMM(3, max_iter=20, tol=1e-9, warm_start=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        before = ours.fit(X).lower_bound_
        theirs = ours.to_sklearn().set_params(max_iter=5).fit(X)
        assert theirs.score(X) >= before - 1e-9
        np.testing.assert_allclose(
            theirs.means_, ours.set_params(max_iter=5).fit(X).means_, rtol=1e-6
        )


def test_start_alone_goes_over(iris):
    ours = DistributedGMM(2, max_iter=0, random_state=0).fit(iris)
    theirs = ours.to_sklearn()
    assert_predict_the_same(ours, theirs, iris)
    native = GaussianMixture(2, max_iter=0, random_state=0).fit(iris)
    assert theirs.lower_bound_ == native.lower_bound_ == -np.inf


def test_to_sklearn_wants_a_fit():
    with pytest.raises(NotFittedError, match=r"DistributedGMM is not fitted.*call fit"):
        DistributedGMM().to_sklearn()


# ------------------------------------------------------------------ and back


def test_from_sklearn(X, covariance_type):
    theirs = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(X)
    ours = DistributedGMM.from_sklearn(theirs)
    assert type(ours) is DistributedGMM
    assert_predict_the_same(ours, theirs, X)
    assert_nothing_shared(ours, theirs)
    assert ours.n_parameters_ == theirs._n_parameters()
    for name in ("converged_", "n_iter_", "lower_bound_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name)
    for name in ("objectives_", "convergence_gap_", "init_scores_", "bic_", "aic_", "icl_"):
        assert not hasattr(ours, name)
    again = pickle.loads(pickle.dumps(ours))
    np.testing.assert_array_equal(again.predict_proba(X), ours.predict_proba(X))


def test_round_trip_to_the_bit(X, covariance_type):
    ours = DistributedGMM(3, covariance_type=covariance_type, random_state=0).fit(X)
    back = DistributedGMM.from_sklearn(ours.to_sklearn())
    for name in (*ARRAYS, "converged_", "n_iter_", "n_parameters_"):
        np.testing.assert_array_equal(getattr(back, name), getattr(ours, name))
    np.testing.assert_array_equal(back.score_samples(X), ours.score_samples(X))
    theirs = pickle.loads(pickle.dumps(back.to_sklearn()))
    np.testing.assert_array_equal(theirs.means_, ours.means_)


def test_we_go_on_from_a_fit_of_scikit_learn(X, covariance_type):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = GaussianMixture(
            3, covariance_type=covariance_type, max_iter=3, tol=0, random_state=0, warm_start=True
        ).fit(X)
        ours = DistributedGMM.from_sklearn(theirs).fit([X[:100], X[100:]])
        theirs.fit(X)
    np.testing.assert_allclose(ours.means_, theirs.means_, rtol=1e-6, atol=1e-9)
    assert ours.lower_bound_ == pytest.approx(theirs.score(X))
    assert hasattr(ours, "bic_")


def test_names_of_columns_go_along(iris):
    frame = pd.DataFrame(iris, columns=list("abcd"))
    ours = DistributedGMM.from_sklearn(GaussianMixture(2, random_state=0).fit(frame))
    assert ours.feature_names_in_.tolist() == list("abcd")
    ours.predict(frame)
    with pytest.raises(ValueError, match="feature names"):
        ours.predict(frame.rename(columns={"a": "z"}))


def test_float32_model(iris, covariance_type):
    X = iris.astype(np.float32)
    theirs = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(X)
    ours = DistributedGMM.from_sklearn(theirs)
    assert ours.means_.dtype == np.float64
    np.testing.assert_allclose(ours.score_samples(X), theirs.score_samples(X), rtol=1e-3, atol=1e-3)


def test_subclasses(iris):
    class Theirs(GaussianMixture):
        pass

    class Ours(DistributedGMM):
        pass

    theirs = Theirs(2, random_state=0).fit(iris)
    ours = Ours.from_sklearn(theirs)
    assert type(ours) is Ours
    assert_predict_the_same(ours, theirs, iris)


def test_model_made_by_hand(iris):
    theirs = GaussianMixture(2, random_state=0)
    covariance = np.cov(iris.T)
    theirs.weights_ = np.array([0.5, 0.5])
    theirs.means_ = iris[[0, 100]]
    theirs.covariances_ = np.stack([covariance, 2 * covariance])
    theirs.precisions_cholesky_ = np.linalg.cholesky(np.linalg.inv(theirs.covariances_))
    ours = DistributedGMM.from_sklearn(theirs)  # the factors are lower triangular
    np.testing.assert_allclose(ours.score_samples(iris), theirs.score_samples(iris))
    assert not ours.converged_ and ours.n_features_in_ == 4


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (BayesianGaussianMixture(), "value of type BayesianGaussianMixture"),
        (KMeans(), "value of type KMeans"),
        ("model.pkl", "the string 'model.pkl'"),
        (None, "value of type NoneType"),
        (GaussianMixture, "the class GaussianMixture: fit an instance"),
        (DistributedGMM(2), "DistributedGMM: it needs no conversion"),
    ],
)
def test_foreign_objects(model, message):
    with pytest.raises(TypeError, match=f"expects a fitted sklearn.mixture.*got .*{message}"):
        DistributedGMM.from_sklearn(model)


def test_unfitted_model():
    with pytest.raises(NotFittedError, match=r"has no weights_.*call its fit"):
        DistributedGMM.from_sklearn(GaussianMixture(2))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("weights_", lambda w: w[:1], r"weights_ of the model has shape \(1,\)"),
        ("weights_", lambda w: w * 2, "sum to 1"),
        ("weights_", lambda w: w * [-1, 1], "at least 0"),
        ("weights_", lambda w: ["a", "b"], "not an array of numbers"),
        ("means_", lambda m: m[0], r"means_ of the model has shape \(4,\)"),
        ("means_", lambda m: m[:, :3], r"has shape \(2, 4, 4\).*need \(2, 3, 3\)"),
        ("means_", lambda m: m * np.nan, "means_ of the model contains NaN"),
        ("covariances_", lambda c: c[0], r"covariances_ of the model has shape \(4, 4\)"),
        ("covariances_", lambda c: -c, "not positive definite"),
        ("covariances_", lambda c: c + np.triu(np.ones((4, 4)), 1), "not symmetric"),
        ("covariances_", lambda c: 3 * c, "does not belong to its covariances_"),
        ("precisions_cholesky_", lambda u: u + np.inf, "NaN or infinity"),
        ("precisions_cholesky_", lambda u: 3 * u, "set the other too"),
        ("covariance_type", lambda t: "EEF", "'EEF' is not known"),
    ],
)
def test_tampered_models(fitted, name, change, message):
    setattr(fitted, name, change(getattr(fitted, name)))
    with pytest.raises(ValueError, match=message):
        DistributedGMM.from_sklearn(fitted)


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_tampered_covariances_of_every_type(iris, kind):
    theirs = GaussianMixture(2, covariance_type=kind, random_state=0).fit(iris)
    theirs.covariances_ = -theirs.covariances_
    with pytest.raises(ValueError, match="not positive definite"):
        DistributedGMM.from_sklearn(theirs)
    theirs.covariances_ = -2 * theirs.covariances_
    with pytest.raises(ValueError, match="does not belong"):
        DistributedGMM.from_sklearn(theirs)
