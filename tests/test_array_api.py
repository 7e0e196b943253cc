"""Arrays of other libraries than NumPy: the answers of NumPy, on the device where the rows lie."""

import pickle
import subprocess
import sys
import warnings

import joblib
import numpy as np
import pytest
from conftest import COVARIANCE_TYPES, make_blobs
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler

import skdistmix._compute._tasks as tasks
from skdistmix import DistributedGMM, as_shards
from skdistmix.families import GAUSSIAN_FAMILIES, Moments, TriangularKernel
from skdistmix.model_selection import FullData, neg_bic
from skdistmix.preprocessing import Shardwise

MODEL = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")


@pytest.fixture(scope="module")
def torch():
    pytest.importorskip("array_api_compat")
    torch = pytest.importorskip("torch")
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy machine its threads wait for each other
    yield torch
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def strict():
    pytest.importorskip("array_api_compat")
    return pytest.importorskip("array_api_strict")


@pytest.fixture(scope="module")
def rows():
    return make_blobs(n_rows=9000, n_features=4)[0]


@pytest.fixture(scope="module")
def weights(rows):
    return np.random.default_rng(1).integers(0, 4, len(rows)).astype(float)


def fit(X, n_components=3, sample_weight=None, **kwargs):
    kwargs = {"tol": 0, "max_iter": 8, "random_state": 0} | kwargs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return DistributedGMM(n_components, **kwargs).fit(X, sample_weight=sample_weight)


def assert_same_model(a, b, rtol=1e-6):
    for name in MODEL:
        assert type(getattr(a, name)) is np.ndarray
        assert getattr(a, name).dtype == np.float64
        scale = np.abs(getattr(b, name)).max()
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol, rtol * 1e-3 * scale)
    np.testing.assert_allclose(a.lower_bounds_, b.lower_bounds_, rtol=1e-9)
    np.testing.assert_allclose([a.bic_, a.aic_, a.icl_], [b.bic_, b.aic_, b.icl_], rtol=1e-9)


def with_tight_component(X):
    """Rows on which raw products would lose all digits of a component."""
    X = X.copy()
    X[: len(X) // 5] = X[0] + 1e-6 * X[: len(X) // 5]
    return X


# ------------------------------------------------------------------ the same answers


@pytest.mark.parametrize("covariance_type", [*COVARIANCE_TYPES, "VEI", "VEE", "EVE"])
@pytest.mark.parametrize("weighted", [False, True])
def test_same_fit_as_numpy(torch, rows, weights, covariance_type, weighted):
    w = weights if weighted else None
    expected = fit(rows, covariance_type=covariance_type, sample_weight=w)
    X = torch.from_numpy(rows.copy())
    found = fit(X, covariance_type=covariance_type, sample_weight=w)
    assert_same_model(found, expected)
    np.testing.assert_array_equal(X.numpy(), rows)  # not modified
    shards = [X[:10], X[10:4000], X[4000:4000], X[4000:]]
    assert_same_model(fit(shards, covariance_type=covariance_type, sample_weight=w), expected)
    np.testing.assert_allclose(
        found.score(X, sample_weight=w), expected.score(rows, sample_weight=w), rtol=1e-12
    )
    for criterion in ("bic", "aic", "icl"):
        np.testing.assert_allclose(
            getattr(found, criterion)(shards), getattr(expected, criterion)(rows), rtol=1e-12
        )


def test_the_guard_stays(torch, rows, covariance_type, monkeypatch):
    tight = with_tight_component(rows)
    seen = []
    original = TriangularKernel.statistics
    monkeypatch.setattr(
        TriangularKernel,
        "statistics",
        lambda self, blocks: seen.append(self.means) or original(self, blocks),
    )
    labels = make_blobs(n_rows=9000, n_features=4)[1]
    labels[: len(rows) // 5] = 3
    kwargs = {"n_components": 4, "init_params": labels, "reg_covar": 0.0, "max_iter": 4}
    kwargs |= {"covariance_type": covariance_type}
    expected, n_seen = fit(tight, **kwargs), len(seen)
    found = fit(torch.from_numpy(tight), **kwargs)
    if covariance_type != "tied":
        assert n_seen > 0
        assert len(seen) == 2 * n_seen  # switched in the same iterations
    assert_same_model(found, expected)


@pytest.mark.parametrize("covariance_type", [*COVARIANCE_TYPES, "VEE", "EVE"])
@pytest.mark.parametrize("n_features", [1, 2, 3, 8])
@pytest.mark.parametrize("anchored", [False, True])
def test_kernels_give_the_statistics_of_numpy(torch, covariance_type, n_features, anchored):
    from skdistmix._shards import Block

    X, _ = make_blobs(n_rows=500, n_features=n_features)
    X[7] = 1e5  # so far away that all densities underflow
    moments = Moments.of_rows(X, None, True, 3)
    params = fit(X[10:], covariance_type=covariance_type)._fitted_params()
    family = GAUSSIAN_FAMILIES[covariance_type](3).prepare(moments)
    kernel = family.kernel(params, params.means if anchored else None)
    w = np.random.default_rng(0).uniform(0.5, 2, len(X))
    cuts = [slice(0, 200), slice(200, 500)]
    found, expected = (
        kernel.statistics(Block(rows[cut], w[cut], range(500)[cut]) for cut in cuts)
        for rows in (torch.from_numpy(X), X)
    )
    for name in ("weight", "log_likelihood", "counts", "first", "second"):
        a, b = getattr(found, name), getattr(expected, name)
        if b is None:
            assert a is None
            continue
        scale = np.abs(b).max()
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11 * scale, err_msg=name)
    np.testing.assert_allclose(
        kernel.log_joint(torch.from_numpy(X)).numpy(), kernel.log_joint(X), rtol=1e-9, atol=1e-9
    )
    assert kernel.statistics(iter(())) is None


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int32", "int64", "bool"])
def test_other_dtypes_are_computed_in_float64(torch, rows, dtype):
    X = torch.from_numpy(rows - rows.mean(axis=0))
    X = X > 0 if dtype == "bool" else X.to(getattr(torch, dtype))
    kwargs = {"max_iter": 3, "reg_covar": 1e-3}
    found = fit(X, **kwargs)
    assert_same_model(found, fit(X.to(torch.float64).numpy(), **kwargs))
    assert found.score_samples(X).dtype == torch.float64


def test_sample_weight_may_be_a_tensor_too(torch, rows, weights):
    X, w = torch.from_numpy(rows), torch.from_numpy(weights)
    assert_same_model(fit(X, sample_weight=w), fit(rows, sample_weight=weights))
    pieces = fit([X[:100], X[100:]], sample_weight=[w[:100], w[100:]])
    assert_same_model(pieces, fit(rows, sample_weight=weights))


@pytest.mark.parametrize("init", ["k-means++", "random", "random_from_data", "labels", "resp"])
def test_every_start(torch, rows, init):
    rng = np.random.default_rng(0)
    given = {"labels": rng.integers(0, 3, len(rows)), "resp": rng.dirichlet(np.ones(3), len(rows))}
    init = given.get(init, init)
    assert_same_model(
        fit(torch.from_numpy(rows), init_params=init, max_iter=3),
        fit(rows, init_params=init, max_iter=3),
    )


def test_a_sample_first_and_several_starts(torch, rows):
    X = torch.from_numpy(rows)
    kwargs = {"subsample": 2000, "max_iter": 12}
    assert_same_model(fit(X, **kwargs), fit(rows, **kwargs))
    # of two starts that end in the same optimum the last bits choose one
    scores = fit(X, n_init=2, **kwargs).init_scores_
    np.testing.assert_allclose(scores, fit(rows, n_init=2, **kwargs).init_scores_, rtol=1e-9)


def test_warm_start(torch, rows):
    gmm = fit(torch.from_numpy(rows), warm_start=True, max_iter=4)
    with pytest.warns(ConvergenceWarning):
        gmm.fit(torch.from_numpy(rows))
    np.testing.assert_allclose(gmm.means_, fit(rows, max_iter=8).means_, rtol=1e-6)


def test_the_number_of_workers_changes_nothing(torch):
    X = torch.from_numpy(make_blobs(n_rows=150_000)[0])
    models = [fit(X, n_jobs=n_jobs, max_iter=2, subsample=None) for n_jobs in (1, 3)]
    for name in MODEL:
        assert getattr(models[0], name).tobytes() == getattr(models[1], name).tobytes()


def test_blocks_for_accelerators(torch, rows, monkeypatch):
    monkeypatch.setattr("skdistmix._shards._device.is_accelerator", lambda device: True)
    X = torch.from_numpy(rows)
    shards = as_shards(X, 2)
    assert tasks.useful_block_rows(shards, 4096) == 32 * 4096
    assert tasks.useful_block_rows(shards, 2**17) == 2**18
    assert len(tasks.cut_tasks(shards, 2**17)) == 2  # one a shard: devices may differ
    expected = fit(rows)
    assert_same_model(fit(X), expected)
    monkeypatch.setattr(tasks, "MAX_WIDE_ROWS", 1)
    assert_same_model(fit(shards), expected)
    resp = expected.predict_proba(shards)
    np.testing.assert_allclose(np.concatenate(resp), expected.predict_proba(rows), atol=1e-12)


# ------------------------------------------------------------------ what comes back


def test_rows_values_are_arrays_of_the_library(torch, rows):
    gmm = fit(rows)
    X = torch.from_numpy(rows).to(torch.float32)
    same = X.numpy()
    for method in ("predict", "predict_proba", "score_samples"):
        found, expected = getattr(gmm, method)(X), getattr(gmm, method)(same)
        assert isinstance(found, torch.Tensor)
        assert found.device == X.device
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-12)
        assert found.numpy().dtype == expected.dtype
        pieces = getattr(gmm, method)([X[:5], X[:0], X[5:]])
        assert [len(p) for p in pieces] == [5, 0, len(X) - 5]
        assert all(isinstance(p, torch.Tensor) for p in pieces)
        torch.testing.assert_close(torch.concat(pieces), found)
    labels = gmm.set_params(tol=0.1).fit_predict(X)
    assert isinstance(labels, torch.Tensor)


def test_predictions_are_written(torch, rows, tmp_path):
    pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    from skdistmix.io import write_predictions

    gmm = fit(rows)
    write_predictions(gmm, torch.from_numpy(rows), tmp_path / "labels.parquet")
    labels = pq.read_table(tmp_path / "labels.parquet")["label"].to_numpy()
    np.testing.assert_array_equal(labels, gmm.predict(rows))


def test_pickle_and_clone(torch, rows):
    gmm = fit(torch.from_numpy(rows), device="cpu")
    again = pickle.loads(pickle.dumps(gmm))
    np.testing.assert_array_equal(again.predict(rows), gmm.predict(rows))
    assert clone(gmm).device == "cpu"
    assert b"torch" not in pickle.dumps(gmm)


def test_searches_and_scalers(torch, rows):
    X = torch.from_numpy(rows)
    shards = [X[:4000], X[4000:]]
    search = GridSearchCV(
        DistributedGMM(random_state=0), {"n_components": [1, 3]}, scoring=neg_bic, cv=FullData()
    )
    assert search.fit(shards).best_params_ == {"n_components": 3}
    assert search.fit(as_shards(X, 3)).best_params_ == {"n_components": 3}
    scaler, expected = Shardwise(StandardScaler()), StandardScaler().fit(rows)
    np.testing.assert_allclose(scaler.fit(shards).transformer_.mean_, expected.mean_)
    scaled = scaler.transform(shards)
    assert all(isinstance(piece, np.ndarray) for piece in scaled)
    np.testing.assert_allclose(np.concatenate(scaled), expected.transform(rows))
    np.testing.assert_allclose(
        np.concatenate(scaler.inverse_transform([torch.from_numpy(s) for s in scaled])), rows
    )
    doubled = as_shards(shards).map(lambda rows: 2 * rows, n_features=4)
    assert_same_model(fit(doubled), fit(2 * rows))


# ------------------------------------------------------------------ devices


def test_device(torch, rows):
    X = torch.from_numpy(rows)
    gmm = fit(X, device="cpu")
    assert_same_model(gmm, fit(rows))
    assert_same_model(fit([X[:100], X[100:]], device=torch.device("cpu")), gmm)
    assert isinstance(gmm.predict(rows), np.ndarray)  # no device is needed
    assert isinstance(gmm.predict(X), torch.Tensor)


@pytest.mark.parametrize("device", ["cuda:9", "nonsense", "meta", 3.5])
def test_a_device_that_is_not_there(torch, rows, device):
    X = torch.from_numpy(rows)
    message = r"device=.*cannot be used for arrays of torch \(.*Give a device of torch.*None"
    with pytest.raises(ValueError, match=message):
        fit(X, device=device)
    gmm = fit(X).set_params(device=device)
    with pytest.raises(ValueError, match=message):
        gmm.predict([X])
    with pytest.raises(ValueError, match=message):
        gmm.score(X)


def test_a_device_is_for_other_libraries_only(rows, tmp_path):
    np.save(tmp_path / "rows.npy", rows)
    for X in (rows, [rows], str(tmp_path / "rows.npy"), rows.tolist()):
        with pytest.raises(ValueError, match=r"device='cpu' is for .*torch\.from_numpy\(X\)"):
            fit(X, device="cpu")


def test_on_a_gpu(torch, rows, weights, covariance_type):
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    X = torch.from_numpy(rows)
    for tight in (False, True):
        Y = with_tight_component(rows) if tight else rows
        kwargs = {"covariance_type": covariance_type, "sample_weight": weights, "reg_covar": 0.0}
        expected = fit(Y, **kwargs)
        there, here = torch.from_numpy(Y).to("cuda"), torch.from_numpy(Y)
        assert_same_model(fit(there, **kwargs), expected)
        assert_same_model(fit([there[:99], there[99:]], **kwargs), expected)
        assert_same_model(fit(here, device="cuda", **kwargs), expected)
    gmm = fit(X, device="cuda")
    for method in ("predict", "predict_proba", "score_samples"):
        values = getattr(gmm, method)(X.to("cuda"))
        assert values.device.type == "cuda"
        same = getattr(gmm, method)(X)
        assert same.device.type == "cpu"
        torch.testing.assert_close(values.cpu(), same)
        np.testing.assert_allclose(same.numpy(), getattr(gmm, method)(rows), rtol=1e-7, atol=1e-9)


def test_values_lie_where_the_rows_lie(strict, rows):
    """Devices of array-api-strict refuse every operation with arrays of another one."""
    cpu, other = strict.Device("CPU_DEVICE"), strict.Device("device1")
    X = strict.asarray(rows[:1000])
    expected = fit(rows[:1000])
    for home, device in ((cpu, None), (other, None), (cpu, other), (other, cpu)):
        there = X.to_device(home)
        gmm = fit(there, device=device)
        assert_same_model(gmm, expected)
        for method in ("predict", "predict_proba", "score_samples"):
            values = getattr(gmm, method)(there)
            assert values.device == home
            values = np.asarray(values.to_device(cpu))
            np.testing.assert_allclose(values, getattr(gmm, method)(rows[:1000]), atol=1e-9)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("tight", [False, True])
def test_only_the_array_api_is_used(strict, rows, weights, covariance_type, tight):
    X, w = with_tight_component(rows[:2000]) if tight else rows[:2000], weights[:2000]
    kwargs = {"covariance_type": covariance_type, "sample_weight": w, "reg_covar": 0.0}
    there = strict.asarray(X)
    for given in (there, [there[:50, :], there[50:, :]]):
        assert_same_model(fit(given, **kwargs), fit(X, **kwargs), rtol=1e-5)


def test_shards_may_lie_on_several_devices(strict, rows):
    X = strict.asarray(rows[:3000])
    devices = ("CPU_DEVICE", "device1", "device2")
    shards = [
        X[1000 * i : 1000 * (i + 1), :].to_device(strict.Device(name))
        for i, name in enumerate(devices)
    ]
    gmm = fit(shards)
    assert_same_model(gmm, fit(rows[:3000]))
    assert [str(v.device) for v in gmm.predict(shards)] == [str(s.device) for s in shards]


def test_rows_of_a_device_without_float64_are_computed_on_the_host(strict, rows):
    single = rows[:1000].astype(np.float32)
    device = strict.Device("no_float64")
    X = strict.asarray(single, device=device)
    gmm = fit(X)
    assert_same_model(gmm, fit(single), rtol=1e-10)
    values = gmm.predict_proba(X)
    assert values.device == device
    assert values.dtype == strict.float32
    assert gmm.predict(X).device == device
    mixed = [X[:500, :], strict.asarray(single[500:])]
    assert_same_model(fit(mixed), gmm, rtol=1e-6)
    with pytest.raises(ValueError, match="has no float64"):
        fit(strict.asarray(single), device=device)
    there = fit(X, device=strict.Device("device1"))
    assert_same_model(there, gmm)
    assert there.predict_proba(X).device == device


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_the_error_names_shard_and_row(torch, rows, value):
    X = torch.from_numpy(rows.copy())
    X[4321, 2] = value
    kind = "NaN" if np.isnan(value) else "infinity"
    with pytest.raises(ValueError, match=rf"contains {kind}: shard 1, row 321\."):
        fit([X[:4000], X[4000:]])
    gmm = fit(rows)
    with pytest.raises(ValueError, match=rf"contains {kind}: shard 0 .*row 4321"):
        gmm.predict(as_shards(X, 2))


def test_large_numbers_are_not_taken_for_infinity(torch):
    X = np.random.default_rng(0).normal(size=(100, 2))
    X[0] = 1.5e308, -1e3
    X[1] = 1.5e308, 1e3
    gmm = fit(X[2:])
    with np.errstate(over="ignore", invalid="ignore"):
        assert gmm.predict(torch.from_numpy(X)).shape == (100,)


def test_unusable_arrays(torch, rows):
    X = torch.from_numpy(rows)
    with pytest.raises(ValueError, match="Expected 2D array, got 1D array"):
        fit(X[:, 0])
    with pytest.raises(ValueError, match="Expected 2D array, got 3D array"):
        as_shards(X[None])
    with pytest.raises(ValueError, match=r"dtype torch\.complex"):
        fit(X.to(torch.complex128))
    with pytest.raises(ValueError, match="sparse"):
        fit(X.to_sparse())
    with pytest.raises(ValueError, match=r"0 feature\(s\)"):
        fit(X[:, :0])
    with pytest.raises(ValueError, match="minimum of 2"):
        fit(X[:0])
    with pytest.raises(ValueError, match="device meta"):
        fit(X.to("meta"))
    with pytest.raises(ValueError, match="shard 1 has 3 features, shard 0 has 4"):
        fit([X, X[:, :3]])
    with pytest.raises(ValueError, match="X has 3 features, but DistributedGMM is expecting 4"):
        fit(X).predict(X[:, :3])
    with pytest.raises(ValueError, match="no column names"):
        as_shards(X, columns=["a"])


def test_mixed_lists(torch, rows):
    X = torch.from_numpy(rows)
    for shards in ([X, rows], [rows, X], [as_shards(X)[0], rows]):
        with pytest.raises(ValueError, match=r"rows of (torch|numpy).*one library"):
            fit(shards)


def test_a_tensor_that_requires_its_gradient(torch, rows):
    X = torch.from_numpy(rows.copy()).requires_grad_()
    gmm = fit(X)
    assert_same_model(gmm, fit(rows))
    assert not gmm.predict_proba(X).requires_grad
    assert X.grad is None


def test_other_processes_are_refused(torch, rows):
    X = torch.from_numpy(rows)
    with joblib.parallel_config("loky", n_jobs=2):
        with pytest.raises(ValueError, match=r"arrays of torch.*other processes.*numpy\(force"):
            fit(X)
    with joblib.parallel_config("threading", n_jobs=2):
        assert_same_model(fit(X), fit(rows))


def test_partitions_of_tensors_are_read_into_numpy(torch, rows):
    dask = pytest.importorskip("dask")
    X = torch.from_numpy(rows)
    parts = [dask.delayed(X[:4000]), dask.delayed(X[4000:])]
    gmm = fit(parts)
    assert_same_model(gmm, fit([rows[:4000], rows[4000:]]))
    np.testing.assert_array_equal(gmm.predict(parts)[0].compute(), gmm.predict(rows[:4000]))


def test_the_missing_package_is_named(torch, rows, monkeypatch):
    monkeypatch.setitem(sys.modules, "array_api_compat", None)
    with pytest.raises(ImportError, match=r'pip install "skdistmix\[array-api\]"'):
        fit(torch.from_numpy(rows))


def test_numpy_needs_no_other_library():
    code = (
        "import sys, numpy as np; from skdistmix import DistributedGMM; "
        "X = np.random.default_rng(0).normal(size=(100, 2)); "
        "DistributedGMM().fit([X, X]).predict(X.tolist()); "
        "print(sorted({'torch', 'array_api_compat'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
