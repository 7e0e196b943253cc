"""DistributedGMM as users meet it: forms of output, starts, warnings and refusals."""

import pickle
import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import COVARIANCE_TYPES, CutIn, make_blobs, start_of
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdistmix import DistributedGMM, as_shards

INITS = ["k-means||", "kmeans", "k-means++", "random_from_data"]


@pytest.fixture(scope="module")
def separated():
    return make_blobs(n_rows=4000, n_features=2, n_components=4, spread=12, seed=3)


# ------------------------------------------------------------------ answers


@pytest.mark.parametrize("init_params", INITS[:3])
def test_finds_separated_components(separated, covariance_type, init_params):
    X, labels = separated
    gmm = DistributedGMM(
        4, covariance_type=covariance_type, init_params=init_params, n_init=3, random_state=0
    )
    found = gmm.fit_predict(CutIn.cut(X, "seven"))
    assert [len(f) for f in found] == [len(s) for s in CutIn.cut(X, "seven")]
    assert adjusted_rand_score(labels, np.concatenate(found)) > 0.98
    assert gmm.init_scores_.shape == (3,)
    assert gmm.lower_bound_ == pytest.approx(gmm.init_scores_.max(), rel=1e-11)


def test_same_answer_as_scikit_learn_untuned(separated):
    X, _ = separated
    ours = DistributedGMM(4, random_state=0).fit(X)
    theirs = GaussianMixture(4, random_state=0, n_init=3).fit(X)
    assert ours.lower_bound_ == pytest.approx(theirs.score(X), abs=1e-3)


def test_forms_of_output(separated, tmp_path):
    X, _ = separated
    parts = CutIn.cut(X, "with an empty one")
    paths = []
    for i, part in enumerate(parts):
        paths.append(tmp_path / f"{i}.npy")
        np.save(paths[-1], part)
    gmm = DistributedGMM(4, random_state=0).fit(parts)
    for method, width in (("predict", ()), ("predict_proba", (4,)), ("score_samples", ())):
        call = getattr(gmm, method)
        whole = call(X)
        assert isinstance(whole, np.ndarray) and whole.shape == (len(X), *width)
        assert isinstance(call(pd.DataFrame(X)), np.ndarray)
        for form in (parts, tuple(parts), paths, as_shards(parts)):
            out = call(form)
            assert isinstance(out, list)
            assert [o.shape for o in out] == [(len(p), *width) for p in parts]
            np.testing.assert_allclose(np.concatenate(out), whole, rtol=1e-9, atol=1e-12)
        lazy = call(str(tmp_path / "*.npy"))
        assert not isinstance(lazy, (list, np.ndarray))
        np.testing.assert_allclose(np.concatenate(list(lazy)), whole, rtol=1e-9, atol=1e-12)
    assert gmm.predict(X).dtype.kind == "i"
    np.testing.assert_allclose(gmm.predict_proba(X).sum(axis=1), 1.0)


def test_sample(separated, covariance_type):
    X, _ = separated
    gmm = DistributedGMM(4, covariance_type=covariance_type, random_state=0).fit(X)
    rows, labels = gmm.sample(5000)
    assert rows.shape == (5000, 2) and np.all(np.diff(labels) >= 0)
    np.testing.assert_array_equal(gmm.sample(5000)[0], rows)
    np.testing.assert_allclose(np.bincount(labels) / 5000, gmm.weights_, atol=0.03)
    assert gmm.score(rows) == pytest.approx(gmm.lower_bound_, abs=0.1)
    with pytest.raises(ValueError, match="at least one sample"):
        gmm.sample(0)


def test_in_a_pipeline(separated):
    X, labels = separated
    pipe = make_pipeline(StandardScaler(), DistributedGMM(4, random_state=0)).fit(X)
    assert adjusted_rand_score(labels, pipe.predict(X)) > 0.98


# ------------------------------------------------------------------ starts


def test_labels_and_responsibilities_as_starts(separated):
    X, labels = separated
    resp = np.eye(4)[labels]
    parts = np.split(np.arange(4000), [1000, 1700])
    fits = [
        DistributedGMM(4, init_params=init).fit(data)
        for init, data in (
            (labels, X),
            (labels.tolist(), X),
            (resp, X),
            ([labels[p] for p in parts], [X[p] for p in parts]),
            ([resp[p] for p in parts], [X[p] for p in parts]),
            (labels, [X[p] for p in parts]),
        )
    ]
    for gmm in fits[1:]:
        np.testing.assert_allclose(gmm.means_, fits[0].means_, rtol=1e-8)
    np.testing.assert_array_equal(fits[0].predict(X), labels)


def test_means_alone_start_from_the_nearest_rows(separated):
    X, labels = separated
    means = np.stack([X[labels == k].mean(axis=0) for k in (3, 1, 0, 2)])
    gmm = DistributedGMM(4, means_init=means, max_iter=0).fit(X)
    np.testing.assert_array_equal(gmm.means_, means)
    np.testing.assert_allclose(gmm.weights_, np.bincount(labels)[[3, 1, 0, 2]] / 4000, atol=1e-3)


@pytest.mark.parametrize("left_out", ["weights_init", "means_init", "precisions_init"])
def test_partly_given_starts(separated, covariance_type, left_out):
    X, _ = separated
    start = start_of(X, 4, covariance_type)
    start.pop(left_out)
    gmm = DistributedGMM(
        4, covariance_type=covariance_type, max_iter=0, random_state=0, **start
    ).fit(X)
    for name, value in start.items():
        attribute = {"precisions_init": "precisions_"}.get(name, name.replace("_init", "_"))
        np.testing.assert_allclose(getattr(gmm, attribute), value, rtol=1e-9)


def test_duplicated_rows_do_not_leave_dead_components():
    X = np.repeat([[0.0, 0], [1, 0], [0, 1], [5, 5]], 500, axis=0)
    for init in INITS:
        gmm = DistributedGMM(4, init_params=init, random_state=0).fit(X)
        np.testing.assert_allclose(gmm.weights_, 0.25)


def test_warm_start_goes_on(blobs):
    X, _ = blobs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        gmm = DistributedGMM(
            3, warm_start=True, max_iter=4, tol=0, random_state=0, init_params="random"
        )
        first = gmm.fit(X).lower_bounds_
        second = gmm.fit(X).lower_bounds_
        straight = DistributedGMM(3, max_iter=8, tol=0, random_state=0, init_params="random").fit(X)
    np.testing.assert_allclose(first + second, straight.lower_bounds_, rtol=1e-10)


@pytest.mark.parametrize("change", [{"n_components": 2}, {"covariance_type": "diag"}])
def test_warm_start_with_another_model_is_refused(blobs, change):
    X, _ = blobs
    gmm = DistributedGMM(3, warm_start=True, random_state=0).fit(X)
    with pytest.raises(ValueError, match="warm_start=True goes on from the previous solution"):
        gmm.set_params(**change).fit(X)


def test_the_fitted_model_predicts_whatever_parameters_are_set_to(blobs, covariance_type):
    X, _ = blobs
    fits = [
        DistributedGMM(3, covariance_type=covariance_type, random_state=0).fit(X),
        DistributedGMM(3, covariance_type=covariance_type, random_state=0).partial_fit(X),
        DistributedGMM.from_sklearn(
            GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(X)
        ),
    ]

    def answers(gmm):
        theirs = gmm.to_sklearn()
        rows = [gmm.predict_proba(X), gmm.score_samples(X), *gmm.sample(50)]
        theirs_of = [theirs.score_samples(X), theirs.bic(X), theirs.sample(50)[0]]
        return [*rows, gmm.bic(X), gmm.aic(X), gmm.icl(X), gmm.n_parameters_, *theirs_of]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for gmm in fits:
            before = answers(gmm)
            for other in COVARIANCE_TYPES:
                gmm.set_params(covariance_type=other, n_components=5, reg_covar=1.0)
                for again in (gmm, pickle.loads(pickle.dumps(gmm))):
                    for a, b in zip(before, answers(again), strict=True):
                        np.testing.assert_array_equal(a, b)
            assert gmm.covariance_type_ == covariance_type
            assert not hasattr(clone(gmm), "covariance_type_")
            gmm.set_params(covariance_type=covariance_type, n_components=3, reg_covar=1e-6)
            gmm.partial_fit(X)
            assert gmm.set_params(n_components=2, covariance_type=other).fit(X).weights_.size == 2
            assert gmm.covariance_type_ == other


def test_mostly_zero_weights_of_many_rows_start_from_the_others():
    X = np.random.default_rng(0).normal(size=(300_000, 1))
    w = np.zeros(len(X))
    w[::30_000] = 1
    a = DistributedGMM(2, random_state=0).fit(X, sample_weight=w)
    b = DistributedGMM(2, random_state=0).fit(X[w > 0])
    assert a.lower_bound_ == pytest.approx(b.lower_bound_, abs=0.3)


def test_kmeans_is_an_alias(separated):
    X, _ = separated
    a, b = (DistributedGMM(4, init_params=i, random_state=0).fit(X) for i in INITS[:2])
    np.testing.assert_array_equal(a.means_, b.means_)


# ------------------------------------------------------------------ what is told


def test_verbose_reports_progress(separated, capsys):
    X, _ = separated
    DistributedGMM(4, random_state=0, verbose=2, verbose_interval=1).fit(X)
    out = capsys.readouterr().out
    assert "Start 0, iteration 1" in out and "Start 0 converged" in out
    assert "change" in out and "time" in out
    DistributedGMM(4, random_state=0).fit(X)
    assert capsys.readouterr().out == ""


def test_one_convergence_warning_names_what_to_change(blobs):
    X, _ = blobs
    with pytest.warns(ConvergenceWarning, match=r"max_iter.*n_init.*still to gain") as caught:
        DistributedGMM(3, max_iter=2, n_init=3, tol=1e-9, random_state=0).fit(X)
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_constant_columns_are_fitted_like_scikit_learn_does(covariance_type):
    X, _ = make_blobs(n_features=3)
    X[:, 1] = 7.25
    start = start_of(X + 1e-3 * np.random.default_rng(0).normal(size=X.shape), 3, covariance_type)
    kwargs = {"covariance_type": covariance_type, "max_iter": 5, "tol": 0, **start}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ours = DistributedGMM(3, **kwargs).fit(X)
    told = [w for w in caught if "constant" in str(w.message)]
    assert len(told) == 1 and "[1]" in str(told[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = GaussianMixture(3, **kwargs).fit(X)
    np.testing.assert_allclose(ours.means_, theirs.means_, rtol=1e-6)
    np.testing.assert_allclose(ours.covariances_, theirs.covariances_, rtol=1e-6, atol=1e-11)
    with pytest.raises(ValueError, match=r"constant.*reg_covar above 0"):
        DistributedGMM(3, covariance_type=covariance_type, reg_covar=0).fit(X)
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    with pytest.warns(UserWarning, match=r"\['b'\] are constant"):
        DistributedGMM(3, random_state=0).fit(frame)


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"covariance_type": "round"}, "covariance_type"),
        ({"init_params": "kmeanz"}, "init_params"),
        ({"n_components": 0}, "n_components"),
        ({"tol": "fast"}, "tol"),
        ({"reg_covar": -1.0}, "reg_covar"),
        ({"weights_init": [0.5, 0.4]}, "sum to 1"),
        ({"weights_init": [1.0]}, r"weights_init should have the shape \(2,\)"),
        ({"means_init": [[0.0, 0.0]]}, r"means_init should have the shape \(2, 2\)"),
        ({"means_init": [[0.0, 0.0], [0.0, np.nan]]}, "means_init contains NaN"),
        ({"precisions_init": np.eye(2)}, r"precisions_init should have the shape \(2, 2, 2\)"),
        ({"precisions_init": np.stack([np.eye(2), -np.eye(2)])}, "Precision 1 .*positive"),
        ({"precisions_init": [[[1, 0.5], [0, 1]]] * 2}, "Precision 0 .*not symmetric"),
        ({"init_params": ["a"] * 60}, "init_params must hold real numbers"),
        ({"init_params": [0, 1, 0]}, r"init_params has shape \(3,\), X has 60 rows"),
        ({"init_params": np.arange(60) % 3}, "whole numbers from 0 to 1"),
        ({"init_params": np.zeros(60, int)}, r"No row has the label\(s\) \[1\]"),
        ({"init_params": np.ones((60, 2))}, "sum to 1 in each row"),
        ({"init_params": np.ones((60, 5)) / 5}, r"expected \(60, 2\)"),
        ({"n_jobs": 0}, "n_jobs=0"),
    ],
)
def test_bad_parameters_are_refused_before_rows_are_read(kwargs, match):
    X = np.random.default_rng(0).normal(size=(60, 2))
    X[3, 1] = np.nan  # would be an error too, found only when rows are read
    with pytest.raises(ValueError, match=match):
        DistributedGMM(**{"n_components": 2, **kwargs}).fit(X)


def test_too_few_rows():
    X = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(ValueError, match="n_components = 21, n_samples = 20"):
        DistributedGMM(21).fit([X[:9], X[9:]])
    with pytest.raises(ValueError, match=r"2 distinct row\(s\).*n_components=3"):
        DistributedGMM(3).fit(np.repeat(X[:2], 10, axis=0))
    with pytest.raises(ValueError, match=r"3 distinct row\(s\)"):
        DistributedGMM(4).fit(X, sample_weight=(np.arange(20) < 3).astype(float))


def test_values_out_of_range(covariance_type):
    X, _ = make_blobs(n_rows=200)
    with (
        np.errstate(over="ignore", invalid="ignore"),
        pytest.raises(ValueError, match="left the range of floating-point"),
    ):
        DistributedGMM(3, covariance_type=covariance_type, random_state=0).fit(X * 1e200)


def test_weights_out_of_range():
    X, _ = make_blobs(n_rows=200)
    weight = np.ones(200)
    weight[:3] = 1e308
    gmm = DistributedGMM(3, random_state=0)
    message = r"sample_weight of .* has values up to 1e\+308.*Divide all weights by the largest"
    for call in (gmm.fit, gmm.partial_fit, gmm.fit(X).score):
        with pytest.raises(ValueError, match=message):
            call(X, sample_weight=weight)
    assert np.isfinite(gmm.fit(X, sample_weight=weight.clip(max=1e100)).lower_bound_)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_degenerate_covariances_without_regularisation(covariance_type):
    X = np.random.default_rng(0).normal(size=(60, 2))
    X[:, 1] = X[:, 0] if covariance_type in ("full", "tied") else X[:, 1]
    labels = np.arange(60) % 2
    if covariance_type in ("diag", "spherical"):
        X[labels == 1] = 5.0
    gmm = DistributedGMM(2, covariance_type=covariance_type, reg_covar=0, init_params=labels)
    with pytest.raises(ValueError, match=r"not positive definite.*larger reg_covar"):
        gmm.fit(X)


def test_unfitted_and_wrong_width(separated):
    X, _ = separated
    with pytest.raises(NotFittedError):
        DistributedGMM().predict(X)
    with pytest.raises(NotFittedError):
        DistributedGMM().sample()
    gmm = DistributedGMM(random_state=0).fit(X)
    for bad in (X[:, :1], [X[:, :1]]):
        with pytest.raises(ValueError, match="1 features, but DistributedGMM is expecting 2"):
            gmm.predict(bad)


# ------------------------------------------------------------------ memory


def test_fit_keeps_no_array_of_rows_by_components():
    X = np.random.default_rng(0).normal(size=(1_500_000, 1))
    limit = 50e6  # rows x 8 components would be 96 MB
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        tracemalloc.start()
        try:
            DistributedGMM(8, max_iter=3, random_state=0).fit(X)
            DistributedGMM(8, max_iter=1, init_params="random", random_state=0).fit(X)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < limit
