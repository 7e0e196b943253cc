"""Standard errors: against derivatives by complex steps, textbook values, simulation, the laws."""

import pickle
import tracemalloc
import warnings

import numpy as np
import pytest
from conftest import CutIn, make_blobs
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.mixture import GaussianMixture

from skdistmix import DistributedGMM, MixtureOfExpertsAggregator
from skdistmix._shards import Block
from skdistmix.families import GAUSSIAN_FAMILIES, ConjugatePrior, Family, FullGaussian, Moments

SHAPED = ("weights", "means", "covariances")
METHODS = ("information", "sandwich")


def fit(X, n_components=3, covariance_type="full", **kwargs):
    """A fit to the maximum of the likelihood."""
    weight = kwargs.pop("sample_weight", None)
    options = {"tol": 1e-13, "max_iter": 20_000, "reg_covar": 0, "random_state": 0, **kwargs}
    gmm = DistributedGMM(n_components, covariance_type=covariance_type, **options)
    return gmm.fit(X, sample_weight=weight)


def assert_same_errors(a, b, rtol=1e-8):
    for name in SHAPED:
        np.testing.assert_allclose(a[name], b[name], rtol=rtol, atol=1e-14)
    scale = np.sqrt(np.diag(b.covariance_matrix))
    atol = rtol * np.outer(scale, scale).max()
    np.testing.assert_allclose(a.covariance_matrix, b.covariance_matrix, atol=atol)


# ------------------------------------------------------------------ numerical derivatives


def entries_of(array, covariance_type):
    """Covariances, or their errors, as the vector of those that are free."""
    if covariance_type in ("full", "tied"):
        i, j = np.triu_indices(array.shape[-1])
        return array[..., i, j].ravel()
    return array.ravel()


def vector_of(weights, means, covariances, covariance_type):
    covariances = entries_of(covariances, covariance_type)
    return np.concatenate([weights[:-1], means.ravel(), covariances])


def log_density(vector, X, K, covariance_type):
    """Of each row; `vector` may be complex."""
    d = X.shape[1]
    weights = np.append(vector[: K - 1], 1 - vector[: K - 1].sum())
    means, rest = np.split(vector[K - 1 :], [K * d])
    means, covariances = means.reshape(K, d), np.zeros((K, d, d), vector.dtype)
    i, j = np.triu_indices(d)
    if covariance_type in ("full", "tied"):
        rest = rest.reshape(-1, len(i))
        covariances[:, i, j] = rest
        covariances[:, j, i] = rest
    else:
        covariances[:, range(d), range(d)] = rest.reshape(K, -1)
    density = 0.0
    for w, mean, cov in zip(weights, means, covariances, strict=True):
        Z = X - mean
        squares = (Z * np.linalg.solve(cov, Z.T).T).sum(axis=1)
        density = density + w * np.exp(-0.5 * squares) / np.sqrt(np.linalg.det(cov))
    return np.log(density) - 0.5 * d * np.log(2 * np.pi)


def gradients(vector, *args):
    """Derivatives of each row's log-density by complex steps, exact to rounding, (p, n_rows)."""
    steps = 1e-30j * np.eye(len(vector))
    return np.stack([log_density(vector + step, *args).imag / 1e-30 for step in steps])


def information(vector, weight, *args):
    """Minus the second derivatives of the log-likelihood, by differences of gradients."""
    rows = []
    for k in range(len(vector)):
        step = np.zeros(len(vector))
        step[k] = 1e-5 * max(1.0, abs(vector[k]))
        change = gradients(vector + step, *args) - gradients(vector - step, *args)
        rows.append(-(change @ weight) / (2 * step[k]))
    return np.array(rows)


@pytest.mark.parametrize("d", [1, 2, 3, 4])
@pytest.mark.parametrize("K", [1, 3])
def test_against_numerical_derivatives(covariance_type, K, d):
    rng = np.random.default_rng(0)
    labels, shapes = rng.integers(0, K, 500), np.eye(d) + 0.3 * rng.normal(size=(K, d, d))
    X = np.einsum("nij,nj->ni", shapes[labels], rng.normal(size=(500, d)))
    X, w = X + 4.0 / np.sqrt(d) * labels[:, None], 3 * rng.random(500)
    # Not at the maximum, so that no term vanishes.
    gmm = fit(X, K, covariance_type, tol=1.0, init_params=labels, sample_weight=w)
    vector = vector_of(gmm.weights_, gmm.means_, gmm.covariances_, covariance_type)
    args = (X, K, covariance_type)
    scores = gradients(vector, *args)
    inverse = np.linalg.inv(information(vector, w, *args))
    expected = {"information": inverse, "sandwich": inverse @ (scores * w) @ scores.T @ inverse}
    for method, covariance in expected.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            errors = gmm.standard_errors(X, method=method, sample_weight=w)
        np.testing.assert_array_equal(errors.estimates, vector)
        scale = np.sqrt(np.diag(covariance))
        np.testing.assert_allclose(
            errors.covariance_matrix / np.outer(scale, scale),
            covariance / np.outer(scale, scale),
            atol=1e-5,
        )
        step = np.abs(inverse @ scores @ w) / scale
        assert errors.distance == pytest.approx(step.max(), rel=1e-4)
        own = np.sqrt(np.diag(errors.covariance_matrix))
        shaped = vector_of(errors.weights, errors.means, errors.covariances, covariance_type)
        np.testing.assert_allclose(shaped, own, rtol=1e-10)
        one_less_the_others = covariance[: K - 1, : K - 1].sum()
        assert errors.weights[-1] == pytest.approx(np.sqrt(one_less_the_others), rel=1e-4)
        for name in SHAPED:
            assert errors[name].shape == getattr(gmm, f"{name}_").shape
        assert len(errors.names) == gmm.n_parameters_ == len(vector)


def test_names_say_where_estimates_stand(covariance_type):
    X, labels = make_blobs()
    gmm = DistributedGMM(3, covariance_type=covariance_type, init_params=labels).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        errors = gmm.standard_errors(X)
    for i, name in enumerate(errors.names):
        attribute, place = name.removesuffix("]").split("[")
        place = tuple(int(p) for p in place.split(","))
        assert getattr(gmm, f"{attribute}_")[place] == errors.estimates[i]
        error = np.sqrt(errors.covariance_matrix[i, i])
        assert errors[attribute][place] == pytest.approx(error, rel=1e-12)


# ------------------------------------------------------------------ textbook values


def test_one_component_has_the_textbook_errors(covariance_type):
    X, _ = make_blobs(n_rows=700, n_components=1)
    errors = fit(X, 1, covariance_type).standard_errors(X)
    (n, d), S = X.shape, np.cov(X.T, bias=True)
    spread, variances = np.sqrt(np.diag(S)), np.diag(S)
    if covariance_type == "spherical":
        spread = np.full(d, np.sqrt(variances.mean()))
        expected = np.array([variances.mean() * np.sqrt(2 / d)])
    elif covariance_type == "diag":
        expected = np.sqrt(2) * variances[None]
    else:
        expected = np.sqrt(np.outer(variances, variances) + S**2)
    np.testing.assert_allclose(errors.means[0], spread / np.sqrt(n), rtol=1e-10)
    np.testing.assert_allclose(
        errors.covariances.reshape(expected.shape), expected / np.sqrt(n), rtol=1e-10
    )
    assert errors.weights == 0.0
    assert errors.distance < 1e-8


def test_sandwich_is_right_for_rows_that_are_not_normal():
    """The errors of a mean and a variance are known from the second and fourth moments."""
    X = np.random.default_rng(0).standard_t(6, size=(3000, 2)) * [1.0, 30.0]
    Z = X - X.mean(axis=0)
    for covariance_type in ("full", "tied", "diag"):
        errors = fit(X, 1, covariance_type).standard_errors(X, method="sandwich")
        np.testing.assert_allclose(errors.means[0], np.sqrt((Z**2).mean(axis=0) / 3000), rtol=1e-8)
        variances = entries_of(errors.covariances, covariance_type)
        variances = variances[[0, -1]]
        np.testing.assert_allclose(variances, (Z**2).std(axis=0) / np.sqrt(3000), rtol=1e-8)
        if covariance_type == "full":
            product = (Z[:, 0] * Z[:, 1]).std() / np.sqrt(3000)
            assert errors.covariances[0, 0, 1] == pytest.approx(product, rel=1e-8)
        wrong = fit(X, 1, covariance_type).standard_errors(X)
        assert (variances > 1.3 * entries_of(wrong.covariances, covariance_type)[[0, -1]]).all()


def test_both_methods_agree_where_the_model_is_right(covariance_type):
    X, _ = simulated(20_000, covariance_type, np.random.default_rng(5))
    gmm = fit(X, 2, covariance_type, tol="likelihood")
    a, b = (gmm.standard_errors(X, method=method) for method in METHODS)
    for name in SHAPED:
        np.testing.assert_allclose(a[name], b[name], rtol=0.06)


# ------------------------------------------------------------------ simulation


def simulated(n, covariance_type, rng):
    """Rows of two components that overlap, and the labels."""
    labels = (rng.random(n) < 0.35).astype(int)
    Z = rng.standard_normal((n, 2))
    if covariance_type == "full":
        Z[labels == 1] = Z[labels == 1] @ np.array([[1.0, 0.6], [0.0, 0.5]])
    elif covariance_type == "tied":
        Z = Z @ np.array([[1.0, 0.6], [0.0, 0.5]])
    elif covariance_type == "diag":
        Z[labels == 1] *= [0.5, 1.5]
    else:
        Z[labels == 1] *= 0.6
    return Z + np.where(labels[:, None] == 1, [2.5, 1.0], 0.0), labels


def spread_against_errors(covariance_type, n_data_sets, n_rows, seed):
    """Standard deviations of estimates over data sets, over the mean of their standard errors."""
    rng, estimates, errors = np.random.default_rng(seed), [], []
    for _ in range(n_data_sets):
        X, labels = simulated(n_rows, covariance_type, rng)
        gmm = fit(X, 2, covariance_type, tol="likelihood", init_params=labels)
        found = gmm.standard_errors(X)
        estimates.append(found.estimates)
        errors.append(np.sqrt(np.diag(found.covariance_matrix)))
    return np.std(estimates, axis=0) / np.mean(errors, axis=0)


def test_errors_are_the_spread_of_estimates(covariance_type):
    ratio = spread_against_errors(covariance_type, n_data_sets=60, n_rows=1500, seed=0)
    assert 0.9 < np.median(ratio) < 1.1
    assert 0.7 < ratio.min() <= ratio.max() < 1.35  # an error of 9 % each


@pytest.mark.slow
def test_errors_are_the_spread_of_estimates_in_many_data_sets(covariance_type):
    ratio = spread_against_errors(covariance_type, n_data_sets=500, n_rows=3000, seed=1)
    assert 0.96 < np.median(ratio) < 1.04
    assert 0.88 < ratio.min() <= ratio.max() < 1.12  # an error of 3 % each


# ------------------------------------------------------------------ laws


@pytest.fixture(scope="module")
def overlapping():
    return make_blobs(spread=1.5)


@pytest.mark.parametrize("method", METHODS)
def test_any_sharding_and_order_gives_the_same_errors(overlapping, covariance_type, method):
    X, labels = overlapping
    gmm = fit(X, 3, covariance_type, init_params=labels)
    whole = gmm.standard_errors(X, method=method)
    for way in CutIn.ways:
        shards = CutIn.cut(X, way)
        assert_same_errors(gmm.standard_errors(shards, method=method), whole)
        assert_same_errors(gmm.standard_errors(shards[::-1], method=method), whole)


@pytest.mark.parametrize("method", METHODS)
def test_weights_are_frequencies(overlapping, covariance_type, method):
    X, labels = overlapping
    counts = np.random.default_rng(0).integers(0, 4, len(X))
    gmm = fit(X, 3, covariance_type, init_params=labels, sample_weight=counts)
    a = gmm.standard_errors(X, method=method, sample_weight=counts)
    assert_same_errors(a, gmm.standard_errors(np.repeat(X, counts, axis=0), method=method))
    tenfold = gmm.standard_errors(X, method=method, sample_weight=10 * counts)
    np.testing.assert_allclose(tenfold.means, a.means / np.sqrt(10), rtol=1e-9)


def moved(gmm, offset=0.0, factors=1.0):
    """The fitted model of rows times factors plus an offset."""
    twin = pickle.loads(pickle.dumps(gmm))
    d = gmm.means_.shape[1]
    factors = np.broadcast_to(factors, d)
    twin.means_ = gmm.means_ * factors + offset
    matrices = gmm.covariance_type in ("full", "tied")
    square = np.outer(factors, factors) if matrices else factors**2
    if gmm.covariance_type == "spherical":
        square = factors[0] ** 2
    twin.covariances_ = gmm.covariances_ * square
    family = GAUSSIAN_FAMILIES[gmm.covariance_type](3)
    twin.precisions_cholesky_ = family.factors_of(twin.covariances_)
    return twin, square


@pytest.mark.parametrize("method", METHODS)
def test_errors_follow_shifts_and_units(overlapping, covariance_type, method):
    X, labels = overlapping
    gmm = fit(X, 3, covariance_type, init_params=labels)
    a = gmm.standard_errors(X, method=method)
    shifted, _ = moved(gmm, offset=1e6)
    b = shifted.standard_errors(X + 1e6, method=method)
    for name in SHAPED:
        np.testing.assert_allclose(b[name], a[name], rtol=1e-6)
    factors = 1e-9 if covariance_type == "spherical" else np.array([1e-6, 1.0, 1e7])
    scaled, square = moved(gmm, factors=factors)
    c = scaled.standard_errors(X * factors, method=method)
    np.testing.assert_allclose(c.weights, a.weights, rtol=1e-8)
    np.testing.assert_allclose(c.means, a.means * factors, rtol=1e-8)
    np.testing.assert_allclose(c.covariances, a.covariances * square, rtol=1e-8)


def test_permuted_components_have_permuted_errors(overlapping, covariance_type):
    X, labels = overlapping
    gmm = fit(X, 3, covariance_type, init_params=labels)
    order, twin = np.array([2, 0, 1]), pickle.loads(pickle.dumps(gmm))
    family, params = gmm._family_and_params()
    twin._set_params(family, family.permute(params, order))
    a, b = gmm.standard_errors(X), twin.standard_errors(X)
    for name in SHAPED:
        tied = name == "covariances" and covariance_type == "tied"
        expected = a[name] if tied else a[name][order]
        np.testing.assert_allclose(b[name], expected, rtol=1e-9)


@pytest.mark.parametrize("where", [0.0, 1.0])
def test_a_component_a_millionth_as_wide_keeps_its_digits(where):
    """Far from its neighbour, each component has the errors that it would have alone."""
    rng = np.random.default_rng(0)
    wide, tight = rng.normal(size=(3000, 2)) * 1e6 + 1e8, rng.normal(size=(1000, 2)) + where
    gmm = fit(np.vstack([wide, tight]), 2, init_params=np.repeat([0, 1], [3000, 1000]))
    for method in METHODS:
        errors = gmm.standard_errors([wide, tight], method=method)
        for k, rows in enumerate((wide, tight)):
            alone = fit(rows, 1).standard_errors(rows, method=method)
            np.testing.assert_allclose(errors.means[k], alone.means[0], rtol=1e-6)
            np.testing.assert_allclose(errors.covariances[k], alone.covariances[0], rtol=1e-6)
        np.testing.assert_allclose(errors.weights, np.sqrt(0.25 * 0.75 / 4000), rtol=1e-6)


def test_rows_far_from_every_component_are_seen():
    X = np.vstack([make_blobs(n_components=1)[0], np.full((1, 3), 1e3)])
    errors = fit(X, 1).standard_errors(X, method="sandwich")
    Z = X - X.mean(axis=0)
    expected = (Z**2).std(axis=0) / np.sqrt(len(X))
    np.testing.assert_allclose(np.diag(errors.covariances[0]), expected, rtol=1e-8)


# ------------------------------------------------------------------ samples, forms, memory


def test_a_sample_stands_for_all_rows(covariance_type):
    X, labels = make_blobs(n_rows=60_000, spread=2)
    w = np.random.default_rng(0).integers(1, 3, len(X))
    gmm = fit(X, 3, covariance_type, tol="likelihood", init_params=labels, sample_weight=w)
    for method in METHODS:
        whole = gmm.standard_errors(X, method=method, sample_weight=w)
        errors = gmm.standard_errors(X, method=method, sample_weight=w, subsample=15_000)
        for name in SHAPED:  # sizes of sums over a fourth of the rows; fourth powers for sandwich
            np.testing.assert_allclose(errors[name], whole[name], rtol=0.2)
        assert np.isnan(errors.distance)
        again = gmm.standard_errors(
            np.array_split(X, 5), method=method, sample_weight=w, subsample=15_000
        )
        assert_same_errors(again, errors)
    small = gmm.standard_errors(X, sample_weight=w, subsample=30_000)  # no saving: all rows
    assert_same_errors(small, gmm.standard_errors(X, sample_weight=w))
    assert small.distance < 0.5


def test_every_form_of_input_gives_the_same_errors(overlapping, tmp_path):
    import pandas as pd

    X, labels = overlapping
    gmm = fit(X, init_params=labels)
    parts = np.array_split(X, 3)
    for i, part in enumerate(parts):
        np.save(tmp_path / f"{i}.npy", part)
    whole = gmm.standard_errors(X)
    for form in (X.tolist(), parts, str(tmp_path / "*.npy"), [pd.DataFrame(p) for p in parts]):
        assert_same_errors(gmm.standard_errors(form), whole)


@pytest.mark.filterwarnings("ignore:Running on a single-machine scheduler:UserWarning")
def test_dask_arrays_give_the_same_errors(overlapping, somewhere):
    da = pytest.importorskip("dask.array")
    X, labels = overlapping
    gmm = fit(X, init_params=labels)
    Z = da.from_array(X, chunks=(900, 3))
    assert_same_errors(gmm.standard_errors(Z), gmm.standard_errors(X))


def test_same_bits_for_every_number_of_workers():
    X, labels = make_blobs(n_rows=200_000, n_features=4)
    gmm = DistributedGMM(3, init_params=labels, tol="likelihood").fit(X)
    one = gmm.set_params(n_jobs=1).standard_errors(X)
    more = gmm.set_params(n_jobs=3).standard_errors(X)
    assert one.covariance_matrix.tobytes() == more.covariance_matrix.tobytes()


def test_memory_does_not_grow_with_rows():
    X, labels = make_blobs(n_rows=400_000, n_features=5)
    gmm = DistributedGMM(3, init_params=labels, tol="likelihood", n_jobs=2).fit(X)
    tracemalloc.start()
    try:
        gmm.standard_errors(X)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6  # the scores alone would be 200 MB


# ------------------------------------------------------------------ other models


def test_models_of_scikit_learn_have_errors(overlapping, covariance_type):
    X, _ = overlapping
    theirs = GaussianMixture(2, covariance_type=covariance_type, tol=1e-12, max_iter=20_000)
    theirs.set_params(reg_covar=0, random_state=0).fit(X)
    errors = DistributedGMM.from_sklearn(theirs).standard_errors(X)
    assert errors.distance < 0.01


def test_aggregates_have_the_errors_of_their_mixture():
    X, _ = make_blobs(n_rows=8000)
    parts = np.array_split(X, 4)
    local = DistributedGMM(tol="likelihood", max_iter=1000)
    model = MixtureOfExpertsAggregator(local, 3, random_state=0, refine=20).fit(parts)
    errors = model.standard_errors(parts)
    assert_same_errors(errors, model.mixture_.standard_errors(X))
    assert errors.distance < 0.5
    full = fit(X, 3, tol="likelihood").standard_errors(X)
    np.testing.assert_allclose(np.sort(errors.weights), np.sort(full.weights), rtol=0.02)


def test_aggregates_far_from_the_maximum_are_told():
    X, _ = make_blobs(n_rows=600)
    model = MixtureOfExpertsAggregator(n_components=3, random_state=0, n_shards=4).fit(X)
    with pytest.warns(ConvergenceWarning, match=r"standard errors from the maximum.*refine"):
        model.standard_errors(X)


@pytest.mark.parametrize(
    "options", [{"aggregation": "stacking"}, {"gate": "softmax"}, {"gate": "gaussian"}]
)
def test_several_mixtures_have_no_errors(blobs, options):
    X, _ = blobs
    model = MixtureOfExpertsAggregator(n_components=2, random_state=0, **options).fit(X)
    with pytest.raises(ValueError, match="standard_errors are those of one mixture"):
        model.standard_errors(X)


class Scoreless(FullGaussian):
    """A family that has not got so far."""

    score_kernel, information = Family.score_kernel, Family.information


def test_a_family_without_scores_says_so(blobs, monkeypatch):
    X, labels = blobs
    gmm = DistributedGMM(3, init_params=labels).fit(X)
    monkeypatch.setitem(GAUSSIAN_FAMILIES, "full", Scoreless)
    with pytest.raises(NotImplementedError, match="Scoreless has no scores"):
        gmm.standard_errors(X)


# ------------------------------------------------------------------ what cannot be


def test_a_fit_that_stopped_early_is_told():
    X, _ = make_blobs(n_rows=20_000, spread=1.5)
    gmm = DistributedGMM(2, random_state=2).fit(X)  # the default tol: not enough for so many rows
    with pytest.warns(ConvergenceWarning, match="Fit with tol='likelihood'") as record:
        errors = gmm.standard_errors(X)
    assert record[0].filename == __file__
    assert errors.distance > 0.5
    with pytest.warns(ConvergenceWarning, match="convergence_gap_ is"):
        gmm.standard_errors(X, subsample=5000)
    gmm.set_params(tol="likelihood", max_iter=1000).fit(X)
    errors, at = gmm.standard_errors(X), gmm.means_
    assert errors.distance < 0.05
    gmm.means_ = at + 3 * errors.means
    with pytest.warns(ConvergenceWarning, match="standard errors from the maximum"):
        assert 1 < gmm.standard_errors(X).distance


@pytest.mark.parametrize(
    "option",
    [
        {"reg_covar": 0.2},
        {"prior": ConjugatePrior(shrinkage=20)},
        {"covariance_penalty": 20.0},
    ],
)
def test_estimates_drawn_from_the_maximum_are_told(blobs, option):
    X, labels = blobs
    gmm = fit(X, 3, "spherical", tol="likelihood", init_params=labels, **option)
    with pytest.warns(ConvergenceWarning, match="moves estimates on purpose"):
        gmm.standard_errors(X)


def test_singular_information_is_an_error():
    """A component that reg_covar alone keeps from collapsing."""
    X, _ = make_blobs(n_rows=300, n_components=1)
    X[:40] = X[0]
    labels = np.where(np.arange(300) < 40, 1, 0)
    gmm = DistributedGMM(2, init_params=labels, reg_covar=1e-3).fit(X)
    for method in METHODS:
        with pytest.raises(ValueError, match=r"most of all in component 1: .*holds parameters"):
            gmm.standard_errors(X, method=method)


def test_two_equal_components_are_an_error(covariance_type):
    X, _ = make_blobs(n_rows=500, n_components=1)
    one = fit(X, 1, covariance_type)
    gmm = fit(X, 2, covariance_type, max_iter=0, init_params=np.arange(500) % 2)
    shared = covariance_type == "tied"
    gmm.weights_, gmm.means_ = np.array([0.5, 0.5]), np.repeat(one.means_, 2, axis=0)
    for name in ("covariances_", "precisions_cholesky_"):
        value = getattr(one, name)
        setattr(gmm, name, value if shared else np.repeat(value, 2, axis=0))
    with pytest.raises(ValueError, match="The observed information"):
        gmm.standard_errors(X)


def test_components_without_rows_are_an_error(blobs):
    X, labels = blobs
    gmm = DistributedGMM(3, init_params=labels).fit(X)
    gmm.weights_ = np.array([0.5, 0.0, 0.5])
    with pytest.raises(ValueError, match=r"Components \[1\] have weight 0"):
        gmm.standard_errors(X)


def test_too_few_rows_are_an_error():
    X, _ = make_blobs(n_rows=28)
    gmm = DistributedGMM(3, random_state=0, reg_covar=0.1).fit(X)
    with pytest.raises(ValueError, match=r"28 rows are too few .* of 29 free .*fewer components"):
        gmm.standard_errors(X)
    with pytest.raises(ValueError, match=r"0\.28 rows are too few .*frequencies"):
        gmm.standard_errors(X, sample_weight=np.full(28, 0.01))
    X, labels = make_blobs()
    gmm = fit(X, init_params=labels)
    with pytest.raises(ValueError, match=r"too few .*larger subsample"):
        gmm.standard_errors(X, subsample=10)


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"X": np.zeros((50, 2))}, "X has 2 features"),
        ({"X": [np.zeros((50, 2))]}, "X has 2 features"),
        ({"X": np.full((50, 3), np.nan)}, "NaN"),
        ({"method": "hessian"}, "The 'method' parameter of standard_errors must be"),
        ({"subsample": 0}, "The 'subsample' parameter of standard_errors must be"),
        ({"sample_weight": np.ones(3)}, "sample_weight has shape"),
        ({"sample_weight": -np.ones(3000)}, "negative"),
    ],
)
def test_bad_input_is_refused(blobs, kwargs, match):
    X, labels = blobs
    gmm = DistributedGMM(3, init_params=labels).fit(X)
    with pytest.raises(ValueError, match=match):
        gmm.standard_errors(**{"X": X, **kwargs})


def test_unfitted_models_are_refused(blobs):
    for model in (DistributedGMM(), MixtureOfExpertsAggregator()):
        with pytest.raises(NotFittedError):
            model.standard_errors(blobs[0])


# ------------------------------------------------------------------ the kernel


def test_sums_add_over_blocks(covariance_type):
    X, labels = make_blobs(n_rows=900)
    family = GAUSSIAN_FAMILIES[covariance_type](3).prepare(Moments.of_rows(X, None, True, 3))
    resp = np.eye(3)[labels].T
    params = family.m_step(family.statistics(X, None, resp, np.zeros((3, 3))))
    kernel = family.score_kernel(params)
    blocks = [Block(X[i : i + 250], None, range(i, i + 250)) for i in range(0, 900, 250)]
    whole, parts = kernel.sums([Block(X, None, range(900))]), kernel.sums(blocks)
    assert parts.weight == 900
    np.testing.assert_allclose(parts.products, whole.products, rtol=1e-10, atol=1e-9)
    np.testing.assert_allclose(parts.complete, whole.complete, rtol=1e-10, atol=1e-9)
    assert kernel.sums([]) is None
