"""What strangers met when they wrote families of their own."""

import warnings
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from poisson import PoissonFamily, make_counts
from sklearn.exceptions import ConvergenceWarning

from skdistmix import DistributedGMM, DistributedMixture
from skdistmix.families import DegenerateComponentError, FamilyError, GaussianFamily
from skdistmix.mixture._family_model import RESULTS


@pytest.fixture(scope="module")
def X():
    return make_counts(300)[0]


def fitted(X, family, n_components=3, **options):
    mixture = DistributedMixture(n_components, family=family, random_state=0, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(X)


# ------------------------------------------------------------------ rows


class Doubling(PoissonFamily):
    """A bug: rows are changed in place."""

    def log_density(self, X, params):
        X *= 2
        return super().log_density(X, params)


def test_a_family_cannot_change_the_rows_of_its_user(X):
    rows = X.copy()
    with pytest.raises(ValueError, match="read-only"):
        fitted(rows, Doubling())
    assert_array_equal(rows, X)


def test_streams_are_averaged_with_sums(X):
    mixture = DistributedMixture(3, family=PoissonFamily(), average=True, random_state=0)
    for batch in np.array_split(X, 3):
        mixture.partial_fit(batch)
    assert np.isfinite(mixture.score(X))


def test_later_batches_are_checked_as_the_first(X):
    mixture = DistributedMixture(3, family=PoissonFamily(), random_state=0).partial_fit(X)
    with pytest.raises(ValueError, match=r"Columns \[0, 1, 2\] have values below 0"):
        mixture.partial_fit(-X)


# ------------------------------------------------------------------ parameters


@dataclass(frozen=True)
class OtherParams:
    weights: np.ndarray
    means: np.ndarray


@dataclass(frozen=True)
class HiddenParams:
    weights: np.ndarray
    rates: np.ndarray
    lower_bound: np.ndarray


class Hidden(PoissonFamily):
    """The name of a parameter is that of a result of every estimator."""

    def m_step(self, stats, previous=None):
        params = super().m_step(stats, previous)
        return HiddenParams(params.weights, params.rates, params.rates)


class Lists(PoissonFamily):
    def m_step(self, stats, previous=None):
        params = super().m_step(stats, previous)
        return replace(params, weights=params.weights.tolist())


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_parameters_named_like_results_are_refused(X, method):
    mixture = DistributedMixture(3, family=Hidden(), random_state=0)
    with pytest.raises(FamilyError, match=r"Hidden has parameters \['lower_bound'\], but"):
        getattr(mixture, method)(X)


def test_all_results_are_known_by_name(X):
    frame = pytest.importorskip("pandas").DataFrame(X, columns=list("abc"))
    mixture = fitted(frame, PoissonFamily())
    there = {name[:-1] for name in vars(mixture) if name.endswith("_")}
    mixture = DistributedMixture(3, family=PoissonFamily(), random_state=0).partial_fit(frame)
    there |= {name[:-1] for name in vars(mixture) if name.endswith("_")}
    assert there == RESULTS | {"weights", "rates"}


def test_lists_are_no_arrays(X):
    with pytest.raises(FamilyError, match="field weights is no array but a list"):
        fitted(X, Lists())


def test_params_init_of_another_family_or_other_columns(X):
    params = fitted(X, PoissonFamily()).params_
    message = r"params_init are no parameters of 3 component\(s\) of PoissonFamily in 3 column"
    narrow = replace(params, rates=params.rates[:, :2])
    more = replace(params, rates=np.vstack([params.rates, params.rates]))
    for wrong in (OtherParams(params.weights, params.rates), narrow, more):
        with pytest.raises(ValueError, match=message):
            fitted(X, PoissonFamily(), params_init=wrong)
    gaussian = fitted(X, GaussianFamily("diag")).params_
    with pytest.raises(ValueError, match=r"no parameters of 3 .* of FullGaussian"):
        fitted(X, GaussianFamily(), params_init=gaussian)
    with pytest.raises(ValueError, match=r"means should have the shape \(3, 1\)"):
        fitted(X[:, :1], GaussianFamily("diag"), params_init=gaussian)


class Broadcasting(PoissonFamily):
    """One column meets parameters of several without an error."""

    def log_density(self, X, params):
        rates = params.rates[:, None]  # (n_components, 1, n_features)
        return (X[None] * np.log(rates) - rates).sum(axis=2)


def test_params_init_of_more_columns_than_one(X):
    params = fitted(X, Broadcasting()).params_
    with pytest.raises(FamilyError, match=r"rates of shape \(3, 1\), but they had the shape"):
        fitted(X[:, :1], Broadcasting(), params_init=params)


@pytest.mark.parametrize("given", ["params_init", "init_params"])
def test_a_given_start_is_one_start(X, given):
    start = fitted(X, PoissonFamily(), max_iter=2)
    value = start.params_ if given == "params_init" else start.predict(X)
    mixture = fitted(X, PoissonFamily(), n_init=4, **{given: value})
    assert mixture.init_scores_.shape == (1,)


def test_class_that_is_defined_anew_is_the_same_family(X):
    mixture = fitted(X, PoissonFamily(), warm_start=True)
    again = type("PoissonFamily", (PoissonFamily,), {"__module__": PoissonFamily.__module__})
    mixture.set_params(family=again())
    assert mixture.fit(X).family_.__class__ is again


def test_only_covariance_types_are_taken_for_such(X):
    with pytest.raises(TypeError) as caught:
        fitted(X, "poisson")
    assert "GaussianFamily(covariance_type" not in str(caught.value)
    with pytest.raises(TypeError, match="got the class dict"):
        fitted(X, dict)


def test_advice_is_not_only_for_gaussians(X):
    mixture = DistributedGMM(2, covariance_type="full", reg_covar=0.0, random_state=0)
    with pytest.raises(DegenerateComponentError, match=r"a prior or a penalty .Gaussian ones have"):
        mixture.partial_fit(X[:3])


# ------------------------------------------------------------------ densities and samples


class Bounded(PoissonFamily):
    """Counts up to a bound, of density zero beyond it."""

    def log_density(self, X, params):
        return np.where((X > 60).any(axis=1), -np.inf, super().log_density(X, params))


def test_rows_of_density_zero(X):
    mixture = fitted(X, Bounded())
    rows = np.vstack([X[:2], [[61.0, 0.0, 0.0]]])
    assert_array_equal(np.isneginf(mixture.score_samples(rows)), [False, False, True])
    assert_allclose(mixture.predict_proba(rows).sum(axis=1), 1.0)
    assert mixture.score(rows) == -np.inf
    assert mixture.score(rows[:2]) == pytest.approx(mixture.score_samples(rows[:2]).mean())


def test_sample_that_draws_too_few_rows(X):
    class Few(PoissonFamily):
        def sample(self, params, counts, rng):
            return rng.poisson(params.rates)

    mixture = fitted(X, Few())
    with pytest.raises(FamilyError, match=r"Few.sample gave an array of shape \(3, 3\): expected"):
        mixture.sample(10)


# ------------------------------------------------------------------ formulas


class Shifted(PoissonFamily):
    """A bug: the M-step does not maximise what the log-density says."""

    def m_step(self, stats, previous=None):
        params = super().m_step(stats, previous)
        return replace(params, rates=params.rates + np.arange(len(params.rates))[:, None])


def test_falling_objective_is_a_warning(X):
    start = fitted(X, PoissonFamily(), tol=1e-6, max_iter=500).params_
    with pytest.warns(
        UserWarning, match=r"fell by .* in iteration 1, .* m_step of Shifted"
    ) as told:
        fitted(X, Shifted(), params_init=start)
    assert told[0].filename == __file__

    class Meant(Shifted):
        monotone = False

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted(X, Meant(), params_init=start)
        fitted(X, PoissonFamily(), tol=0, max_iter=300)


@pytest.mark.parametrize("value", [np.nan, np.inf, np.zeros(3)])
def test_prior_that_is_no_number(X, value):
    class Odd(PoissonFamily):
        def log_prior(self, params):
            return value

    with pytest.raises(FamilyError, match=r"Odd.log_prior gave .*: expected one number"):
        fitted(X, Odd())
