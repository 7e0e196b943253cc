"""The parsimonious covariance models as users meet them; their values are in another module."""

import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest
from conftest import DIAGONAL_TYPES, MATRIX_TYPES, PARSIMONIOUS_TYPES, make_blobs, start_of
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from skdistmix import BLBMixture, DistributedGMM, MixtureOfExpertsAggregator, reduce_mixtures
from skdistmix._shards import Block
from skdistmix.families import (
    ConjugatePrior,
    DegenerateComponentError,
    Moments,
    TriangularKernel,
    gaussian_family,
)
from skdistmix.families._orientation import _Search, best_axes, shared_axes
from skdistmix.families._rotated import RotatedFeatureKernel, RotatedTriangularKernel
from skdistmix.families._shapes import proportional, same_shape

# ------------------------------------------------------------------ names


def test_names_of_mclust_are_those_of_scikit_learn(iris):
    for name, same in (("VVV", "full"), ("EEE", "tied"), ("VVI", "diag"), ("VII", "spherical")):
        a, b = (
            DistributedGMM(2, covariance_type=n, random_state=0).fit(iris) for n in (name, same)
        )
        assert a.covariance_type_ == same and a.lower_bound_ == b.lower_bound_


@pytest.mark.parametrize("name, hint", [("vvv", "'VVV'"), ("fullx", "'full'"), ("EVF", "'EV")])
def test_unknown_names_meet_their_nearest(iris, name, hint):
    with pytest.raises(ValueError, match=f"covariance_type='{name}' is not known. Did .*{hint}"):
        DistributedGMM(2, covariance_type=name).fit(iris)


def test_letters_of_one_column_are_for_one_column(iris):
    with pytest.raises(ValueError, match=r"'E' is for one column, and there are 4.*EEE"):
        DistributedGMM(2, covariance_type="E").fit(iris)


@pytest.mark.parametrize("model", PARSIMONIOUS_TYPES)
def test_one_component_and_one_column(iris, model):
    same = {"EII": "spherical", **dict.fromkeys(DIAGONAL_TYPES, "diag")}.get(model, "full")
    a, b = (DistributedGMM(covariance_type=n, reg_covar=0).fit(iris) for n in (model, same))
    assert a.lower_bound_ == pytest.approx(b.lower_bound_, rel=1e-12)
    assert a.n_parameters_ == b.n_parameters_
    one = iris[:, 2:3]
    letter = "E" if model[0] == "E" else "V"
    kwargs = {"init_params": (one[:, 0] > 2).astype(int), "tol": 1e-10, "max_iter": 1000}
    a, b = (DistributedGMM(2, covariance_type=n, **kwargs).fit(one) for n in (model, letter))
    assert a.lower_bound_ == pytest.approx(b.lower_bound_, rel=1e-9)
    assert a.n_parameters_ == b.n_parameters_


# ------------------------------------------------------------------ what parts have in common


@pytest.mark.parametrize("reg_covar", [0.0, 0.3])
@pytest.mark.parametrize("model", PARSIMONIOUS_TYPES)
def test_parts_are_equal_or_vary(blobs, model, reg_covar):
    X, labels = blobs
    gmm = DistributedGMM(
        3, covariance_type=model, init_params=labels, reg_covar=reg_covar, max_iter=3, tol=1.0
    ).fit(X)
    volumes, shapes, axes = gmm.volumes_, gmm.shapes_, gmm.orientations_
    rebuilt = axes * (volumes[:, None] * shapes)[:, None] @ axes.transpose(0, 2, 1)
    covariances = gmm.covariances_
    if covariances.ndim == 1:
        covariances = covariances[:, None, None] * np.eye(3)
    elif covariances.ndim == 2:
        covariances = covariances[:, :, None] * np.eye(3)
    np.testing.assert_allclose(rebuilt, covariances, atol=1e-12 * covariances.max())
    np.testing.assert_allclose(shapes.prod(axis=1), 1)
    for letter, part in zip(model, (volumes, shapes, np.abs(axes))):
        same = np.allclose(part, part[0], rtol=1e-8, atol=1e-10)
        assert same == (letter != "V")
    assert not hasattr(DistributedGMM(covariance_type=model), "volumes_")


def test_shapes_of_what_users_see(iris):
    for model in PARSIMONIOUS_TYPES:
        gmm = DistributedGMM(2, covariance_type=model, random_state=0).fit(iris)
        shape = (2,) if model == "EII" else (2, 4) if model in DIAGONAL_TYPES else (2, 4, 4)
        for name in ("covariances_", "precisions_", "precisions_cholesky_"):
            assert getattr(gmm, name).shape == shape
        theirs = gmm.to_sklearn()
        assert isinstance(theirs, GaussianMixture)
        np.testing.assert_allclose(theirs.score_samples(iris), gmm.score_samples(iris), rtol=1e-9)
        np.testing.assert_array_equal(theirs.predict(iris), gmm.predict(iris))
        X, y = gmm.sample(2000)
        np.testing.assert_allclose(X[y == 0].mean(axis=0), gmm.means_[0], atol=0.15)


# ------------------------------------------------------------------ inner iterations


def test_volumes_and_shape_are_the_best():
    rng = np.random.default_rng(0)
    S = rng.gamma(1.0, size=(4, 5)) + 0.05
    shares = rng.dirichlet(np.ones(4))

    def loss(variances):
        return shares @ (np.log(variances) + S / variances).sum(axis=1)

    best = same_shape(shares, S)
    for _ in range(20):
        volumes = np.exp(0.01 * rng.normal(size=(4, 1)))
        assert loss(best) < loss(best * volumes * np.exp(0.01 * rng.normal(size=5)))
    again = same_shape(shares, S, start=best[1])
    np.testing.assert_allclose(again, best, rtol=1e-11)


def covariances_of(n_components, d, seed):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n_components, d, 2 * d)) * np.exp(rng.normal(size=(n_components, d, 1)))
    return A @ A.transpose(0, 2, 1) / (2 * d), rng.dirichlet(np.ones(n_components))


def test_proportional_covariances_follow_any_linear_map():
    S, shares = covariances_of(3, 5, 0)
    A = np.random.default_rng(1).normal(size=(5, 5))
    a, b = proportional(shares, S), proportional(shares, A @ S @ A.T)
    np.testing.assert_allclose(b, A @ a @ A.T, atol=1e-9)


@pytest.mark.parametrize("model", ["EVE", "VVE"])
@pytest.mark.parametrize("d", [2, 7, 30])
def test_common_axes_are_a_minimum(model, d):
    """Derivatives by all angles vanish, and turned axes are worse."""
    S, shares = covariances_of(3, d, d)
    variances_of = gaussian_family(model).variances_of
    axes, variances = best_axes(shares, S, variances_of)
    np.testing.assert_allclose(axes.T @ axes, np.eye(d), atol=1e-12)
    inner = axes.T @ np.einsum("k,kij,kj->ij", shares, S @ axes, 1 / variances)
    assert np.abs(inner - inner.T).max() < 1e-7

    def loss(axes):
        fitted = variances_of(shares, np.einsum("ij,kil,lj->kj", axes, S, axes))
        return shares @ np.log(fitted).sum(axis=1)

    rng = np.random.default_rng(0)
    for size in (1e-3, 1e-2, 0.1):
        turn = np.linalg.qr(np.eye(d) + size * rng.normal(size=(d, d)))[0]
        assert loss(axes) < loss(axes @ turn)


def test_shared_axes_are_found_where_variances_are_close():
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(40, 40)))[0]
    variances = np.exp(2 * rng.normal(size=(5, 40)))
    variances[:, 1] = variances[:, 0] * (1 + 1e-5 * np.arange(5))
    S = (axes * variances[:, None]) @ axes.T
    turned = shared_axes(S).T @ S @ shared_axes(S)
    scale = np.sqrt(np.diagonal(turned, axis1=1, axis2=2))
    left = turned / scale[:, :, None] / scale[:, None, :] - np.eye(40)
    assert np.abs(left).max() < 1e-12


@pytest.mark.parametrize("model", ["EVE", "VVE"])
def test_thirty_correlated_columns(model):
    """As many columns as made the iteration of mclust take minutes."""
    X = load_breast_cancer().data
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    gmm = DistributedGMM(
        3, covariance_type=model, reg_covar=0, tol=1e-6, max_iter=500, random_state=0
    ).fit(X)
    assert gmm.converged_
    assert np.diff(gmm.objectives_).min() > 0


# ------------------------------------------------------------------ kernels


@pytest.mark.parametrize("model", ["VEE", "EVE", "VVE"])
@pytest.mark.parametrize("d, offset", [(3, 0.0), (3, 30_000.0), (40, 0.0)])
def test_kernels_in_shared_coordinates_are_right(model, d, offset):
    X, labels = make_blobs(n_rows=2000, n_features=d)
    X[labels == 0] += offset
    family = gaussian_family(model)(3).prepare(Moments.of_rows(X, None, True, 3))
    resp = (np.arange(3)[:, None] == labels).astype(float)
    params = family.m_step(family.statistics(X, None, resp, np.zeros((3, d))))
    kernel = family.kernel(params)
    fast = d == 3 and offset == 0
    assert isinstance(kernel, RotatedFeatureKernel if fast else RotatedTriangularKernel)
    factors, norm = params.precisions_cholesky, family._log_norm(params)
    plain = TriangularKernel(params.means, factors, norm, params.means)
    np.testing.assert_allclose(kernel.log_joint(X), plain.log_joint(X), rtol=1e-8, atol=1e-7)
    a, b = (k.statistics([Block(X, None, range(len(X)))]) for k in (kernel, plain))
    assert a.log_likelihood == pytest.approx(b.log_likelihood, rel=1e-9)
    a, b = a.about(params.means), b.about(params.means)
    np.testing.assert_allclose(a.second, b.second, rtol=1e-6, atol=1e-6 * np.abs(b.second).max())
    other = pickle.loads(pickle.dumps(kernel))
    np.testing.assert_array_equal(other.log_joint(X), kernel.log_joint(X))


def test_parameters_of_another_type_do_not_take_the_shared_coordinates(blobs):
    X, labels = blobs
    full = DistributedGMM(3, init_params=labels).fit(X)
    for model in ("VEE", "EVE", "VVE"):
        gmm = DistributedGMM(3, covariance_type=model, init_params=labels).fit(X)
        for name in ("means_", "covariances_", "precisions_cholesky_", "weights_"):
            setattr(gmm, name, getattr(full, name))
        np.testing.assert_allclose(gmm.score_samples(X), full.score_samples(X), rtol=1e-9)


# ------------------------------------------------------------------ other parts of the package


@pytest.mark.parametrize("model", PARSIMONIOUS_TYPES)
@pytest.mark.parametrize("acceleration", ["squarem", "anderson"])
def test_accelerated_fits_stay_in_the_model(model, acceleration):
    X, _ = make_blobs(spread=1.0, seed=2)
    start = start_of(X, 3, model)
    common = {"covariance_type": model, "reg_covar": 0, "tol": 1e-9, "max_iter": 3000, **start}
    plain = DistributedGMM(3, **common).fit(X)
    fast = DistributedGMM(3, acceleration=acceleration, **common).fit(X)
    assert fast.n_iter_ <= plain.n_iter_
    assert fast.lower_bound_ > plain.lower_bound_ - 1e-3  # there are other optima
    assert np.diff(fast.objectives_).min() > -1e-12
    for letter, part in zip(model, (fast.volumes_, fast.shapes_)):
        assert letter == "V" or np.allclose(part, part[0], rtol=1e-8)


@pytest.mark.parametrize("model", PARSIMONIOUS_TYPES)
def test_coordinates_go_there_and_back(blobs, model):
    X, labels = blobs
    family = gaussian_family(model)(3).prepare(Moments.of_rows(X, None, True, 3))
    resp = (np.arange(3)[:, None] == labels).astype(float)
    params = family.m_step(family.statistics(X, None, resp, np.zeros((3, 3))))
    vector = family.coordinates(params)
    for points in (vector, np.tile(vector, (2, 2, 1))):
        back = family.params_of_coordinates(points, like=params)
        for name in ("weights", "means", "covariances", "precisions_cholesky"):
            own = np.broadcast_to(getattr(params, name), getattr(back, name).shape)
            np.testing.assert_allclose(getattr(back, name), own, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("model", PARSIMONIOUS_TYPES)
@pytest.mark.parametrize("cost", ["kl", "w2", "cauchy-schwarz"])
def test_copies_of_a_model_are_reduced_to_it(blobs, model, cost):
    X, labels = blobs
    gmm = DistributedGMM(3, covariance_type=model, init_params=labels).fit(X)
    one = reduce_mixtures([gmm] * 3, cost=cost, random_state=0)
    assert one.covariance_type_ == model
    np.testing.assert_allclose(np.sort(one.means_, axis=0), np.sort(gmm.means_, axis=0), rtol=1e-6)
    np.testing.assert_allclose(one.score_samples(X), gmm.score_samples(X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("model", ["EII", "VEI", "VVE", "EEV"])
def test_aggregates_of_the_models_are_of_the_model(blobs, model):
    X, _ = blobs
    local = DistributedGMM(covariance_type=model, max_iter=500)
    one = MixtureOfExpertsAggregator(local, 3, n_shards=3, refine=2, random_state=0).fit(X)
    whole = DistributedGMM(3, covariance_type=model, random_state=0, n_init=3).fit(X)
    assert one.mixture_.covariance_type_ == model
    assert one.score(X) == pytest.approx(whole.score(X), abs=0.02)
    volumes = one.mixture_.volumes_
    assert np.allclose(volumes, volumes[0], rtol=1e-8) == (model[0] == "E")


@pytest.mark.parametrize("model", ["EII", "EVI", "VEE"])
def test_errors_come_from_resamples(model):
    X, labels = make_blobs(spread=30)
    gmm = DistributedGMM(3, covariance_type=model, init_params=labels, reg_covar=0, max_iter=2000)
    with pytest.raises(NotImplementedError, match=f"{model!r} have no scores.*BLBMixture"):
        gmm.fit(X).standard_errors(X)
    errors = BLBMixture(gmm, method="bootstrap", n_resamples=40, random_state=0).fit(X)
    for k in range(3):  # separated: the errors of the means are those of their own rows
        own = X[labels == k]
        expected = own.std(axis=0) / np.sqrt(len(own))
        np.testing.assert_allclose(errors.standard_errors_.means[k], expected, rtol=0.4)


@pytest.mark.parametrize("model", PARSIMONIOUS_TYPES)
def test_a_stream_goes_on_from_a_fit(blobs, model):
    X, labels = blobs
    options = {"covariance_type": model, "init_params": labels, "reg_covar": 0.1}
    gmm = DistributedGMM(3, tol=1e-9, max_iter=500, **options).fit(X)
    family, params = gmm._family_and_params()
    family = replace(family, reg_covar=0.1)
    back = family.m_step(family.implied_statistics(params))
    np.testing.assert_allclose(back.covariances, params.covariances, rtol=1e-6, atol=1e-9)
    before = gmm.score(X)
    assert gmm.partial_fit(X).score(X) == pytest.approx(before, abs=1e-6)


# ------------------------------------------------------------------ what cannot be


@pytest.mark.parametrize("model", PARSIMONIOUS_TYPES)
def test_priors(blobs, model):
    X, labels = blobs
    gmm = DistributedGMM(3, covariance_type=model, init_params=labels)
    for prior in ("auto", ConjugatePrior()):
        with pytest.raises(ValueError, match=f"no conjugate prior for covariance_type='{model}'"):
            gmm.set_params(prior=prior).fit(X)
    gmm.set_params(prior=None, covariance_penalty="auto", reg_covar=0, tol=1e-9, max_iter=500)
    values = gmm.fit(X).objectives_
    assert np.diff(values).min() > -1e-12


@pytest.mark.parametrize("model", ["VEI", "EVI", "EVE", "VVE", "VEV", "EVV", "VEE"])
def test_a_point_has_no_covariance(model):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    X[:20] = 5.0
    labels = (np.arange(60) >= 20).astype(int)
    gmm = DistributedGMM(2, covariance_type=model, reg_covar=0, init_params=labels)
    with pytest.raises(DegenerateComponentError, match="fewer components, a larger reg_covar, or"):
        gmm.fit(X)
    assert gmm.set_params(covariance_penalty="auto", max_iter=500).fit(X).converged_


@pytest.mark.parametrize("model", PARSIMONIOUS_TYPES)
def test_a_component_that_lost_its_rows_stays_in_the_model(blobs, model):
    X, _ = blobs
    start = start_of(X, 3, model)
    start["means_init"][1] = 1e4  # no row comes near
    gmm = DistributedGMM(3, covariance_type=model, max_iter=5, tol=0, **start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        gmm.fit(X)
    assert gmm.weights_[1] == 0 and np.isfinite(gmm.score(X))
    for letter, part in zip(model, (gmm.volumes_, gmm.shapes_)):
        assert letter == "V" or np.allclose(part, part[0], rtol=1e-8)


@pytest.mark.parametrize("init_params", ["k-means||", "hierarchical", "random"])
@pytest.mark.parametrize("model", PARSIMONIOUS_TYPES)
def test_every_start_works_with_every_model(blobs, model, init_params):
    X, _ = blobs
    gmm = DistributedGMM(3, covariance_type=model, init_params=init_params, random_state=0)
    gmm.set_params(max_iter=500).fit(X[:600])
    assert gmm.converged_
    full = DistributedGMM(3, random_state=0).fit(X[:600])
    assert gmm.lower_bound_ < full.lower_bound_ + 1e-2 or init_params != "k-means||"


@pytest.mark.parametrize("model", MATRIX_TYPES)
def test_precisions_to_start_from_are_brought_into_the_model(blobs, model):
    X, labels = blobs
    full = DistributedGMM(3, init_params=labels).fit(X)
    gmm = DistributedGMM(
        3, covariance_type=model, weights_init=full.weights_, means_init=full.means_,
        precisions_init=full.precisions_, max_iter=0,
    ).fit(X)  # fmt: skip
    for letter, part in zip(model, (gmm.volumes_, gmm.shapes_, np.abs(gmm.orientations_))):
        assert letter == "V" or np.allclose(part, part[0], rtol=1e-8, atol=1e-8)


# ------------------------------------------------------------------ common axes: local optima


@pytest.mark.parametrize("name", ["EVE", "VVE"])
def test_common_axes_of_mirror_images_are_no_saddle_point(name):
    """Their mean covariance is diagonal, with axes that are the worst of all."""
    pair = np.array([[[2.0, 1.0], [1.0, 2.0]], [[2.0, -1.0], [-1.0, 2.0]]])
    fitted = gaussian_family(name)(2, 0.0).fitted(np.array([0.5, 0.5]), pair)
    np.testing.assert_allclose(fitted, pair, atol=1e-8)  # they have common axes, at 45 degrees


def test_common_axes_are_the_best_from_any_start():
    rng = np.random.default_rng(0)
    for _ in range(15):
        roots = rng.normal(size=(3, 3, 5))
        S, shares = roots @ roots.transpose(0, 2, 1), rng.dirichlet(np.full(3, 5.0))
        along = gaussian_family("VVE").variances_of

        def value(variances, shares=shares):
            return shares @ np.log(variances).sum(axis=1)

        found = value(best_axes(shares, S, along)[1])
        turned = [np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(10)]
        # from each of many axes to their end, and not as from those of a step before
        others = [value(_Search(shares, S, along).minimum(axes, 500).variances) for axes in turned]
        assert found <= min(others) + 1e-9


def test_volumes_are_right_in_units_that_are_far_apart():
    Z = np.random.default_rng(0).normal(size=(300, 3)) @ [[1, 0.5, 0.2], [0, 1, 0.3], [0, 0, 1]]
    expected = DistributedGMM(1, reg_covar=0).fit(Z).volumes_
    apart = DistributedGMM(1, reg_covar=0).fit(Z * [1e-8, 1, 1e8])
    np.testing.assert_allclose(apart.volumes_, expected, rtol=1e-9)


def test_proportional_covariances_have_one_orientation_where_variances_coincide():
    rng = np.random.default_rng(0)
    B = rng.normal(size=(400, 2))
    B = np.linalg.solve(np.linalg.cholesky(np.cov(B.T)), (B - B.mean(axis=0)).T).T
    labels = np.repeat([0, 1], 400)
    model = DistributedGMM(2, covariance_type="VEE", init_params=labels, reg_covar=0)
    model.fit(np.vstack([B, 3 * B[:, ::-1] + 30]))
    np.testing.assert_array_equal(model.orientations_[0], model.orientations_[1])


def test_errors_of_shared_variances_blame_no_component():
    X = np.column_stack([np.repeat([0.0, 1.0], 50), np.random.default_rng(0).normal(size=100)])
    labels = np.repeat([0, 1], 50)
    model = DistributedGMM(2, covariance_type="EEI", init_params=labels, reg_covar=0)
    with pytest.raises(ValueError, match="The shared covariance is not positive definite"):
        model.fit(X)
