"""The laws of the package, on every estimator and option they make sense for."""

import importlib.util
import pickle
import warnings
from dataclasses import is_dataclass

import joblib
import numpy as np
import pytest
from conftest import DIAGONAL_TYPES, CutIn, make_blobs, start_of
from poisson import PoissonFamily, make_counts
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.utils import Bunch

from skdistmix import (
    BLBMixture,
    DistributedGMM,
    DistributedMixture,
    MixtureOfExpertsAggregator,
    as_shards,
)
from skdistmix.cluster import LandmarkSpectralClustering
from skdistmix.families import ConjugatePrior, GaussianFamily, GaussianStatistics, Moments
from skdistmix.preprocessing import MarginalizedDenoisingAutoencoder

MODEL = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")


def fit(X, covariance_type="full", start=None, max_iter=12, sample_weight=None, **kwargs):
    """A fit of a fixed number of iterations."""
    gmm = DistributedGMM(3, covariance_type=covariance_type, tol=0, max_iter=max_iter, **kwargs)
    if start is not None:
        gmm.set_params(**start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return gmm.fit(X, sample_weight=sample_weight)


def assert_same_model(a, b, rtol=1e-8, atol=1e-10):
    for name in MODEL:
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=rtol, atol=atol)
    np.testing.assert_allclose(a.lower_bounds_, b.lower_bounds_, rtol=1e-9)


def assert_same_bits(a, b):
    for name in MODEL:
        assert getattr(a, name).tobytes() == getattr(b, name).tobytes(), name
    assert a.lower_bounds_ == b.lower_bounds_


# ------------------------------------------------------------------ 1. sharding


@pytest.mark.parametrize("way", CutIn.ways)
def test_any_split_gives_the_same_fit(blobs, any_type, way):
    X, _ = blobs
    start = start_of(X, 3, any_type)
    whole = fit(X, any_type, start)
    assert_same_model(fit(CutIn.cut(X, way), any_type, start), whole)


@pytest.mark.parametrize(
    "options",
    [
        {"acceleration": "squarem"},
        {"acceleration": "anderson", "prior": ConjugatePrior(), "reg_covar": 0},
        {"covariance_penalty": "auto"},
        {"weights": "equal", "acceleration": "squarem"},
        {"noise": "auto", "weights": "equal"},
    ],
)
def test_any_split_with_these_options_gives_the_same_fit(blobs, covariance_type, options):
    X, _ = blobs
    start = start_of(X, 3, covariance_type)
    whole = fit(X, covariance_type, start, **options)
    for way in ("seven", "with an empty one"):
        assert_same_model(fit(CutIn.cut(X, way), covariance_type, start, **options), whole)


@pytest.mark.parametrize("init_params", ["k-means||", "random"])
def test_a_sample_first_does_not_depend_on_contiguous_splits(init_params):
    X, _ = make_blobs(n_rows=12_000)
    kwargs = {"init_params": init_params, "random_state": 3, "subsample": 2000, "n_init": 2}
    whole = fit(X, **kwargs)
    for way in CutIn.ways:
        assert_same_model(fit(CutIn.cut(X, way), **kwargs), whole, rtol=1e-6, atol=1e-8)


def test_any_order_of_shards_gives_the_same_fit(blobs, any_type):
    X, _ = blobs
    start = start_of(X, 3, any_type)
    shards = CutIn.cut(X, "seven")
    a, b = (fit(s, any_type, start) for s in (shards, shards[::-1]))
    assert_same_model(a, b)


@pytest.mark.parametrize("init_params", ["k-means||", "k-means++", "random", "random_from_data"])
def test_seeded_fits_do_not_depend_on_contiguous_splits(blobs, init_params):
    X, _ = blobs
    kwargs = {"init_params": init_params, "random_state": 3}
    whole = fit(X, **kwargs)
    for way in CutIn.ways:
        assert_same_model(fit(CutIn.cut(X, way), **kwargs), whole)
    assert_same_model(fit(X, n_shards=5, **kwargs), whole)


@pytest.mark.parametrize("safe, covariance_type", [(False, "full"), (True, "full"), (False, "VVE")])
def test_same_bits_for_every_number_of_workers_and_backend(safe, covariance_type):
    X, _ = make_blobs(n_rows=200_000, n_features=4)
    if safe:  # a component tight enough for the other kernel
        X[:4000] = X[0] + 1e-6 * X[:4000]
    shards = as_shards(np.array_split(X, 3))
    kwargs = {"covariance_type": covariance_type, "random_state": 0, "max_iter": 3}
    one = fit(shards, n_jobs=1, **kwargs)
    for n_jobs in (None, 2, 5):
        assert_same_bits(fit(shards, n_jobs=n_jobs, **kwargs), one)
    for backend in ("threading", "loky", "sequential"):
        with joblib.parallel_config(backend, n_jobs=2):
            assert_same_bits(fit(shards, **kwargs), one)


def denoised(X, sample_weight=None, **kwargs):
    model = MarginalizedDenoisingAutoencoder(3, **kwargs)
    return model.fit(X, sample_weight=sample_weight)


def assert_same_layers(a, b, rtol=1e-10):
    for one, other in zip(a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_, strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("way", CutIn.ways)
def test_any_split_and_order_gives_the_same_layers(blobs, way):
    X, _ = blobs
    whole, shards = denoised(X), CutIn.cut(X, way)
    assert_same_layers(denoised(shards), whole)
    assert_same_layers(denoised(shards[::-1]), whole)


def test_layers_have_the_same_bits_for_every_number_of_workers_and_backend():
    X, _ = make_blobs(n_rows=50_000, n_features=10)
    shards = as_shards(np.array_split(X, 3))
    one = pickle.dumps(denoised(shards, n_jobs=1).coefs_)
    for n_jobs in (None, 2, 5):
        assert pickle.dumps(denoised(shards, n_jobs=n_jobs).coefs_) == one
    for backend in ("threading", "loky"):
        with joblib.parallel_config(backend, n_jobs=2):
            assert pickle.dumps(denoised(shards).coefs_) == one


@pytest.mark.parametrize("way", CutIn.ways)
def test_spectral_clusters_do_not_depend_on_splits_or_order(blobs, way):
    X, _ = blobs
    whole = spectral(X)
    for shards in (CutIn.cut(X, way), CutIn.cut(X, way)[::-1]):
        assert_same_clusters(spectral(shards), whole)
    order = np.random.default_rng(0).permutation(len(X))
    permuted = spectral(X[order], n_jobs=1)
    assert_same_clusters(permuted, whole)
    np.testing.assert_array_equal(permuted.labels_, whole.labels_[order])


def spectral(X, sample_weight=None, **kwargs):
    options = {"n_clusters": 3, "n_landmarks": 90, "n_draws": 2, "random_state": 0, **kwargs}
    return LandmarkSpectralClustering(**options).fit(X, sample_weight=sample_weight)


def assert_same_clusters(a, b):
    for name in ("landmarks_", "inertias_", "eigenvalues_", "cluster_centers_"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-8, atol=1e-10)


FAMILIES = [
    pytest.param(GaussianFamily("EEI", reg_covar=0), id="DistributedMixture-Gaussian"),
    pytest.param(PoissonFamily(), id="DistributedMixture-Poisson"),
]


def mixed(X, family, sample_weight=None, max_iter=12, **options):
    """A fit of a fixed number of iterations, of any family."""
    mixture = DistributedMixture(3, family=family, tol=0, max_iter=max_iter, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(X, sample_weight=sample_weight)


def assert_same_mixture(a, b, rtol=1e-8):
    for name, value in vars(a.params_).items():
        assert_close(value, getattr(b.params_, name), rtol)
    assert_close(a.lower_bounds_, b.lower_bounds_, 1e-9)


def assert_close(a, b, rtol):
    np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-10)


def rough(X):
    """Labels that are far from the components."""
    return X.sum(axis=1).astype(int) % 3


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("way", CutIn.ways)
def test_any_split_and_order_gives_the_same_mixture(family, way):
    X, _ = make_counts()
    start = mixed(X, family, init_params=rough(X), max_iter=1).params_
    whole, shards = mixed(X, family, params_init=start), CutIn.cut(X, way)
    assert_same_mixture(mixed(shards, family, params_init=start), whole)
    assert_same_mixture(mixed(shards[::-1], family, params_init=start), whole)
    seeded = mixed(X, family, random_state=3)
    assert_same_mixture(mixed(shards, family, random_state=3), seeded)


@pytest.mark.parametrize("family", FAMILIES)
def test_mixtures_have_the_same_bits_for_every_number_of_workers_and_backend(family):
    X, _ = make_counts(60_000)
    shards = as_shards(np.array_split(X, 3))

    def bits(n_jobs=None):
        mixture = mixed(shards, family, n_jobs=n_jobs, random_state=0, max_iter=3)
        return [value.tobytes() for value in vars(mixture.params_).values()]

    one = bits(n_jobs=1)
    for n_jobs in (None, 2, 5):
        assert bits(n_jobs) == one
    with joblib.parallel_config("loky", n_jobs=2):
        assert bits() == one


# ------------------------------------------------------------------ 2. form of input


def test_every_form_of_input_gives_the_same_layers(blobs, tmp_path):
    import pandas as pd
    from scipy.sparse import csr_matrix

    X, _ = blobs
    parts = np.array_split(X, 3)
    paths = [str(tmp_path / f"part-{i}.npy") for i in range(3)]
    for path, part in zip(paths, parts, strict=True):
        np.save(path, part)
    forms = [
        X.tolist(), parts, tuple(parts), paths, str(tmp_path / "part-*.npy"), as_shards(X),
        list(as_shards(parts)), pd.DataFrame(X), [pd.DataFrame(part) for part in parts],
        csr_matrix(X), [csr_matrix(part) for part in parts], np.load(paths[0], mmap_mode="r"),
    ]  # fmt: skip
    forms[-1] = [forms[-1], *parts[1:]]
    whole = denoised(X)
    for form in forms:
        assert_same_layers(denoised(form), whole)


def test_every_form_of_input_gives_the_same_fit(blobs, covariance_type, tmp_path):
    import pandas as pd
    import polars as pl

    X, _ = blobs
    start = start_of(X, 3, covariance_type)
    parts = np.array_split(X, 3)
    paths = [str(tmp_path / f"part-{i}.npy") for i in (1, 2, 10)]
    for path, part in zip(paths, parts, strict=True):
        np.save(path, part)
    np.save(tmp_path / "whole.npy", X)
    columns = list("abc")
    forms = [
        np.asfortranarray(X),
        X.tolist(),
        np.load(tmp_path / "whole.npy", mmap_mode="r"),
        str(tmp_path / "whole.npy"),
        tmp_path / "whole.npy",
        parts,
        tuple(parts),
        paths,
        str(tmp_path / "part-*.npy"),
        as_shards(X),
        list(as_shards(parts)),
        pd.DataFrame(X, columns=columns),
        [pd.DataFrame(part, columns=columns) for part in parts],
        pl.DataFrame(X, schema=columns),
        [np.load(p, mmap_mode="r") for p in paths],
    ]
    if importlib.util.find_spec("pyarrow"):
        (tmp_path / "folder").mkdir()
        for i, part in enumerate(parts):
            frame = pd.DataFrame(part, columns=columns)
            frame.to_parquet(tmp_path / "folder" / f"{i}.parquet", row_group_size=300)
        forms += [tmp_path / "folder", str(tmp_path / "folder" / "*.parquet")]
    if importlib.util.find_spec("zarr"):
        import zarr

        path = str(tmp_path / "x.zarr")
        array = zarr.open(path, mode="w", shape=X.shape, chunks=(700, 2), dtype=float)
        array[:] = X
        forms += [array, path, as_shards(array)]
    if covariance_type == "full":
        clusters = spectral(X)
        for form in forms:
            assert_same_clusters(spectral(form), clusters)
    whole = fit(X, covariance_type, start)
    for form in forms:
        assert_same_model(fit(form, covariance_type, start), whole)


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint8, np.float16, bool])
def test_other_number_types_give_the_fit_of_their_float64_values(dtype):
    X, _ = make_blobs(spread=6)
    X = ((X - X.min(axis=0)) * 5).astype(np.uint8).astype(dtype)
    if dtype is bool:
        X = np.random.default_rng(0).random(X.shape) < 0.4
    a = fit(X, start=start_of(X.astype(float), 3, "full"))
    b = fit(X.astype(np.float64), start=start_of(X.astype(float), 3, "full"))
    assert_same_model(a, b)


# ------------------------------------------------------------------ 3. weights


def test_weights_are_frequencies(blobs, any_type):
    X, _ = blobs
    counts = np.random.default_rng(0).integers(0, 4, len(X))
    start = start_of(X, 3, any_type)
    weighted = fit(X, any_type, start, sample_weight=counts)
    repeated = np.repeat(X, counts, axis=0)
    replicated = fit(repeated, any_type, start)
    assert_same_model(weighted, replicated)
    for criterion in ("bic_", "aic_", "icl_"):
        assert getattr(weighted, criterion) == pytest.approx(getattr(replicated, criterion))
    for method in ("bic", "aic", "icl", "score"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            got = getattr(weighted, method)(X, sample_weight=counts)
            assert got == pytest.approx(getattr(replicated, method)(repeated))


def test_weights_of_spectral_clusters_are_frequencies(blobs):
    X, _ = blobs
    counts = np.random.default_rng(0).integers(0, 4, len(X))
    repeated = spectral(np.repeat(X, counts, axis=0))
    for factor in (1, 1e-12, 1e9):
        weighted = spectral(X, sample_weight=factor * counts)
        assert_same_clusters(weighted, repeated)
        np.testing.assert_array_equal(weighted.predict(X), repeated.predict(X))


def test_scaled_weights_leave_the_estimates(blobs, any_type):
    X, _ = blobs
    w = np.random.default_rng(1).random(len(X))
    start = start_of(X, 3, any_type)
    a = fit(X, any_type, start, sample_weight=w)
    for factor in (1e-30, 1e-12, 1e9):
        assert_same_model(fit(X, any_type, start, sample_weight=factor * w), a)


def test_weights_of_denoised_rows_are_frequencies(blobs):
    X, _ = blobs
    counts = np.random.default_rng(0).integers(0, 4, len(X))
    weighted = denoised(X, sample_weight=counts)
    assert_same_layers(weighted, denoised(np.repeat(X, counts, axis=0)))
    for factor in (1e-30, 1e9):
        assert_same_layers(denoised(X, sample_weight=factor * counts), weighted)


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_of_rows_of_any_family_are_frequencies(family):
    X, _ = make_counts()
    times = np.random.default_rng(0).integers(0, 4, len(X))
    start = mixed(X, family, init_params=rough(X), max_iter=1).params_
    weighted = mixed(X, family, times, params_init=start)
    repeated = np.repeat(X, times, axis=0)
    replicated = mixed(repeated, family, params_init=start)
    assert_same_mixture(weighted, replicated)
    for criterion in ("bic_", "aic_", "icl_"):
        assert getattr(weighted, criterion) == pytest.approx(getattr(replicated, criterion))
    assert weighted.score(X, sample_weight=times) == pytest.approx(replicated.score(repeated))
    for factor in (1e-30, 1e9):
        assert_same_mixture(mixed(X, family, factor * times, params_init=start), weighted)


# ------------------------------------------------------------------ 4. the objective


@pytest.mark.parametrize("spread", [0.5, 3.0])
def test_objective_never_falls(any_type, spread):
    X, _ = make_blobs(spread=spread)
    gmm = fit(X, any_type, reg_covar=0, max_iter=60, random_state=0)
    values = np.array(gmm.objectives_)
    assert len(values) == gmm.n_iter_ + 1
    assert gmm.objective_ == values[-1]
    assert np.diff(values).min() > -1e-12 * np.abs(values).max()


@pytest.mark.parametrize("family", FAMILIES)
def test_objective_of_any_family_never_falls(family):
    X, _ = make_counts()
    for seed in range(3):
        mixture = mixed(X, family, init_params="random", random_state=seed, max_iter=80)
        values = np.array(mixture.objectives_)
        assert len(values) == mixture.n_iter_ + 1
        assert np.diff(values).min() > -1e-12 * np.abs(values).max()
        assert mixture.score(X) == pytest.approx(mixture.lower_bound_, rel=1e-12)


# ------------------------------------------------------------------ 5. scikit-learn


@pytest.mark.parametrize("max_iter", [1, 7, 30])
def test_one_shard_is_scikit_learn(blobs, covariance_type, max_iter):
    X, _ = blobs
    start = start_of(X, 3, covariance_type)
    ours = fit(X, covariance_type, start, max_iter)
    theirs = GaussianMixture(3, covariance_type=covariance_type, tol=0, max_iter=max_iter, **start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs.fit(X)
    assert ours.score(X) == pytest.approx(theirs.score(X), rel=1e-9)
    for name in MODEL:
        assert getattr(ours, name).shape == getattr(theirs, name).shape
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-6)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-8)
    np.testing.assert_allclose(ours.score_samples(X), theirs.score_samples(X), rtol=1e-7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert ours.bic(X) == pytest.approx(theirs.bic(X))
        assert ours.aic(X) == pytest.approx(theirs.aic(X))


def test_stops_at_the_same_iteration_as_scikit_learn(iris, covariance_type):
    start = start_of(iris, 3, covariance_type)
    kwargs = {"covariance_type": covariance_type, "tol": 1e-5, "max_iter": 500, **start}
    ours, theirs = DistributedGMM(3, **kwargs).fit(iris), GaussianMixture(3, **kwargs).fit(iris)
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.converged_ and theirs.converged_


def test_lower_bound_belongs_to_the_returned_parameters(blobs, any_type):
    X, _ = blobs
    start = start_of(X, 3, any_type)
    gmm = fit(X, any_type, start, max_iter=6)
    assert len(gmm.lower_bounds_) == gmm.n_iter_ == 6
    assert gmm.lower_bounds_[-1] == gmm.lower_bound_ == gmm.objectives_[-1]
    assert gmm.score(X) == pytest.approx(gmm.lower_bound_, rel=1e-12)
    for i in (1, 4):
        assert gmm.lower_bounds_[i - 1] == pytest.approx(
            fit(X, any_type, start, max_iter=i).score(X), rel=1e-12
        )


# ------------------------------------------------------------------ 6. equivariance


@pytest.mark.parametrize("offset", [1e6, 1e8])
def test_shifted_data_have_the_same_covariances(blobs, any_type, offset):
    X, labels = blobs
    shifted = X + offset
    kwargs = {"init_params": labels, "reg_covar": 0}
    # Adding 1e8 rounds X itself to 1e-8: the reference is what is left of it.
    a = fit(shifted, any_type, **kwargs)
    b = fit(shifted - offset, any_type, **kwargs)
    np.testing.assert_allclose(a.covariances_, b.covariances_, rtol=1e-6)
    np.testing.assert_allclose(a.means_ - offset, b.means_, atol=1e-7)
    assert a.lower_bound_ == pytest.approx(b.lower_bound_, abs=1e-6)


@pytest.mark.parametrize("factor", [1e-9, 1e7])
def test_scaled_data_have_scaled_covariances(blobs, any_type, factor):
    X, labels = blobs
    kwargs = {"init_params": labels, "reg_covar": 0}
    a, b = fit(X, any_type, **kwargs), fit(X * factor, any_type, **kwargs)
    np.testing.assert_allclose(b.covariances_, a.covariances_ * factor**2, rtol=1e-8)
    np.testing.assert_allclose(b.means_, a.means_ * factor, rtol=1e-8)


@pytest.mark.parametrize(
    "covariance_type", ["full", "tied", "diag", "EEI", "VEI", "EVI", "VEE", "EVV"]
)
def test_separately_scaled_columns(blobs, covariance_type):
    X, labels = blobs
    factors = np.array([1e-4, 1.0, 1e5])
    kwargs = {"init_params": labels, "reg_covar": 0}
    a, b = fit(X, covariance_type, **kwargs), fit(X * factors, covariance_type, **kwargs)
    is_diagonal = covariance_type in ("diag", *DIAGONAL_TYPES)
    square = factors**2 if is_diagonal else np.outer(factors, factors)
    np.testing.assert_allclose(b.covariances_, a.covariances_ * square, rtol=1e-7)


def test_spectral_clusters_follow_shifts_and_units(blobs):
    X, _ = blobs
    whole = spectral(X)
    for factor in (2.0**-24, 2.0**27):  # which round nothing
        scaled = spectral(factor * X)
        np.testing.assert_array_equal(scaled.labels_, whole.labels_)
        np.testing.assert_allclose(scaled.inertias_, whole.inertias_, rtol=1e-8)
    shifted = X + 1e6
    a, b = spectral(shifted), spectral(shifted - 1e6)
    assert np.mean(a.labels_ == b.labels_) > 0.99  # a few rows may find another landmark


@pytest.mark.parametrize("cost", ["kl", "w2", "cauchy-schwarz"])
def test_aggregates_follow_shifts_and_units(blobs, covariance_type, cost):
    X, _ = blobs
    offset, factor = 1e6, 1e-7
    a, b, c = (aggregate(rows, covariance_type, cost=cost) for rows in (X, X + offset, factor * X))
    np.testing.assert_allclose(b.means_ - offset, a.means_, atol=1e-5)
    np.testing.assert_allclose(b.covariances_, a.covariances_, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(c.means_ / factor, a.means_, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(c.covariances_ / factor**2, a.covariances_, rtol=1e-6, atol=1e-8)


def aggregate(X, covariance_type="full", **kwargs):
    local = DistributedGMM(
        covariance_type=covariance_type, covariance_penalty="auto", reg_covar=0, max_iter=500
    )
    options = {"n_components": 3, "n_shards": 4, "random_state": 0, **kwargs}
    return MixtureOfExpertsAggregator(local, **options).fit(X)


def with_errors(X, covariance_type="full", init_params=None, **kwargs):
    gmm = DistributedGMM(
        3, covariance_type=covariance_type, init_params=init_params, reg_covar=0, max_iter=2000
    )
    options = {"n_subsets": 2, "n_resamples": 25, "subset_size": 900, "random_state": 0, **kwargs}
    return BLBMixture(gmm, **options).fit(X)


def test_errors_follow_shifts_and_units(blobs, covariance_type):
    X, labels = blobs
    offset, factor = 1e6, 1e-7
    forms = (X, X + offset, factor * X)
    a, b, c = (with_errors(rows, covariance_type, labels) for rows in forms)
    powers = {"weights": 0, "means": 1, "covariances": 2}
    for name, power in powers.items():
        own = a.standard_errors_[name]
        np.testing.assert_allclose(b.standard_errors_[name], own, rtol=1e-3)
        np.testing.assert_allclose(c.standard_errors_[name], own * factor**power, rtol=1e-4)


# ------------------------------------------------------------------ 7. labels


def test_permuted_components_have_their_errors(blobs, covariance_type):
    X, labels = blobs
    order = np.array([2, 0, 1])
    a = with_errors(X, covariance_type, labels)
    b = with_errors(X, covariance_type, order[labels])
    for name in ("weights", "means"):
        np.testing.assert_allclose(
            b.standard_errors_[name][order], a.standard_errors_[name], rtol=1e-3
        )


def test_permuted_components_change_no_score(blobs, any_type):
    X, labels = blobs
    order = np.array([2, 0, 1])
    a = fit(X, any_type, init_params=labels)
    b = fit(X, any_type, init_params=order[labels])
    np.testing.assert_allclose(b.score_samples(X), a.score_samples(X), rtol=1e-10)
    np.testing.assert_array_equal(b.predict(X), order[a.predict(X)])
    assert b.bic_ == pytest.approx(a.bic_, rel=1e-12)


# ------------------------------------------------------------------ 8. state


def test_fitted_state_is_plain_and_survives_pickling(blobs, any_type):
    X, _ = blobs
    gmm = fit(CutIn.cut(X, "seven"), any_type, random_state=0)
    for name, value in vars(gmm).items():
        plain = (np.ndarray, int, float, bool, str, list, type(None), Moments)
        assert isinstance(value, plain), name
    gmm.partial_fit(X)
    for name, value in vars(gmm._stream).items():
        assert isinstance(value, (float, int, type(None), GaussianStatistics, Moments)), name
    back = pickle.loads(pickle.dumps(gmm))
    np.testing.assert_array_equal(back.predict_proba(X), gmm.predict_proba(X))
    assert_same_bits(fit(X, any_type, random_state=0), fit(X, any_type, random_state=0))
    assert clone(gmm).get_params() == gmm.get_params()
    with_prior = clone(gmm.set_params(prior=ConjugatePrior(shrinkage=0.2)))
    assert with_prior.prior is not gmm.prior
    assert with_prior.prior.get_params() == gmm.prior.get_params()


@pytest.mark.parametrize("family", FAMILIES)
def test_fitted_state_of_any_family_is_plain(family):
    X, _ = make_counts()
    mixture = mixed(CutIn.cut(X, "seven"), family, random_state=0)
    given = mixture.family
    for name, value in vars(mixture).items():
        plain = (np.ndarray, int, float, bool, str, list, type(None))
        is_known = isinstance(value, plain) or is_dataclass(value)
        assert is_known or type(value) in (type(given), type(mixture.family_)), name
    back = pickle.loads(pickle.dumps(mixture))
    np.testing.assert_array_equal(back.predict_proba(X), mixture.predict_proba(X))
    assert clone(mixture).get_params()["family"].get_params() == given.get_params()
    assert clone(mixture).family is not given


def test_fitted_state_of_aggregates_is_plain(blobs):
    X, _ = blobs
    plain = (np.ndarray, int, float, bool, str, list, type(None), DistributedGMM)
    for options in ({}, {"aggregation": "stacking"}, {"gate": "softmax"}, {"gate": "gaussian"}):
        model = aggregate(X, **options)
        for name, value in vars(model).items():
            assert isinstance(value, plain) or is_dataclass(value), name
        back = pickle.loads(pickle.dumps(model))
        np.testing.assert_array_equal(back.predict_proba(X), model.predict_proba(X))
        assert clone(model).get_params().keys() == model.get_params().keys()


def test_fitted_state_of_spectral_clusters_is_plain(blobs):
    model = spectral(CutIn.cut(blobs[0], "seven"))
    for name, value in vars(model).items():
        plain = (np.ndarray, int, float, bool, str, list, type(None))
        assert isinstance(value, plain) or is_dataclass(value), name
    back = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(back.transform(blobs[0]), model.transform(blobs[0]))
    assert clone(model).get_params() == model.get_params()


def test_fitted_state_with_errors_is_plain(blobs):
    X, labels = blobs
    model = with_errors(X, init_params=labels)
    plain = (np.ndarray, int, float, bool, str, list, type(None), DistributedGMM, Bunch)
    for name, value in vars(model).items():
        assert isinstance(value, plain) or is_dataclass(value), name
    back = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(back.predict_proba(X), model.predict_proba(X))


def test_input_is_not_modified(blobs):
    X, _ = blobs
    start = start_of(X, 3, "full")
    copies = {k: v.copy() for k, v in start.items()}
    before, w = X.copy(), np.ones(len(X))
    gmm = fit([X[:1000], X[1000:]], start=start, sample_weight=[w[:1000], w[1000:]])
    gmm.predict_proba(X)
    np.testing.assert_array_equal(X, before)
    for name, value in copies.items():
        np.testing.assert_array_equal(start[name], value)
        assert getattr(gmm, name) is start[name]


def test_global_state_is_left_alone(blobs):
    from threadpoolctl import threadpool_info

    X, _ = blobs
    np.random.seed(7)  # noqa: NPY002 - the global generator is what must not change
    state, pools = np.random.get_state()[1].copy(), threadpool_info()  # noqa: NPY002
    errors = np.geterr()
    fit(X, random_state=0)
    with_errors(X, init_params=blobs[1])
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert threadpool_info() == pools
    assert np.geterr() == errors
