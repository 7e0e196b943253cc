"""Random mixtures with a given overlap, their rows, the overlap of any mixture; bundled data."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import chi2, ncx2, norm
from sklearn.datasets import load_iris

from skdistmix.datasets import (
    load_electricity_profiles,
    make_gaussian_mixture,
    make_gaussian_population,
    mixture_overlap,
    sample_gaussian_mixture,
)
from skdistmix.datasets._contour import Pairs, misclassification


def parameters(population):
    return population.weights, population.means, population.covariances


def random_mixture(n_components, n_features, seed=0, spread=1.5):
    """Parameters with unequal weights and covariances of rather different shapes."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.full(n_components, 4.0))
    means = rng.normal(0, spread, (n_components, n_features))
    roots = rng.normal(size=(n_components, n_features, n_features + 1))
    return weights, means, roots @ roots.transpose(0, 2, 1) / n_features


def one_dimensional(log_ratio, eigenvalue, shift):
    """Exact probabilities for a standard normal i and a normal j of mean shift."""
    # log(p_j f_j / p_i f_i) is a parabola in the row
    a = (1 - eigenvalue) / 2
    b = eigenvalue * shift
    c = log_ratio + np.log(eigenvalue) / 2 - eigenvalue * shift**2 / 2
    root = b * b - 4 * a * c
    if root <= 0:
        return float(a > 0), float(a < 0)
    q = -(b + np.copysign(np.sqrt(root), b)) / 2
    low, high = sorted([q / a, c / q])
    of_i = norm.cdf(high) - norm.cdf(low)
    of_j = np.diff(norm.cdf((np.array([low, high]) - shift) * np.sqrt(eigenvalue)))[0]
    return (1 - of_i, of_j) if a > 0 else (of_i, 1 - of_j)


def imhof(log_ratio, eigenvalues, distances):
    """P(i loses to j) from the characteristic function of the log of the ratio."""
    log_odds = log_ratio + np.log(eigenvalues).sum() / 2

    def integrand(t):
        w = 1 + 1j * t * (eigenvalues - 1)
        log_c = 1j * t * log_odds - np.sum(
            np.log(w) / 2 + 1j * t * (1 - 1j * t) * distances / w / 2
        )
        return np.exp(log_c).imag / t

    return 0.5 + quad(integrand, 0, np.inf, limit=2000, epsabs=1e-10)[0] / np.pi


@pytest.mark.parametrize("n_features", [1, 2, 7])
def test_equal_covariances_have_a_closed_form(n_features):
    weights, means, covariances = random_mixture(4, n_features)
    covariances[:] = covariances[0]
    difference = means[:, None] - means
    squared = np.einsum("ijp,pq,ijq->ij", difference, np.linalg.inv(covariances[0]), difference)
    distance = np.sqrt(squared) + np.eye(4)
    lead = np.log(weights / weights[:, None])
    expected = norm.cdf(lead / distance - distance / 2) * (1 - np.eye(4))
    overlap = mixture_overlap(weights, means, covariances)
    np.testing.assert_allclose(overlap, expected, rtol=1e-9, atol=1e-14)


def test_one_dimension_on_all_scales():
    rng = np.random.default_rng(0)
    n = 1000
    log_ratio = rng.normal(size=n) * rng.choice([0, 0.1, 1, 10], n)
    eigenvalue = np.exp(rng.normal(size=n) * rng.choice([1e-10, 1e-8, 1e-4, 0.1, 1, 5], n))
    shift = rng.normal(size=n) * rng.choice([0, 1e-6, 1e-3, 0.1, 1, 30], n)
    shift[np.abs(eigenvalue - 1) < 1e-9] += 1e-3  # or else they count as equal
    pairs = Pairs(log_ratio, eigenvalue[:, None], (eigenvalue * shift**2)[:, None])
    expected = [one_dimensional(*row) for row in zip(log_ratio, eigenvalue, shift)]
    np.testing.assert_allclose(misclassification(pairs), expected, rtol=0, atol=1e-9)


def test_one_dimension_equal_means():
    # the narrow component wins between -x and x
    x = np.sqrt(np.log(4.0) / (1 - 1 / 4))
    overlap = mixture_overlap([0.5, 0.5], [[3.0], [3.0]], [[[1.0]], [[4.0]]])
    assert overlap[0, 1] == pytest.approx(2 * norm.cdf(-x), abs=1e-12)
    assert overlap[1, 0] == pytest.approx(2 * norm.cdf(x / 2) - 1, abs=1e-12)


@pytest.mark.parametrize("n_features", [2, 3, 10, 50])
@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_spherical_components_are_chi_squared(n_features, shift):
    # the border is a sphere about a point on the line through the means
    variance, weights = 2.5, np.array([0.4, 0.6])
    means = np.zeros((2, n_features))
    means[1, 0] = shift
    covariances = np.stack([np.eye(n_features), variance * np.eye(n_features)])
    # |x|^2 - |x - m|^2 / v > 2 log(w_1 / w_0) - d log v, where the first component loses
    scale = 1 - 1 / variance
    centre = -shift / variance / scale
    border = n_features * np.log(variance) - 2 * np.log(weights[1] / weights[0])
    radius = (border + shift**2 / variance + scale * centre**2) / scale

    def inside(squared_distance, v):
        if squared_distance == 0:
            return chi2.cdf(radius / v, n_features)
        return ncx2.cdf(radius / v, n_features, squared_distance / v)

    overlap = mixture_overlap(weights, means, covariances)
    assert overlap[0, 1] == pytest.approx(1 - inside(centre**2, 1.0), abs=1e-9)
    assert overlap[1, 0] == pytest.approx(inside((centre - shift) ** 2, variance), abs=1e-9)


def test_against_the_inversion_formula():
    rng = np.random.default_rng(0)
    eigenvalues = np.exp(rng.normal(size=(20, 6)))
    pairs = Pairs(rng.normal(size=20), eigenvalues, rng.chisquare(1, size=(20, 6)))
    expected = [imhof(*row) for row in zip(pairs.log_ratio, pairs.eigenvalues, pairs.distances)]
    np.testing.assert_allclose(misclassification(pairs)[:, 0], expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("n_features", [1, 2, 5])
def test_against_simulation(n_features):
    weights, means, covariances = random_mixture(3, n_features, seed=n_features)
    overlap = mixture_overlap(weights, means, covariances)
    rng = np.random.default_rng(1)
    n = 40_000
    for i in range(3):
        X = means[i] + rng.normal(size=(n, n_features)) @ np.linalg.cholesky(covariances[i]).T
        density = []
        for weight, mean, covariance in zip(weights, means, covariances):
            solved = np.linalg.solve(covariance, (X - mean).T)
            quadratic = np.einsum("ij,ji->i", X - mean, solved)
            density.append(2 * np.log(weight) - np.linalg.slogdet(covariance)[1] - quadratic)
        lost = np.mean(np.array(density) > density[i], axis=1)
        deviation = np.sqrt(overlap[i] * (1 - overlap[i]) / n)
        assert (np.abs(lost - overlap[i]) <= 4 * deviation + 1e-4).all()


def test_iris_as_in_mixsim():
    # as R's MixSim prints its example of overlap(), with errors of up to 1e-6
    X, y = load_iris(return_X_y=True)
    means = [X[y == k].mean(axis=0) for k in range(3)]
    covariances = [np.cov(X[y == k].T) for k in range(3)]
    overlap = mixture_overlap([1 / 3] * 3, means, covariances)
    expected = np.zeros((3, 3))
    expected[1, 2], expected[2, 1] = 0.02302315, 0.02629446
    np.testing.assert_allclose(overlap, expected, rtol=0, atol=1e-6)


def test_components_may_be_permuted_and_data_mapped():
    weights, means, covariances = random_mixture(5, 3)
    overlap = mixture_overlap(weights, means, covariances)
    assert (overlap >= 0).all() and (overlap + overlap.T <= 1 + 1e-12).all()
    order = np.array([3, 0, 4, 1, 2])
    permuted = mixture_overlap(weights[order], means[order], covariances[order])
    np.testing.assert_allclose(permuted, overlap[np.ix_(order, order)], rtol=0, atol=1e-12)
    units = np.array([[1e-3], [1.0], [1e4]])
    A = units * np.random.default_rng(1).normal(size=(3, 3))
    mapped = mixture_overlap(weights, means @ A.T + 7.0, A @ covariances @ A.T)
    np.testing.assert_allclose(mapped, overlap, rtol=0, atol=1e-9)


def test_equal_components_share_their_rows():
    covariances = np.stack([[[2.0, 1.9], [1.9, 2.0]]] * 2)
    equal = mixture_overlap([0.5, 0.5], np.ones((2, 2)), covariances)
    np.testing.assert_array_equal(equal, [[0, 0.5], [0.5, 0]])
    # or else the heavier one takes them all
    heavier = mixture_overlap([0.4, 0.6], np.ones((2, 2)), covariances)
    np.testing.assert_array_equal(heavier, [[0, 1], [0, 0]])
    # nearly equal ones are continuous in the difference
    near = mixture_overlap([0.5, 0.5], [[1.0, 1.0], [1.0, 1.0 + 1e-9]], covariances)
    np.testing.assert_allclose(near, equal, atol=1e-8)


def test_extreme_parameters():
    # a plane and a line that are nearly flat, far from and near to each other
    flat = np.diag([1.0, 1.0, 1e-12])
    thin = np.diag([1e-12, 1.0, 1e-12])
    for far in (0.0, 1.0, 1e3, 1e8):
        means = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, far]])
        overlap = mixture_overlap([1 - 1e-9, 1e-9], means, [flat, thin])
        assert np.isfinite(overlap).all() and (overlap >= 0).all() and (overlap <= 1).all()
    np.testing.assert_array_equal(overlap, 0.0)


def test_one_component_has_no_overlap():
    np.testing.assert_array_equal(mixture_overlap([1.0], [[0.0, 1.0]], [np.eye(2)]), [[0.0]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": [0.5, 0.3, 0.2]}, "weights has the shape"),
        ({"weights": [0.5, 0.6]}, "must sum to 1, got 1.1"),
        ({"weights": [1.0, 0.0]}, "must be positive, got 0 for component 1"),
        ({"weights": [np.nan, 1.0]}, "weights contains NaN"),
        ({"means": [0.0, 1.0]}, "means has the shape"),
        ({"means": [[0.0, np.inf], [0.0, 0.0]]}, "means contains infinity"),
        ({"means": [[0.0], [1.0]]}, "covariances has the shape"),
        ({"covariances": np.ones((2, 2))}, "covariances has the shape"),
        ({"covariances": [np.eye(2), -np.eye(2)]}, r"covariances\[1\] is not positive definite"),
        ({"covariances": [[[1, 0.5], [0, 1]], np.eye(2)]}, r"covariances\[0\] is not symmetric"),
        ({"covariances": np.full((2, 2, 2), np.nan)}, "covariances contains NaN"),
    ],
)
def test_wrong_parameters_get_one_clear_error(change, message):
    mixture = {"weights": [0.5, 0.5], "means": np.zeros((2, 2)), "covariances": [np.eye(2)] * 2}
    mixture.update(change)
    with pytest.raises(ValueError, match=message):
        mixture_overlap(**mixture)
    with pytest.raises(ValueError, match=message):
        sample_gaussian_mixture(10, **mixture)


@pytest.mark.parametrize("criterion", ["max_overlap", "average_overlap"])
def test_populations_overlap_as_wanted(covariance_type, criterion):
    for seed, wanted in enumerate([1e-6, 0.01, 0.2]):
        population = make_gaussian_population(
            4,
            3,
            **{criterion: wanted},
            covariance_type=covariance_type,
            min_weight=0.1,
            random_state=seed,
        )
        overlap = mixture_overlap(*parameters(population))
        np.testing.assert_allclose(population.overlap, overlap, rtol=1e-8, atol=1e-12)
        pairwise = (overlap + overlap.T)[np.triu_indices(4, k=1)]
        assert population.max_overlap == pytest.approx(pairwise.max(), abs=1e-10)
        assert population.average_overlap == pytest.approx(pairwise.mean(), abs=1e-10)
        assert population[criterion] == pytest.approx(wanted, rel=1e-6)
        assert population.weights.min() >= 0.1
        assert population.weights.sum() == pytest.approx(1.0)
        assert population.means.min() >= 0 and population.means.max() <= 1
        assert population.covariances.shape == (4, 3, 3)


@pytest.mark.parametrize("n_features", [1, 4])
def test_covariances_are_of_their_type(covariance_type, n_features):
    covariances = make_gaussian_population(
        3, n_features, covariance_type=covariance_type, random_state=0
    ).covariances
    np.testing.assert_array_equal(covariances, covariances.transpose(0, 2, 1))
    values = np.linalg.eigvalsh(covariances)
    assert (np.sqrt(1 - values[:, 0] / values[:, -1]) <= 0.9 + 1e-12).all()
    assert (covariances[0] == covariances[1]).all() == (covariance_type == "tied")
    off_diagonal = covariances * (1 - np.eye(n_features))
    assert off_diagonal.any() == (n_features > 1 and covariance_type in ("full", "tied"))
    if covariance_type == "spherical":
        np.testing.assert_allclose(values[:, 0], values[:, -1], rtol=1e-12)


@pytest.mark.parametrize("max_eccentricity", [0.0, 0.5, 0.99])
def test_eccentricity_is_bounded(max_eccentricity):
    covariances = make_gaussian_population(
        5, 6, max_overlap=1e-3, max_eccentricity=max_eccentricity, random_state=0
    ).covariances
    values = np.linalg.eigvalsh(covariances)
    eccentricity = np.sqrt(np.maximum(1 - values[:, 0] / values[:, -1], 0))
    np.testing.assert_allclose(eccentricity.max(), max_eccentricity, atol=1e-6)


def test_weights_are_equal_by_default_and_by_the_largest_bound():
    for min_weight in (None, 1 / 3):
        population = make_gaussian_population(3, 2, min_weight=min_weight, random_state=0)
        np.testing.assert_allclose(population.weights, 1 / 3, rtol=1e-12)
    assert population.max_overlap == pytest.approx(0.05)


def test_a_population_of_one_component():
    population = make_gaussian_population(1, 2, random_state=0)
    assert population.max_overlap == population.average_overlap == 0
    np.testing.assert_array_equal(population.overlap, [[0.0]])
    assert make_gaussian_mixture(10, 2, n_components=1, random_state=0)[0].shape == (10, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_components": 0}, "'n_components' parameter"),
        ({"n_features": 0}, "'n_features' parameter"),
        ({"max_overlap": 0.0}, "'max_overlap' parameter"),
        ({"max_overlap": 1.0}, "'max_overlap' parameter"),
        ({"max_overlap": np.nan}, "'max_overlap' parameter"),
        ({"average_overlap": -0.1}, "'average_overlap' parameter"),
        ({"max_overlap": 0.1, "average_overlap": 0.1}, "give one of them"),
        ({"n_components": 1, "max_overlap": 0.1}, "n_components=1 has no pair"),
        ({"n_components": 1, "average_overlap": 0.1}, "n_components=1 has no pair"),
        ({"min_weight": 0.4}, r"at most 1 / n_components = 0\.333"),
        ({"min_weight": 0.0}, "'min_weight' parameter"),
        ({"covariance_type": "round"}, "'covariance_type' parameter"),
        ({"max_eccentricity": 1.0}, "'max_eccentricity' parameter"),
        ({"n_components": 2, "n_features": 20, "max_overlap": 0.9}, "the most that any of them"),
    ],
)
def test_wrong_wishes_get_one_clear_error(change, message):
    with pytest.raises(ValueError, match=message):
        make_gaussian_population(**change, random_state=0)
    with pytest.raises(ValueError, match=message):
        make_gaussian_mixture(**change, random_state=0)


def test_rows_have_the_moments_of_their_components():
    weights, means, covariances = random_mixture(3, 4)
    n = 60_000
    X, y = sample_gaussian_mixture(n, weights, means, covariances, random_state=0)
    assert X.shape == (n, 4) and y.shape == (n,)
    np.testing.assert_allclose(np.bincount(y) / n, weights, atol=0.01)
    for k in range(3):
        np.testing.assert_allclose(X[y == k].mean(axis=0), means[k], atol=0.06)
        np.testing.assert_allclose(np.cov(X[y == k].T), covariances[k], atol=0.1)
    # in random order: any part of the rows is a sample
    np.testing.assert_allclose(np.bincount(y[: n // 10]) / (n // 10), weights, atol=0.03)


def test_rows_are_mistaken_as_often_as_the_overlap_says():
    X, y, population = make_gaussian_mixture(
        50_000, n_components=2, max_overlap=0.2, return_population=True, random_state=0
    )
    log_density = [
        np.log(weight)
        - np.linalg.slogdet(covariance)[1] / 2
        - np.einsum("ij,ji->i", X - mean, np.linalg.solve(covariance, (X - mean).T)) / 2
        for weight, mean, covariance in zip(*parameters(population))
    ]
    wrong = np.argmax(log_density, axis=0) != y
    assert wrong[y == 0].mean() + wrong[y == 1].mean() == pytest.approx(0.2, abs=0.01)


def test_the_population_does_not_depend_on_the_number_of_rows():
    options = {"n_components": 4, "max_overlap": 0.02, "random_state": 3}
    alone = make_gaussian_population(n_features=3, **options)
    for n_samples in (1, 100):
        X, y, population = make_gaussian_mixture(n_samples, 3, return_population=True, **options)
        assert X.shape == (n_samples, 3) and y.dtype.kind == "i"
        for key in alone:
            np.testing.assert_array_equal(population[key], alone[key])


def test_random_states():
    first = make_gaussian_mixture(50, random_state=0)
    again = make_gaussian_mixture(50, random_state=np.random.RandomState(0))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    mixture = random_mixture(2, 2)
    shards = [sample_gaussian_mixture(50, *mixture, random_state=shard)[0] for shard in (0, 1)]
    assert not np.isin(shards[0], shards[1]).any()


def test_the_global_random_state_is_untouched():
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - what is tested
    make_gaussian_mixture(20, random_state=0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_electricity_profiles():
    bunch = load_electricity_profiles()
    assert bunch.data.shape == (99, 96)
    assert bunch.data.dtype == np.float64
    assert np.bincount(bunch.target).tolist() == [9, 63, 27]
    assert bunch.target_names.tolist() == ["household", "commerce", "agriculture"]
    assert bunch.feature_names[:2] == ["00:00", "00:15"] and bunch.feature_names[-1] == "23:45"
    kinds = set(zip(bunch.profile, bunch.period, bunch.day))
    assert len(kinds) == 99
    assert set(bunch.profile) == set(bunch.profile_names)
    for name in bunch.profile_names:
        assert name in bunch.DESCR
    X, y = load_electricity_profiles(return_X_y=True)
    assert np.array_equal(X, bunch.data) and np.array_equal(y, bunch.target)
    X[:] = 0  # a copy
    assert load_electricity_profiles().data.min() > 0


def test_electricity_profiles_use_what_they_say():
    """A year of typical days is about the 1,000 kWh that profiles are scaled to."""
    bunch = load_electricity_profiles()
    days = {"winter": 140, "transition": 102, "summer": 123}
    share = {"workday": 250 / 365, "saturday": 52 / 365, "sunday": 63 / 365}  # with holidays
    weights = np.array([days[p] * share[d] for p, d in zip(bunch.period, bunch.day)])
    kwh = bunch.data.mean(axis=1) * 24 / 1000 * weights
    for name in bunch.profile_names:
        assert 0.95e3 < kwh[bunch.profile == name].sum() < 1.05e3


@pytest.mark.parametrize("unknown", [{"return_X_y": "yes"}, {"return_X_y": 2}])
def test_electricity_profiles_refuse(unknown):
    with pytest.raises(ValueError, match="return_X_y"):
        load_electricity_profiles(**unknown)
