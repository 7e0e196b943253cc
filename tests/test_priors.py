"""Penalties and conjugate priors: against closed forms, R's mclust, and the laws."""

import warnings

import numpy as np
import pytest
from conftest import CutIn, make_blobs, start_of
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from skdistmix import DistributedGMM
from skdistmix.families import GAUSSIAN_FAMILIES, ConjugatePrior, CovariancePenalty, Moments
from skdistmix.model_selection import FullData, neg_bic

# Log-likelihood (unpenalised) that mclust 6.0.0 reaches on iris with its default prior, G = 3,
# from the hierarchical partition; covariance types VVV, EEE, VVI, VII.
MCLUST = {
    "full": -192.695283864809,
    "tied": -257.739376609001,
    "diag": -312.885638520935,
    "spherical": -384.47867621615,
}
# That partition.
PARTITION = (
    "00000000000000000000000000000000000000000100000000"
    "21212111211111121111121122221111111121111111111211"
    "21211212122121121221212122111222111221122212221221"
)


@pytest.mark.parametrize("covariance_type", list(MCLUST))
def test_default_prior_is_that_of_mclust(iris, covariance_type):
    labels = np.array([int(label) for label in PARTITION])
    gmm = DistributedGMM(
        3, covariance_type=covariance_type, prior="auto", reg_covar=0, init_params=labels,
        tol=1e-13, max_iter=5000,
    ).fit(iris)  # fmt: skip
    assert 150 * gmm.lower_bound_ == pytest.approx(MCLUST[covariance_type], abs=1e-5)


def penalties(covariance_type, d=3):
    matrix = covariance_type in ("full", "tied")
    scale = np.diag(np.arange(1.0, d + 1)) if matrix else 1.7
    return [
        CovariancePenalty(),
        CovariancePenalty(40.0),
        ConjugatePrior(),
        ConjugatePrior(shrinkage=25, mean=np.arange(d), dof=30, scale=scale),
        ConjugatePrior(shrinkage=0),
    ]


@pytest.mark.parametrize("which", range(5))
def test_m_step_maximises_the_expected_objective(covariance_type, which):
    X, _ = make_blobs(n_rows=200)
    prior = penalties(covariance_type)[which]
    family = GAUSSIAN_FAMILIES[covariance_type](3, 0.0, prior).prepare(
        Moments.of_rows(X, None, True, 3)
    )
    resp = np.random.default_rng(0).dirichlet([0.3] * 3, size=200).T
    stats = family.statistics(X, None, resp, np.zeros((3, 3)))
    best = family.m_step(stats)

    def objective(vector):
        params = family.params_of_coordinates(vector, like=best)
        return -(family.expected(stats, params) + family.log_prior(params))

    at = family.coordinates(best)
    np.testing.assert_allclose(
        objective(at), -(family.expected(stats, best) + family.log_prior(best)), rtol=1e-10
    )
    found = minimize(objective, at + 0.01, method="BFGS", options={"gtol": 1e-6})
    assert objective(at) <= found.fun + 1e-6
    assert found.fun == pytest.approx(objective(at), abs=1e-4)


@pytest.mark.parametrize("which", range(5))
def test_objective_with_a_prior_never_falls(covariance_type, which):
    X, _ = make_blobs(spread=1)
    prior = penalties(covariance_type)[which]
    option = (
        {"prior": prior}
        if isinstance(prior, ConjugatePrior)
        else {"covariance_penalty": prior.strength or "auto"}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        gmm = DistributedGMM(
            3, covariance_type=covariance_type, reg_covar=0, tol=0, max_iter=40, random_state=0,
            init_params="random", **option,
        ).fit(CutIn.cut(X, "seven"))  # fmt: skip
    values = np.array(gmm.objectives_)
    assert np.diff(values).min() > -1e-12 * np.abs(values).max()
    assert gmm.objective_ != gmm.lower_bound_
    assert gmm.score(X) == pytest.approx(gmm.lower_bound_, rel=1e-12)


def test_penalty_is_the_formula_of_its_authors():
    X, _ = make_blobs(n_rows=400)
    a, S = 400**-0.5, np.cov(X.T, bias=True)
    gmm = DistributedGMM(3, covariance_penalty="auto", reg_covar=0, tol=1e-14, max_iter=3000)
    gmm.set_params(random_state=0).fit(X)
    resp = gmm.predict_proba(X)
    for k in range(3):
        Z = X - gmm.means_[k]
        expected = ((resp[:, k] * Z.T) @ Z + 2 * a * S) / (resp[:, k].sum() + 2 * a)
        np.testing.assert_allclose(gmm.covariances_[k], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag"])
def test_penalty_follows_scaled_columns(covariance_type):
    X, labels = make_blobs()
    factors = np.array([1e-4, 1.0, 1e5])
    common = {"covariance_type": covariance_type, "covariance_penalty": "auto", "reg_covar": 0}
    a = DistributedGMM(3, init_params=labels, **common).fit(X)
    b = DistributedGMM(3, init_params=labels, **common).fit(X * factors)
    np.testing.assert_allclose(b.means_, a.means_ * factors, rtol=1e-7)
    square = factors**2 if covariance_type == "diag" else np.outer(factors, factors)
    np.testing.assert_allclose(b.covariances_, a.covariances_ * square, rtol=1e-6)


@pytest.mark.parametrize("option", [{"covariance_penalty": "auto"}, {"prior": "auto"}])
def test_components_on_a_point_do_not_collapse(covariance_type, option):
    X, _ = make_blobs(n_rows=300)
    X[:40] = X[0]
    labels = np.where(np.arange(300) < 40, 0, 1)
    gmm = DistributedGMM(
        2, covariance_type=covariance_type, reg_covar=0, init_params=labels, **option
    ).fit(X)
    assert np.isfinite(gmm.lower_bound_)
    assert np.linalg.eigvalsh(np.cov(X.T)).min() * 1e-5 < np.min(np.abs(gmm.precisions_) ** -1)


def test_weights_are_frequencies_for_penalty_and_prior(covariance_type):
    X, _ = make_blobs(n_rows=500)
    w = np.random.default_rng(0).integers(0, 4, 500)
    start = start_of(X, 3, covariance_type)
    for option in ({"covariance_penalty": "auto"}, {"prior": "auto"}):
        common = {"covariance_type": covariance_type, **option, **start}
        a = DistributedGMM(3, **common).fit(X, sample_weight=w)
        b = DistributedGMM(3, **common).fit(np.repeat(X, w, axis=0))
        np.testing.assert_allclose(a.covariances_, b.covariances_, rtol=1e-8, atol=1e-10)
        assert a.objective_ == pytest.approx(b.objective_, rel=1e-10)


def test_parameters_of_a_prior_in_a_search(iris):
    search = GridSearchCV(
        DistributedGMM(3, prior=ConjugatePrior(), random_state=0),
        {"prior__shrinkage": [0.01, 0.1]},
        scoring=neg_bic,
        cv=FullData(),
    ).fit(iris)
    assert search.best_params_["prior__shrinkage"] == 0.01


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"prior": ConjugatePrior(mean=[0.0])}, r"mean of the prior has the shape \(1,\)"),
        ({"prior": ConjugatePrior(scale=2.0)}, r"scale of the prior has the shape \(\)"),
        ({"prior": ConjugatePrior(scale=np.eye(2))}, r"expected \(3, 3\): a matrix for full"),
        (
            {"prior": ConjugatePrior(scale=np.eye(3)), "covariance_type": "diag"},
            r"expected \(\): a number for diagonal",
        ),
        ({"prior": ConjugatePrior(scale=-np.eye(3))}, "symmetric and positive definite"),
        ({"prior": ConjugatePrior(scale=np.triu(np.ones((3, 3))))}, "symmetric and positive"),
        ({"prior": ConjugatePrior(mean=[0, np.nan, 0])}, "NaN"),
        ({"prior": ConjugatePrior(shrinkage=-1)}, "shrinkage"),
        ({"prior": ConjugatePrior(dof=-2)}, "dof"),
        ({"prior": 3.0}, "prior"),
        ({"covariance_penalty": 0}, "covariance_penalty"),
        ({"covariance_penalty": "auto", "prior": "auto"}, "leave one of them None"),
    ],
)
def test_bad_priors_are_refused_before_rows_are_read(kwargs, match):
    X = np.full((60, 3), np.nan)
    with pytest.raises(ValueError, match=match):
        DistributedGMM(2, **kwargs).fit(X)
