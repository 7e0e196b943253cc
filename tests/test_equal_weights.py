"""Mixtures whose weights are held equal."""

import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from conftest import COVARIANCE_TYPES, CutIn, make_blobs, start_of
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from skdistmix import (
    BLBMixture,
    DistributedGMM,
    DistributedMixture,
    MixtureOfExpertsAggregator,
    reduce_mixtures,
)
from skdistmix.families import GaussianFamily, gaussian_family
from skdistmix.model_selection import bootstrap_likelihood_ratio

R = json.loads((Path(__file__).parent / "r_values" / "equal_weights.json").read_text())
BELOW_OPTIMUM = {"VEE", "EVE", "VVE", "EVV"}  # of mclust, see the notes on these values
NO_MIXTURE = {"VVI"}


def fit(X, covariance_type="full", max_iter=200, sample_weight=None, **options):
    options = {"reg_covar": 0, "tol": 1e-10, "random_state": 0, **options}
    gmm = DistributedGMM(
        3, covariance_type=covariance_type, weights="equal", max_iter=max_iter, **options
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return gmm.fit(X, sample_weight=sample_weight)


@pytest.mark.parametrize("model", R["models"])
def test_em_ends_where_r_does(iris, model):
    theirs, labels = R["models"][model], np.array([int(label) for label in R["labels"]])
    gmm = fit(iris, model, 20_000, init_params=labels, tol=1e-13)
    total = gmm.lower_bound_ * len(iris)
    assert gmm.n_parameters_ == theirs["df"]
    assert gmm.weights_.tolist() == [1 / 3] * 3
    if model in NO_MIXTURE:
        return
    np.testing.assert_allclose(theirs["weights"], 1 / 3)
    if model in BELOW_OPTIMUM:
        assert total > theirs["em"] + 5
        return
    assert total == pytest.approx(theirs["em"], rel=1e-9)
    np.testing.assert_allclose(gmm.means_, theirs["means"], atol=1e-4)
    family, params = gmm._family_and_params()
    covariances = family.components(params).covariances
    if covariances.ndim == 2:
        covariances = covariances[:, :, None] * np.eye(4)
    np.testing.assert_allclose(covariances, theirs["covariances"], atol=1e-4)


def test_they_have_fewer_parameters(any_type):
    free, equal = (gaussian_family(any_type)(4, equal_weights=e) for e in (False, True))
    assert free.n_parameters_of(3) - equal.n_parameters_of(3) == 3


@pytest.mark.parametrize("acceleration", [None, "squarem", "anderson"])
def test_the_objective_never_falls(any_type, acceleration):
    X, _ = make_blobs(spread=1.0)
    gmm = fit(X, any_type, 60, acceleration=acceleration)
    assert np.diff(gmm.objectives_).min() > -1e-12
    assert gmm.weights_.tolist() == [1 / 3] * 3
    assert gmm.score(X) == pytest.approx(gmm.lower_bound_, rel=1e-12)


def test_acceleration_reaches_the_optimum_of_plain_steps_sooner():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(3000, 2)) + rng.choice([-1.0, 0, 1.2], size=(3000, 1))
    plain = fit(X, max_iter=5000)
    fast = fit(X, max_iter=5000, acceleration="squarem")
    assert fast.n_iter_ < plain.n_iter_
    assert fast.lower_bound_ == pytest.approx(plain.lower_bound_, abs=1e-6)


@pytest.mark.parametrize("way", CutIn.ways)
def test_any_split_gives_the_same_fit(blobs, way):
    X, _ = blobs
    start = start_of(X, 3, "VEV")
    whole, parts = (fit(data, "VEV", 12, tol=0, **start) for data in (X, CutIn.cut(X, way)))
    np.testing.assert_allclose(parts.means_, whole.means_, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(parts.covariances_, whole.covariances_, rtol=1e-8, atol=1e-10)


def test_row_weights_are_repeated_rows(any_type):
    X, _ = make_blobs(n_rows=400)
    counts = np.random.default_rng(1).integers(0, 4, len(X))
    start = start_of(X, 3, any_type)
    weighted = fit(X, any_type, 10, counts, tol=0, **start)
    repeated = fit(np.repeat(X, counts, axis=0), any_type, 10, tol=0, **start)
    np.testing.assert_allclose(weighted.means_, repeated.means_, rtol=1e-8, atol=1e-9)
    assert weighted.bic_ == pytest.approx(repeated.bic_, rel=1e-10)


def test_a_component_that_loses_its_rows_keeps_its_place(iris):
    means = np.vstack([iris[[10, 70]], iris.max(axis=0) + 1000])
    gmm = fit(iris, max_iter=5, means_init=means, precisions_init=[np.eye(4)] * 3)
    np.testing.assert_array_equal(gmm.means_[2], means[2])
    assert gmm.weights_.tolist() == [1 / 3] * 3


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_standard_errors_have_no_directions_of_weights(blobs, covariance_type):
    X, _ = blobs
    gmm = fit(X, covariance_type, 5000, tol="likelihood")
    errors = gmm.standard_errors(X)
    assert errors.weights.tolist() == [0, 0, 0]
    assert len(errors.names) == gmm.n_parameters_ == len(errors.covariance_matrix)
    assert not any(name.startswith("weights") for name in errors.names)
    assert errors.distance < 0.5


def test_standard_errors_are_those_of_the_numerical_information():
    X, _ = make_blobs(n_rows=2000, n_features=1, n_components=2, spread=2.0)
    gmm = DistributedGMM(
        2, weights="equal", reg_covar=0, tol="likelihood", max_iter=5000, random_state=0
    ).fit(X)
    errors = gmm.standard_errors(X)

    def log_likelihood(vector):
        means, variances = np.split(vector, 2)
        densities = np.exp(-0.5 * (X - means) ** 2 / variances) / np.sqrt(2 * np.pi * variances)
        return np.log(densities.mean(axis=1)).sum()

    step = 1e-4 * np.eye(4)
    information = np.array([
        [
            log_likelihood(errors.estimates - a + b) + log_likelihood(errors.estimates + a - b)
            - log_likelihood(errors.estimates + a + b) - log_likelihood(errors.estimates - a - b)
            for a in step
        ]
        for b in step
    ]) / 4e-8  # fmt: skip
    np.testing.assert_allclose(errors.covariance_matrix, np.linalg.inv(information), rtol=1e-3)


@pytest.mark.parametrize("model", ["full", "EEI"])
def test_resamples_hold_them(model):
    X, _ = make_blobs(n_rows=1500, n_features=2)
    estimator = DistributedGMM(
        3, covariance_type=model, weights="equal", max_iter=1000, acceleration="squarem"
    )
    blb = BLBMixture(estimator, method="bootstrap", n_resamples=60, random_state=0).fit(X)
    assert blb.alignment_failures_ == 0
    assert blb.standard_errors_.weights.tolist() == [0, 0, 0]
    if model == "full":
        errors = blb.estimator_.standard_errors(X)
        np.testing.assert_allclose(blb.standard_errors_.means, errors.means, rtol=0.4)


def test_a_stream_holds_them(blobs):
    X, _ = blobs
    gmm = DistributedGMM(3, weights="equal", random_state=0)
    for batch in np.array_split(X, 6):
        gmm.partial_fit(batch)
    assert gmm.weights_.tolist() == [1 / 3] * 3
    fitted = fit(X)
    before = fitted.means_
    fitted.partial_fit(X)
    np.testing.assert_allclose(fitted.means_, before, rtol=1e-4)


def test_a_fitted_model_stays_what_it_was(blobs):
    X, _ = blobs
    gmm = fit(X)
    bic = gmm.bic(X)
    gmm.set_params(weights="free")
    again = pickle.loads(pickle.dumps(gmm))
    assert again.bic(X) == bic == pytest.approx(gmm.bic_)
    assert len(again.standard_errors(X).names) == gmm.n_parameters_
    assert clone(gmm).weights == "free"


def test_a_warm_start_takes_over_the_means_only(blobs):
    X, _ = blobs
    gmm = DistributedGMM(3, random_state=0, warm_start=True, reg_covar=0).fit(X)
    gmm.set_params(weights="equal").fit(X)
    assert gmm.weights_.tolist() == [1 / 3] * 3
    assert np.diff(gmm.objectives_).min() > -1e-12


def test_given_parameters_are_started_from_with_equal_weights(blobs):
    X, _ = blobs
    start = DistributedMixture(3, random_state=0).fit(X).params_
    assert np.ptp(start.weights) > 1e-3
    family = GaussianFamily(weights="equal")
    mixture = DistributedMixture(3, family=family, params_init=start, max_iter=0).fit(X)
    assert mixture.weights_.tolist() == [1 / 3] * 3
    np.testing.assert_array_equal(mixture.means_, start.means)


def test_models_made_of_others_have_free_weights(blobs):
    X, labels = blobs
    parts = [X, X[labels != 0]]
    estimator = DistributedGMM(3, weights="equal", random_state=0, reg_covar=0)
    aggregated = MixtureOfExpertsAggregator(
        n_components=3, estimator=estimator, random_state=0, refine=2
    ).fit(parts)
    assert aggregated.experts_[0].weights_.tolist() == [1 / 3] * 3
    free = gaussian_family("full")(3).n_parameters_of(3)
    assert aggregated.mixture_.n_parameters_ == free
    reduced = reduce_mixtures([fit(X), fit(X[:1000])], random_state=0)
    assert reduced.n_parameters_ == free


def test_what_does_not_go_together_is_refused(blobs):
    X, _ = blobs
    with pytest.raises(ValueError, match="'weights' parameter of DistributedGMM must be a str"):
        DistributedGMM(weights="even").fit(X)
    with pytest.raises(ValueError, match="are not equal, but weights='equal' holds them so"):
        fit(X, weights_init=[0.2, 0.3, 0.5])
    with pytest.raises(ValueError, match="no special case of one with a component more"):
        bootstrap_likelihood_ratio(DistributedGMM(weights="equal"), X, max_components=2)
