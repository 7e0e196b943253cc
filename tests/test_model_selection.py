"""Criteria as scorers, and searches without splitting."""

import pickle
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA, IncrementalPCA
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, check_cv, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    StandardScaler,
)

from skdistmix import DistributedGMM, as_shards
from skdistmix.model_selection import FullData, neg_aic, neg_bic, neg_icl
from skdistmix.model_selection._scorers import _log_det_after
from skdistmix.preprocessing import Shardwise

SCORERS = {"bic": neg_bic, "aic": neg_aic, "icl": neg_icl}


def gmm(n_components=1, **parameters):
    return DistributedGMM(
        n_components, tol="likelihood", max_iter=1000, random_state=0, **parameters
    )


def exact(n_components=3):
    """EM to the optimum, equivariant under affine maps of the columns."""
    return gmm(n_components, reg_covar=0).set_params(tol=1e-9)


@pytest.fixture
def X():
    """Three groups that touch, on unequal scales, 300 rows."""
    rng = np.random.default_rng(0)
    centers = np.array([[-3.0, 0, 0], [3.0, 0, 0], [0.0, 3.5, 0]])[np.arange(300) % 3]
    return (centers + rng.normal(size=(300, 3))) * [1, 3, 0.5] + [5, -30, 2]


@pytest.fixture
def paths(X, tmp_path):
    for i, piece in enumerate(np.split(X, [120, 130])):
        np.save(tmp_path / f"part-{i}.npy", piece)
    return [str(tmp_path / f"part-{i}.npy") for i in range(3)]


# --------------------------------------------------------------------------- scorers


def test_criteria_by_hand(X):
    fitted = gmm(3).fit(X)
    resp = fitted.predict_proba(X)
    entropy = -np.sum(resp * np.log(np.maximum(resp, 1e-300)))
    log_likelihood, p, n = fitted.score_samples(X).sum(), 2 + 9 + 18, 300
    assert_allclose(neg_aic(fitted, X), 2 * log_likelihood - 2 * p)
    assert_allclose(neg_bic(fitted, X), 2 * log_likelihood - p * np.log(n))
    assert_allclose(neg_icl(fitted, X), 2 * log_likelihood - p * np.log(n) - 2 * entropy)


def test_bic_of_a_pipeline_by_hand(X):
    pipe = make_pipeline(StandardScaler(), exact()).fit(X)
    mean, scale = X.mean(axis=0), X.std(axis=0)
    by_hand = exact().fit((X - mean) / scale)
    # p(x) = p(z) / scale_1 scale_2 scale_3
    expected = 2 * (by_hand.score_samples((X - mean) / scale) - np.log(scale).sum()).sum()
    assert_allclose(neg_bic(pipe, X), expected - 29 * np.log(300))
    # the same model in the columns of X
    assert_allclose(neg_bic(pipe, X), neg_bic(exact().fit(X), X), rtol=1e-6)


STEPS = [
    StandardScaler(),
    StandardScaler(with_mean=False),
    StandardScaler(with_std=False),
    MinMaxScaler((-2, 3)),
    MaxAbsScaler(),
    RobustScaler(),
    RobustScaler(unit_variance=True, with_centering=False),
    RobustScaler(with_scaling=False),
    PCA(),
    PCA(3, whiten=True),
    IncrementalPCA(whiten=True),
    Shardwise(MinMaxScaler()),
]


@pytest.mark.parametrize("step", STEPS, ids=repr)
def test_jacobians(step, X):
    for data in (X, np.where([False, False, True], 7.0, X)):  # one column constant
        if "whiten=True" in repr(step) and data is not X:
            continue
        fitted = clone(step).fit(data)
        origin = fitted.transform(data[:1])
        jacobian = fitted.transform(data[:1] + np.eye(3)) - origin
        expected = 3.0 + np.linalg.slogdet(jacobian)[1]
        for form in (fitted, FrozenEstimator(fitted), make_pipeline("passthrough", fitted)):
            assert_allclose(_log_det_after(form, 3.0), expected, atol=1e-8)


@pytest.mark.parametrize("name", SCORERS)
def test_affine_steps_do_not_change_the_criterion(name, X):
    expected = SCORERS[name](exact().fit(X), X)
    for step in [*STEPS, "passthrough", None, make_pipeline(PCA(), RobustScaler())]:
        pipe = Pipeline([("first", step), ("last", exact())]).fit(X)
        assert_allclose(SCORERS[name](pipe, X), expected, rtol=1e-5, err_msg=repr(step))


def test_nested_pipelines(X):
    inner = make_pipeline(MinMaxScaler(), exact())
    outer = make_pipeline(StandardScaler(), make_pipeline("passthrough", PCA()), inner).fit(X)
    assert_allclose(neg_bic(outer, X), neg_bic(exact().fit(X), X), rtol=1e-6)


@pytest.mark.parametrize(
    "step", [PCA(2), MinMaxScaler(clip=True), FunctionTransformer(np.arctan)], ids=repr
)
def test_other_steps_begin_anew(step, X):
    """After a step without a known Jacobian the criterion is about what leaves it."""
    fitted = make_pipeline(StandardScaler(), step, MinMaxScaler(), exact(2)).fit(X)
    Z = fitted[:2].transform(X)
    expected = neg_bic(make_pipeline(*fitted[2:]), Z)
    assert_allclose(neg_bic(fitted, X), expected)
    assert_allclose(expected, neg_bic(exact(2).fit(Z), Z), rtol=1e-5)


@pytest.mark.parametrize("name", SCORERS)
def test_weights_reach_the_criterion(name, X):
    w = np.arange(300) % 4
    repeated = np.repeat(X, w, axis=0)
    pipe = make_pipeline(StandardScaler(), gmm(2)).fit(X)
    for fitted in (gmm(2).fit(X), pipe):
        expected = SCORERS[name](fitted, repeated)
        assert_allclose(SCORERS[name](fitted, X, sample_weight=w), expected)
    shards, weights = np.split(X, [120, 130]), np.split(w, [120, 130])
    pipe = make_pipeline(Shardwise(), gmm(2)).fit(X)
    expected = SCORERS[name](pipe, repeated)
    assert_allclose(SCORERS[name](pipe, shards, None, weights), expected)
    assert_allclose(SCORERS[name](pipe, as_shards(shards).with_weights(weights)), expected)


def test_estimators_of_scikit_learn(X):
    fitted = make_pipeline(
        StandardScaler(), GaussianMixture(3, reg_covar=0, tol=1e-9, max_iter=1000, random_state=0)
    ).fit(X)
    assert_allclose(neg_bic(fitted, X), neg_bic(exact().fit(X), X), rtol=1e-6)
    with pytest.raises(TypeError, match=r"GaussianMixture\.bic takes no weights"):
        neg_bic(fitted, X, sample_weight=np.ones(300))


def test_wrong_estimators(X):
    fitted = make_pipeline(StandardScaler(), KMeans(2, n_init=1)).fit(X)
    with pytest.raises(TypeError, match=r"neg_bic needs .* method bic\(X\).* KMeans has no such"):
        neg_bic(fitted, X)
    with pytest.raises(TypeError, match=r"neg_icl needs .* GaussianMixture has no such"):
        neg_icl(GaussianMixture().fit(X), X)
    with pytest.raises(TypeError, match="str has no such"):
        neg_aic(Pipeline([("only", "passthrough")]), X)
    with pytest.raises(NotFittedError):
        neg_bic(gmm(), X)


def test_every_form_of_shards(X, paths):
    pipe = make_pipeline(Shardwise(), gmm(3)).fit(X)
    expected = neg_bic(pipe, X)
    for form in (np.split(X, [7]), paths, paths[0].replace("0.npy", "*.npy"), as_shards(paths)):
        assert_allclose(neg_bic(pipe, form), expected, rtol=1e-10)


def test_scorers_can_be_pickled():
    assert pickle.loads(pickle.dumps(neg_icl)) is neg_icl


# --------------------------------------------------------------------------- FullData


def test_full_data_has_one_split(X, paths):
    cv = FullData()
    assert repr(cv) == "FullData()" and cv.get_n_splits() == 1 and cv.get_n_splits(X) == 1
    assert check_cv(cv) is cv
    for data, n in ((X, 300), (np.split(X, [7]), 2), (paths, 3), (as_shards(paths), 3)):
        ((train, test),) = cv.split(data, groups=[0])
        assert_array_equal(train, np.arange(n))
        assert_array_equal(test, np.arange(n))
        assert train.dtype.kind == "i" and train is not test
    with pytest.raises(TypeError, match=r"cannot index the path 'x\*.npy'"):
        next(cv.split("x*.npy"))


def test_search_finds_the_number_of_components(X, paths):
    expected = {k: neg_bic(gmm(k).fit(X), X) for k in (1, 2, 3, 4)}
    assert max(expected, key=expected.get) == 3
    forms = (X, np.split(X, [7, 250]), paths, as_shards(X, 2), as_shards(paths))
    for form in forms:
        search = GridSearchCV(
            gmm(), {"n_components": list(expected)}, scoring=neg_bic, cv=FullData()
        ).fit(form)
        assert search.best_params_ == {"n_components": 3}
        assert search.n_splits_ == 1
        scores = search.cv_results_["mean_test_score"]
        assert_allclose(scores[[0, 2]], [expected[1], expected[3]], rtol=1e-6)
        assert_allclose(search.score(form), expected[3], rtol=1e-6)


def test_search_over_frames(X):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("abc"))
    for data in (frame, [frame.iloc[:100], frame.iloc[100:]]):
        search = GridSearchCV(gmm(), {"n_components": [2, 3]}, scoring=neg_bic, cv=FullData())
        assert search.fit(data).best_params_ == {"n_components": 3}


def test_search_over_scalers(X):
    pipe = Pipeline([("scale", None), ("pca", None), ("gmm", exact())])
    grid = {"scale": ["passthrough", StandardScaler(), RobustScaler()], "pca": [None, PCA()]}
    search = GridSearchCV(pipe, grid, scoring=neg_bic, cv=FullData()).fit(X)
    scores = search.cv_results_["mean_test_score"]
    assert_allclose(scores, scores[0], rtol=1e-6)


def test_cross_validate_with_several_criteria_and_weights(X):
    w = 1.0 + np.arange(300) % 2
    scoring = {name: partial(scorer, sample_weight=w) for name, scorer in SCORERS.items()}
    estimator = gmm(3)
    result = cross_validate(
        estimator, X, scoring=scoring, cv=FullData(), params={"sample_weight": w}
    )
    fitted = gmm(3).fit(X, sample_weight=w)
    for name in SCORERS:
        assert_allclose(result[f"test_{name}"], [-getattr(fitted, f"{name}_")])


def test_a_weighted_fit_scored_without_weights_warns():
    X = np.random.default_rng(0).normal(size=(300, 2))
    w = np.arange(300) % 3.0
    gmm = DistributedGMM(1).fit(X, sample_weight=w)
    with pytest.warns(UserWarning, match=r"functools.partial\(neg_bic, sample_weight=w\)"):
        neg_bic(gmm, X)
    assert neg_bic(gmm, X, sample_weight=w) == pytest.approx(-gmm.bic_)
    assert neg_bic(gmm, as_shards(X).with_weights(w)) == pytest.approx(-gmm.bic_)
