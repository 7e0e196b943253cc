"""The EM loop: stopping, extrapolation, and agreement with R's mclust."""

import warnings

import numpy as np
import pytest
from conftest import make_blobs, start_of
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from skdistmix import DistributedGMM
from skdistmix._stopping import remaining_gain


def test_remaining_gain_is_exact_for_a_geometric_sequence():
    values = [10 - 0.7**i for i in range(12)]
    for n in range(3, 12):
        assert remaining_gain(values[:n], 5.0) == pytest.approx(5 * 0.7 ** (n - 1), rel=1e-9)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1.0], np.inf), ([1.0, 2.0], np.inf), ([1.0, 1.0], 0.0), ([0.0, 1.0, 3.0], np.inf)],
)
def test_remaining_gain_of_short_or_growing_sequences(values, expected):
    assert remaining_gain(values, 1.0) == expected


# mclust 6.0.0 (R 4.2.2) on iris, three components, EM to relative tolerance 1e-12: log-likelihood,
# the same with the rows repeated 1 + 7 i mod 5 times (i = 1, 2, ...), and degrees of freedom.
MCLUST = {
    "full": (-180.185477131303, -543.376524122362, 44),
    "tied": (-256.354043125585, -771.967374958484, 24),
    "diag": (-307.177571597976, -939.975024663703, 26),
    "spherical": (-384.314095060823, -1184.00943597963, 17),
}


def test_agrees_with_mclust_on_iris(iris, covariance_type):
    X, labels = iris, KMeans(3, n_init=5, random_state=0).fit(iris).labels_
    plain, weighted, df = MCLUST[covariance_type]
    gmm = DistributedGMM(
        3,
        covariance_type=covariance_type,
        init_params=labels,
        reg_covar=0,
        tol=1e-13,
        max_iter=2000,
    ).fit([X[:60], X[60:]])
    assert 150 * gmm.lower_bound_ == pytest.approx(plain, abs=1e-6)
    assert gmm.n_parameters_ == df
    assert gmm.bic_ == pytest.approx(-2 * plain + df * np.log(150), abs=1e-6)
    w = 1 + 7 * np.arange(1, 151) % 5
    gmm.fit(X, sample_weight=w)
    assert 450 * gmm.lower_bound_ == pytest.approx(weighted, abs=1e-6)


def test_likelihood_rule_stops_within_its_promise(covariance_type):
    X, _ = make_blobs(n_rows=20_000, spread=1.0)
    start = start_of(X, 3, covariance_type)
    common = {"covariance_type": covariance_type, "max_iter": 20_000, **start}
    gmm = DistributedGMM(3, tol="likelihood", **common).fit(X)
    end = DistributedGMM(3, tol=1e-13, **common).fit(X)
    assert gmm.converged_
    assert len(X) * (end.lower_bound_ - gmm.lower_bound_) < 0.5
    assert gmm.convergence_gap_ < 0.1
    loose = DistributedGMM(3, tol=1e-3, **common).fit(X)
    left = len(X) * (end.lower_bound_ - loose.lower_bound_)
    assert left > 0.2  # the trap: the usual tolerance is in units of one row
    assert loose.convergence_gap_ > 0.1


def test_icl_is_bic_plus_twice_the_entropy(iris):
    gmm = DistributedGMM(3, random_state=0, tol="likelihood", max_iter=500).fit(iris)
    p = gmm.predict_proba(iris)
    entropy = -np.sum(p * np.log(np.maximum(p, 1e-300)))
    assert gmm.icl(iris) == pytest.approx(gmm.bic(iris) + 2 * entropy)
    assert gmm.icl_ == pytest.approx(gmm.icl(iris))
    assert gmm.bic_ == pytest.approx(gmm.bic(iris))
    assert gmm.aic_ == pytest.approx(gmm.aic(iris))


def test_criteria_warn_about_unfinished_fits(blobs):
    X, _ = blobs
    with pytest.warns(ConvergenceWarning, match="did not reach the tolerance of 0"):
        gmm = DistributedGMM(3, tol=0.0, max_iter=3, random_state=0, init_params="random").fit(X)
    assert gmm.convergence_gap_ > 2
    for method in ("bic", "aic", "icl"):
        with pytest.warns(ConvergenceWarning, match="still to gain"):
            getattr(gmm, method)(X)


def test_no_iterations_return_the_start(blobs):
    X, _ = blobs
    start = start_of(X, 3, "full")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gmm = DistributedGMM(3, max_iter=0, **start).fit(X)
    np.testing.assert_array_equal(gmm.means_, start["means_init"])
    np.testing.assert_allclose(gmm.precisions_, start["precisions_init"])
    assert gmm.n_iter_ == 0
    assert gmm.lower_bounds_ == []
    assert gmm.lower_bound_ == pytest.approx(gmm.score(X))


def test_one_component_is_the_closed_form(covariance_type):
    X, _ = make_blobs()
    gmm = DistributedGMM(1, covariance_type=covariance_type, reg_covar=0).fit([X[:7], X[7:]])
    np.testing.assert_allclose(gmm.means_[0], X.mean(axis=0), rtol=1e-10)
    covariance = np.cov(X.T, bias=True)
    expected = {
        "full": covariance[None],
        "tied": covariance,
        "diag": np.diag(covariance)[None],
        "spherical": [np.trace(covariance) / 3],
    }[covariance_type]
    np.testing.assert_allclose(gmm.covariances_, expected, rtol=1e-10)
    assert gmm.converged_ and gmm.convergence_gap_ == 0
