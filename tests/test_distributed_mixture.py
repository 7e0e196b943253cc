"""DistributedMixture: mixtures of the package's families and of families that users write."""

import pickle
import warnings
from dataclasses import dataclass, replace

import numpy as np
import pytest
from conftest import CutIn
from numpy.testing import assert_allclose, assert_array_equal
from poisson import RATES, PoissonFamily, PoissonParams, make_counts
from scipy.special import gammaln, logsumexp
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV

from skdistmix import DistributedGMM, DistributedMixture
from skdistmix.families import (
    ConjugatePrior,
    DegenerateComponentError,
    Family,
    FamilyError,
    GaussianFamily,
    Sums,
)
from skdistmix.model_selection import FullData, neg_bic

FIXED = {"tol": 0, "max_iter": 15}


class StreamedPoisson(PoissonFamily):
    def implied_statistics(self, params, total=1.0):
        return Sums(1.0, 0.0, params.weights, params.weights[:, None] * params.rates)


@dataclass(frozen=True)
class NormalParams:
    weights: np.ndarray
    means: np.ndarray
    variances: np.ndarray


class NormalFamily(Family):
    """Diagonal Gaussians, as a user would write them, to be compared with those of the package."""

    def summands(self, X):
        return np.hstack([X, X**2])

    def log_density(self, X, params):
        spread = params.variances[:, None]  # (n_components, 1, n_features)
        squares = (X[None] - params.means[:, None]) ** 2
        return -0.5 * (squares / spread + np.log(2 * np.pi * spread)).sum(axis=2)

    def m_step(self, stats, previous=None):
        means, squares = np.hsplit(stats.averages, 2)
        return NormalParams(stats.weights, means, squares - means**2)

    def n_parameters(self):
        return self.n_components * (1 + 2 * self.n_features) - 1


@pytest.fixture(scope="module")
def counts():
    """Rows of counts, and the component of each."""
    return make_counts()


def fitted(X, family=None, sample_weight=None, n_components=3, **options):
    family = PoissonFamily() if family is None else family
    mixture = DistributedMixture(n_components, family=family, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(X, sample_weight=sample_weight)


def assert_same(a, b, rtol=1e-8):
    for name in ("weights_", "rates_"):
        assert_allclose(getattr(a, name), getattr(b, name), rtol=rtol, atol=1e-10)
    assert_allclose(a.lower_bounds_, b.lower_bounds_, rtol=1e-9)


def textbook(X, resp, n_iter):
    """EM for Poisson mixtures, all rows in one place (McLachlan and Peel 2000, section 2.8)."""
    values = []
    for _ in range(n_iter + 1):
        weights = resp.mean(axis=0)
        rates = (resp.T @ X) / resp.sum(axis=0)[:, None]
        log_joint = np.log(weights) + np.array(
            [[(x * np.log(rate) - rate - gammaln(x + 1)).sum() for rate in rates] for x in X]
        )
        norm = logsumexp(log_joint, axis=1)
        resp = np.exp(log_joint - norm[:, None])
        values.append(norm.mean())
    return weights, rates, values


# ------------------------------------------------------------------ a family of a user


def test_fit_is_that_of_the_textbook(counts):
    X, _ = counts
    rough = np.argmax(X @ np.array([[0, 1, 0.3], [1, 0, 0.5], [0.7, 0.7, 0]]).T, axis=1)
    weights, rates, values = textbook(X, np.eye(3)[rough], FIXED["max_iter"])
    for shards in (X, CutIn.cut(X, "ragged")):
        mixture = fitted(shards, init_params=rough, **FIXED)
        assert_allclose(mixture.weights_, weights, rtol=1e-8)
        assert_allclose(mixture.rates_, rates, rtol=1e-8)
        assert_allclose(mixture.lower_bounds_, values[1:], rtol=1e-10)
        assert_allclose(mixture.objectives_, values, rtol=1e-10)


def test_default_start_finds_the_components(counts):
    X, labels = counts
    mixture = fitted(CutIn.cut(X, "seven"), tol="likelihood", max_iter=500, random_state=0)
    assert mixture.converged_
    order = np.argsort(mixture.rates_[:, 0])
    assert_allclose(mixture.rates_[order], RATES, atol=0.5)
    right = np.argsort(order)[mixture.predict(X)] == labels
    assert right.mean() > 0.95
    one = fitted(X, tol="likelihood", max_iter=500, random_state=0)
    assert_same(mixture, one)


@pytest.mark.parametrize("init_params", ["k-means++", "random", "random_from_data", "hierarchical"])
def test_every_start_works_for_any_family(counts, init_params):
    X, _ = counts
    mixture = fitted(X, init_params=init_params, n_init=3, tol=1e-6, max_iter=500, random_state=0)
    best = fitted(X, tol=1e-6, max_iter=500, random_state=0)
    assert mixture.lower_bound_ == pytest.approx(best.lower_bound_, abs=1e-4)


def test_sample_first(counts):
    X, _ = counts
    rows = np.tile(X, (4, 1))
    mixture = fitted(rows, subsample=1000, tol=1e-7, max_iter=300, random_state=0)
    assert_allclose(mixture.score(X), fitted(X, tol=1e-7, max_iter=300).score(X), atol=1e-5)


def test_criteria(counts):
    X, _ = counts
    mixture = fitted(X, random_state=0, **FIXED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of the criteria
        assert mixture.bic(X) == pytest.approx(mixture.bic_)
    assert mixture.score(X) == pytest.approx(mixture.lower_bound_, rel=1e-12)
    assert mixture.n_parameters_ == 3 * 4 - 1


def test_predictions(counts):
    X, _ = counts
    mixture = fitted(X, random_state=0)
    log_joint = np.log(mixture.weights_)[:, None] + PoissonFamily().log_density(X, mixture.params_)
    assert_allclose(mixture.score_samples(X), logsumexp(log_joint, axis=0))
    assert_array_equal(mixture.predict(X), log_joint.argmax(axis=0))
    assert_allclose(mixture.predict_proba(X).sum(axis=1), 1.0)
    assert [len(one) for one in mixture.predict([X[:10], X[10:]])] == [10, len(X) - 10]


def test_samples(counts):
    mixture = fitted(counts[0], random_state=0)
    X, y = mixture.sample(4000)
    assert X.shape == (4000, 3)
    for k in range(3):
        assert_allclose(X[y == k].mean(axis=0), mixture.rates_[k], atol=0.3)


def test_state_survives_pickling_and_cloning(counts):
    X, _ = counts
    mixture = fitted(X, PoissonFamily(floor=1e-3), random_state=0)
    back = pickle.loads(pickle.dumps(mixture))
    assert_array_equal(back.predict_proba(X), mixture.predict_proba(X))
    twin = clone(mixture)
    assert not hasattr(twin, "weights_")
    assert twin.get_params()["family__floor"] == 1e-3
    twin.set_params(family__floor=1e-2)
    assert (twin.family.floor, mixture.family.floor) == (1e-2, 1e-3)
    assert not hasattr(mixture.family, "n_components"), "what users give is left as it is"
    assert not len(mixture.family_.moments.distinct), "no row is kept"


def test_refit_with_another_family_leaves_nothing_of_the_first(counts):
    X, _ = counts
    mixture = fitted(X, random_state=0)
    mixture.set_params(family=GaussianFamily("diag")).fit(X)
    assert not hasattr(mixture, "rates_")
    assert mixture.means_.shape == (3, 3)
    assert_array_equal(mixture.params_.means, mixture.means_)


def test_warm_start(counts):
    X, _ = counts
    whole = fitted(X, random_state=0, tol=0, max_iter=10)
    half = fitted(X, random_state=0, tol=0, max_iter=5, subsample=None)
    again = half.set_params(warm_start=True)
    with pytest.warns(ConvergenceWarning):
        again.fit(X)
    assert_allclose(again.rates_, whole.rates_, rtol=1e-12)
    for other in ({"n_components": 2}, {"family": GaussianFamily()}):
        with pytest.raises(ValueError, match=r"3 component\(s\) of PoissonFamily in 3 column"):
            pickle.loads(pickle.dumps(again)).set_params(**other).fit(X)


def test_streams(counts):
    X, _ = counts
    mixture = DistributedMixture(3, family=StreamedPoisson(), random_state=0)
    for batch in np.array_split(X, 10):
        mixture.partial_fit(batch)
    assert mixture.n_samples_seen_ == len(X)
    assert_allclose(mixture.score(X), fitted(X, random_state=0).score(X), atol=0.01)
    again = fitted(X, StreamedPoisson(), tol=1e-8, max_iter=500, random_state=0)
    before = again.rates_
    again.partial_fit(X)
    assert_allclose(again.rates_, before, rtol=1e-4)
    assert again.n_samples_seen_ == 2 * len(X)
    with pytest.raises(NotImplementedError, match="implied_statistics"):
        fitted(X, random_state=0).partial_fit(X)


def test_search_over_a_parameter_of_the_family(counts):
    X, _ = counts
    shards = np.array_split(X, 4)
    grid = {"n_components": [2, 3], "family__floor": [1e-6, 5.0]}
    search = GridSearchCV(
        DistributedMixture(family=PoissonFamily(), tol="likelihood", max_iter=500, random_state=0),
        grid, scoring=neg_bic, cv=FullData(), error_score="raise",
    ).fit(shards)  # fmt: skip
    assert search.best_params_ == {"n_components": 3, "family__floor": 1e-6}
    assert search.best_score_ == pytest.approx(-search.best_estimator_.bic_)


def test_user_written_gaussians_are_those_of_the_package(counts):
    X = counts[0] + np.random.default_rng(0).normal(size=counts[0].shape)
    labels = (X[:, 0] > 4).astype(int) + (X[:, 1] > 10)
    theirs = fitted(X, NormalFamily(), init_params=labels, **FIXED)
    ours = fitted(X, GaussianFamily("diag", reg_covar=0), init_params=labels, **FIXED)
    assert_allclose(theirs.means_, ours.means_, rtol=1e-8)
    assert_allclose(theirs.variances_, ours.covariances_, rtol=1e-8)
    assert_allclose(theirs.lower_bounds_, ours.lower_bounds_, rtol=1e-10)
    assert theirs.n_parameters_ == ours.n_parameters_


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
@pytest.mark.parametrize("family", [PoissonFamily(), NormalFamily()])
def test_other_number_types_give_the_start_of_their_float64_values(counts, dtype, family):
    X, labels = counts
    rows = (10 * X + 0.1).astype(dtype)  # of float32, squares have more digits than they keep
    typed = fitted(rows, family, init_params=labels, max_iter=0)
    whole = fitted(rows.astype(np.float64), family, init_params=labels, max_iter=0)
    for name, value in vars(typed.params_).items():
        assert_allclose(value, getattr(whole.params_, name), rtol=1e-12)


def test_forms_of_input(counts, tmp_path):
    X, labels = counts
    np.save(tmp_path / "counts.npy", X)
    whole = fitted(X, init_params=labels, **FIXED)
    pandas = pytest.importorskip("pandas")
    forms = [X.tolist(), list(np.array_split(X, 3)), tmp_path / "counts.npy",
             np.load(tmp_path / "counts.npy", mmap_mode="r"), pandas.DataFrame(X)]  # fmt: skip
    for form in forms:
        assert_same(fitted(form, init_params=labels, **FIXED), whole)
    dask = pytest.importorskip("dask.array")
    lazy = dask.from_array(X, chunks=(400, 3))
    assert_same(fitted(lazy, init_params=labels, **FIXED), whole)
    assert_array_equal(whole.predict(lazy).compute(), whole.predict(X))


def test_component_without_rows_stays(counts):
    X, _ = counts
    start = fitted(X, random_state=0).params_
    far = replace(start, rates=np.vstack([start.rates[:2], [[1e6] * 3]]))
    mixture = fitted(X, params_init=far, max_iter=5)
    assert mixture.weights_[2] == 0.0
    assert np.isfinite(mixture.lower_bound_)
    assert set(mixture.predict(X)) == {0, 1}


def test_device_is_for_families_that_compute_there(counts):
    torch = pytest.importorskip("torch")
    X = torch.asarray(counts[0])
    with pytest.raises(ValueError, match="PoissonFamily computes in NumPy"):
        fitted(X, device="cpu")
    mixture = fitted(X, random_state=0, **FIXED)
    assert_same(mixture, fitted(counts[0], random_state=0, **FIXED))
    assert isinstance(mixture.predict(X), torch.Tensor)


# ------------------------------------------------------------------ Gaussians


@pytest.mark.parametrize(
    "options",
    [{}, {"covariance_type": "tied"}, {"covariance_type": "VVE"},
     {"covariance_type": "spherical", "prior": ConjugatePrior()},
     {"covariance_type": "EEI", "covariance_penalty": "auto", "reg_covar": 0}],
)  # fmt: skip
def test_gaussian_family_is_distributed_gmm(blobs, options):
    X, _ = blobs
    shared = {"random_state": 0, "acceleration": "squarem", "n_init": 2}
    gmm = DistributedGMM(3, **options, **shared).fit(X)
    mixture = DistributedMixture(3, family=GaussianFamily(**options), **shared).fit(X)
    for name in ("weights", "means", "covariances", "precisions", "precisions_cholesky"):
        assert_array_equal(getattr(mixture, f"{name}_"), getattr(gmm, f"{name}_"))
    for name in ("lower_bounds_", "objectives_", "bic_", "icl_", "n_iter_", "n_parameters_"):
        assert getattr(mixture, name) == getattr(gmm, name)
    assert_allclose(mixture.score_samples(X), gmm.score_samples(X), rtol=1e-10)
    assert_allclose(mixture.sample(20)[0], gmm.sample(20)[0])
    gmm.partial_fit(X[:500])
    mixture.partial_fit(X[:500])
    assert_array_equal(mixture.means_, gmm.means_)
    assert not hasattr(mixture, "bic_")


def test_gaussian_by_default_and_its_standard_errors(blobs):
    X, _ = blobs
    mixture = DistributedMixture(3, tol=1e-8, max_iter=500, random_state=0).fit(X)
    gmm = DistributedGMM(3, tol=1e-8, max_iter=500, random_state=0).fit(X)
    ours, theirs = mixture.standard_errors(X), gmm.standard_errors(X)
    assert ours.names == theirs.names
    assert_allclose(ours.covariance_matrix, theirs.covariance_matrix)


def test_log_density_of_gaussians_is_that_of_their_kernel(blobs):
    X, _ = blobs
    mixture = DistributedMixture(3, random_state=0).fit(X)
    log_joint = mixture.family_.log_density(X, mixture.params_) + np.log(mixture.weights_)[:, None]
    assert_allclose(logsumexp(log_joint, axis=0), mixture.score_samples(X))


@pytest.mark.parametrize(
    "family, message",
    [
        (GaussianFamily("ful"), "covariance_type='ful' is not known. Did you mean 'full'"),
        (GaussianFamily(reg_covar=-1.0), "reg_covar.*GaussianFamily"),
        (GaussianFamily("VVE", prior="auto"), "no conjugate prior for covariance_type='VVE'"),
        (GaussianFamily(prior="auto", covariance_penalty="auto"), "Both covariance_penalty and"),
    ],
)
def test_wrong_parameters_of_gaussians(blobs, family, message):
    with pytest.raises(ValueError, match=message):
        DistributedMixture(family=family).fit(blobs[0])


def test_constant_columns_are_named():
    X = np.random.default_rng(0).normal(size=(50, 2))
    X[:, 1] = 3.0
    with pytest.warns(UserWarning, match=r"Columns \[1\] are constant"):
        DistributedMixture().fit(X)
    with pytest.raises(ValueError, match=r"Columns \[1\] are constant, and with reg_covar=0"):
        DistributedMixture(family=GaussianFamily(reg_covar=0)).fit(X)


# ------------------------------------------------------------------ what is wrong is said


class MakesNothing:
    def frozen(self, n_components, n_features):
        return n_components


@pytest.mark.parametrize(
    "family, message",
    [
        (PoissonFamily, r"the class PoissonFamily: give an instance, family=PoissonFamily\(\)"),
        (GaussianFamily, "the class GaussianFamily: give an instance"),
        ("tied", r"got .*'tied'.*Did you mean GaussianFamily\(covariance_type='tied'\)"),
        (3, "family should be an instance of families.GaussianFamily or families.Family, or None"),
        (PoissonParams(None, None), "got .*PoissonParams"),
        (MakesNothing(), "MakesNothing.frozen has to return an instance of a subclass"),
    ],
)
def test_no_family(counts, family, message):
    with pytest.raises(TypeError, match=message):
        DistributedMixture(family=family).fit(counts[0])


def test_class_without_a_method_says_which():
    class Half(Family):
        def log_density(self, X, params):
            return None

    with pytest.raises(TypeError, match=r"abstract methods '?m_step'?, '?n_parameters"):
        Half()


def broken(**methods):
    return type("Broken", (PoissonFamily,), methods)()


def transposed(self, X, params):
    return PoissonFamily.log_density(self, X, params).T


def not_a_number(self, X, params):
    return np.where(np.arange(len(X)) == 7, np.nan, PoissonFamily.log_density(self, X, params))


def impossible(self, X, params):
    return np.where(X[:, 0] > 15, -np.inf, PoissonFamily.log_density(self, X, params))


def negative_rates(self, stats, previous=None):
    return PoissonParams(stats.weights, -stats.averages)


@dataclass(frozen=True)
class NotAdded:
    weight: float
    log_likelihood: float


@pytest.mark.parametrize(
    "methods, message",
    [
        ({"log_density": transposed}, r"log_density gave an array of shape \(1500, 3\): expected"),
        ({"log_density": not_a_number}, r"log_density gave \[nan nan nan\] for the row"),
        ({"log_density": impossible}, r"Row \d+ of X, .* has density zero under all components"),
        ({"summands": lambda self, X: X.sum(axis=1)}, r"summands gave .* shape \(1500,\)"),
        ({"summands": lambda self, X: X[:-1]}, r"for 1500 rows: expected \(n_rows, n_values\)"),
        ({"summands": lambda self, X: X / 0 * np.inf}, "field sums holds NaN or infinity"),
        ({"statistics": lambda self, *rows: np.zeros(3)}, "statistics has to return .*got ndarray"),
        ({"statistics": lambda self, *rows: NotAdded(1.0, 0.0)}, r"supports \+.*got NotAdded"),
        (
            {"statistics": lambda self, X, w, resp, a: Sums(1.0, 0.0, resp.sum(axis=1), resp @ X)},
            "have weight 1, but the weights of all rows sum to 1500",
        ),
        ({"m_step": lambda self, stats, previous: stats.averages}, "m_step .* got ndarray"),
        (
            {"m_step": lambda self, stats, p: PoissonParams(stats.weights[:2], stats.averages)},
            r"here \(3,\); got weights of shape \(2,\)",
        ),
        (
            {"m_step": lambda self, stats, p: PoissonParams(stats.counts, stats.averages)},
            "at least 0 and sum to 1; got",
        ),
        (
            {"m_step": lambda self, s, p: PoissonParams(s.weights, s.averages + np.inf)},
            "field rates holds NaN or infinity",
        ),
        ({"n_parameters": lambda self: None}, "n_parameters gave None: expected the number"),
        ({"prepare": lambda self, moments: self}, "super.*prepare.moments"),
    ],
)  # fmt: skip
def test_family_that_breaks_its_contract(counts, methods, message):
    with np.errstate(all="ignore"), pytest.raises(FamilyError, match=message):
        fitted(counts[0], broken(**methods), random_state=0)


def test_nan_from_parameters_at_the_rim(counts):
    with np.errstate(all="ignore"), pytest.raises(FamilyError, match="keep m_step away from it"):
        fitted(counts[0], broken(m_step=negative_rates), random_state=0)


def test_rows_that_a_family_refuses(counts):
    X = counts[0].copy()
    X[3, 1] = -1.0
    with pytest.raises(ValueError, match=r"Columns \[1\] have values below 0"):
        fitted(X)
    frame = pytest.importorskip("pandas").DataFrame(X, columns=list("abc"))
    with pytest.raises(ValueError, match=r"Columns \['b'\] have values below 0"):
        fitted(frame)


def test_error_of_a_component_that_degenerates_in_all_starts(counts):
    def refused(self, stats, previous=None):
        raise DegenerateComponentError("Component 0 has no density.")

    with pytest.raises(DegenerateComponentError, match="Component 0 has no density"):
        fitted(counts[0], broken(m_step=refused), random_state=0)


def test_abilities_that_a_family_lacks_are_named(counts):
    X, _ = counts
    with pytest.raises(NotFittedError):
        DistributedMixture(family=PoissonFamily()).predict(X)
    mixture = fitted(X, NormalFamily(), random_state=0)
    with pytest.raises(NotImplementedError, match=r"sample\(params, counts, rng\)"):
        mixture.sample(3)
    with pytest.raises(NotImplementedError, match="score_kernel and information"):
        mixture.standard_errors(X)
    with pytest.warns(UserWarning, match="PoissonFamily has no coordinates"):
        DistributedMixture(3, family=PoissonFamily(), acceleration="squarem").fit(X)
    custom = broken(statistics=lambda self, X, w, resp, a: Plain(float(len(X)), 0.0, resp @ X),
                    m_step=lambda self, stats, p: stats.params())  # fmt: skip
    with pytest.raises(NotImplementedError, match=r"give them the methods scaled"):
        DistributedMixture(3, family=custom).partial_fit(X)


@dataclass(frozen=True)
class Plain:
    """Statistics that can be added, and no more."""

    weight: float
    log_likelihood: float
    sums: np.ndarray

    def __add__(self, other):
        return Plain(self.weight + other.weight, 0.0, self.sums + other.sums)

    def params(self):
        return PoissonParams(np.full(3, 1 / 3), np.abs(self.sums) / self.weight + 0.1)


@pytest.mark.parametrize(
    "params",
    [
        RATES,
        PoissonParams(np.array([0.5, 0.5]), RATES[:2]),
        PoissonParams(np.full(3, 1 / 3), RATES * np.nan),
    ],
)
def test_wrong_params_init(counts, params):
    with pytest.raises(ValueError, match=r"params_init are no parameters of 3 component\(s\)"):
        fitted(counts[0], params_init=params)
