"""Dask: rows stay where they live, and sums come back."""

import importlib
import pickle
import sys
import threading
import time
import warnings

import joblib
import numpy as np
import pytest
from conftest import make_blobs
from on_dask import LABELS, X, array, fit, quiet
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdistmix import DistributedGMM, as_shards
from skdistmix._compute import resolve_backend
from skdistmix._compute._cluster import Cluster
from skdistmix._shards import loaded
from skdistmix.families import Moments
from skdistmix.io import write_predictions
from skdistmix.model_selection import FullData, neg_bic
from skdistmix.preprocessing import Shardwise

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")
import pandas as pd  # noqa: E402 - Dask's DataFrames need it

pytestmark = quiet

W = np.random.default_rng(1).integers(0, 4, len(X)).astype(float)
NAMES = list("abc")
MODEL = ("weights_", "means_", "covariances_")


@pytest.fixture(scope="module")
def whole():
    return fit(X)


@pytest.fixture(scope="module")
def weighted():
    return fit(X, W)


def assert_same_model(a, b):
    for name in MODEL:
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(a.lower_bounds_, b.lower_bounds_, rtol=1e-9)


def frame(values=X):
    return dd.from_pandas(pd.DataFrame(values, columns=NAMES), npartitions=5)


# ------------------------------------------------------------------ forms


def test_every_dask_form_gives_the_same_fit(somewhere, whole):
    forms = [
        array(),
        da.from_array(X, chunks=(2500, 2)),  # columns in two chunks
        array().persist(),
        frame(),
        frame().to_dask_array(),  # unknown chunk sizes
        [dask.delayed(np.asarray)(part) for part in np.array_split(X, 3)],
        as_shards(array()),
        as_shards(array()).map(np.asarray, n_features=3),
        as_shards(frame().assign(text="not a number"), columns=NAMES),
    ]
    for form in forms:
        assert_same_model(fit(form), whole)


def test_futures_are_shards(client, whole):
    futures = client.scatter(np.array_split(X, 4))
    assert_same_model(fit(futures), whole)
    frames = client.map(pd.DataFrame, np.array_split(X, 4))
    assert_same_model(fit(frames), whole)
    assert_same_model(fit(client.submit(np.asarray, X)), whole)


def test_weights_in_every_form(somewhere, weighted):
    series = dd.from_pandas(pd.DataFrame(W, columns=["w"]), npartitions=5)["w"]
    pairs = [
        (array(), da.from_array(W, chunks=1700)),
        (array(), W),
        (array(), np.split(W, [1700, 3400, 5100])),
        (frame(), series),
        (frame(), W),
        (
            as_shards(dd.from_pandas(frame().compute().assign(w=W), npartitions=5), columns=NAMES),
            "w",
        ),
    ]
    for data, weights in pairs:
        assert_same_model(fit(data, weights), weighted)
    far, near = (weighted.score(data, sample_weight=W) for data in (array(), X))
    assert far == pytest.approx(near, rel=1e-12)


def test_bad_weights_name_the_partition(somewhere):
    bad = W.copy()
    bad[5500] = -1
    with pytest.raises(ValueError, match="partition 3 is negative at row 400"):
        fit(array(), da.from_array(bad, chunks=1700))
    with pytest.raises(ValueError, match=r"partition 3 has values up to 1e\+308"):
        fit(array(), da.from_array(np.where(bad < 0, 1e308, 1.0), chunks=1700))
    with pytest.raises(ValueError, match="comes in 2 pieces, X in 4 shards"):
        fit(array(), da.from_array(W, chunks=3000))
    with pytest.raises(ValueError, match="no such column"):
        fit(frame(), "w")


def test_weights_are_one_column(somewhere, weighted):
    assert_same_model(fit(array(), da.from_array(W[:, None], chunks=(1700, 1))), weighted)
    with pytest.raises(ValueError, match=r"partition 0 of sample_weight has shape \(1700, 2\)"):
        fit(array(), da.from_array(np.stack([W, W], 1), chunks=(1700, 2)))


def test_empty_partitions_are_skipped(somewhere, whole):
    data = frame()
    holes = data[data["a"] < 1e9].map_partitions(hollow, meta=data._meta)
    assert min(as_shards(holes).sizes) == 0
    kept = holes.compute().to_numpy()
    assert_same_model(fit(holes), fit(kept))
    np.testing.assert_array_equal(whole.predict(kept), whole.predict(holes.to_dask_array()))


def hollow(part):
    return part if part.index[0] % 2400 else part.iloc[:0]


def test_a_joblib_context_of_dask_sends_rows_once_and_gives_the_same_bits(client):
    rows, _ = make_blobs(n_rows=200_000, n_features=4)
    weights = np.random.default_rng(0).integers(0, 3, len(rows)).astype(float)
    shards = as_shards(np.array_split(rows, 3))
    for sample_weight in (None, weights):
        one = fit(shards, sample_weight, max_iter=2)
        with joblib.parallel_config("dask"):
            two = fit(shards, sample_weight, max_iter=2)
            labels = two.predict(shards)
        for name in MODEL:
            assert getattr(one, name).tobytes() == getattr(two, name).tobytes()
        assert one.lower_bounds_ == two.lower_bounds_
        np.testing.assert_array_equal(np.concatenate(labels), one.predict(rows))


def test_a_joblib_context_of_dask_reads_files_on_the_workers(client, tmp_path, whole):
    for i, part in enumerate(np.array_split(X, 3)):
        np.save(tmp_path / f"{i}.npy", part)
    with joblib.parallel_config("dask"):
        assert_same_model(fit(str(tmp_path / "*.npy")), whole)


# ------------------------------------------------------------------ where rows are


def test_rows_stay_where_they_live_and_sums_travel(client, whole):
    shards = as_shards(array(), client=client)
    parts = [shard.part for shard in shards]
    before = client.who_has(parts)
    fit(shards)
    assert client.who_has(parts) == before
    family, params = whole._family_and_params()
    kernel = family.kernel(params)
    collected = []

    class Watched(Cluster):
        def _add(self, *futures):
            collected.append(super()._add(*futures))
            return collected[-1]

    with Watched(client) as cluster:
        total = cluster.map_reduce(kernel.statistics, shards, kernel.block_rows, False)
        wire = len(pickle.dumps(collected[-1].result()))
    K, d = 3, 3
    formula = 8 * (2 + K + 2 * K * d + K * d * d)  # sums, and the anchors they are about
    assert len(collected) == 1  # four partitions: one addition, on a worker
    assert total.weight == len(X)
    assert wire < formula + 1500
    assert len(pickle.dumps(kernel)) < 8 * K * (1 + d + d * (d + 1) // 2) + 1500


def test_more_partitions_than_a_node_of_the_tree(client, whole):
    assert_same_model(fit(array(rows=100)), whole)


def test_the_fitted_state_holds_nothing_of_the_cluster(client):
    gmm = fit(array())
    for name, value in vars(gmm).items():
        plain = (np.ndarray, int, float, bool, str, list, type(None), Moments)
        assert isinstance(value, plain), name
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed, "get_client", None)
        back = pickle.loads(pickle.dumps(gmm))
    np.testing.assert_array_equal(back.predict(X), gmm.predict(X))


def test_a_client_is_passed_or_found(client):
    lazy = array()
    with pytest.raises(ValueError, match="client is for Dask collections"):
        as_shards(X, client=client)
    with distributed.Client(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as other:
        assert as_shards(lazy, client=client).client is client
        assert as_shards(client.persist(lazy)).client is client
        with other.as_current():
            assert as_shards(lazy).client is other


# ------------------------------------------------------------------ lazy results


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score_samples"])
def test_dask_in_lazy_dask_out(somewhere, whole, method):
    expected = getattr(whole, method)(X)
    data = array()
    lazy = getattr(whole, method)(data)
    assert lazy.chunks[0] == data.chunks[0]
    assert (lazy.shape, lazy.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(lazy.compute(), expected)
    unknown = getattr(whole, method)(frame().to_dask_array())
    np.testing.assert_allclose(unknown.compute(), expected)
    named = fit(pd.DataFrame(X, columns=NAMES))
    frames = frame()
    lazy = getattr(named, method)(frames)
    assert lazy.divisions == frames.divisions
    found = lazy.compute()
    assert found.index.equals(frames.compute().index)
    np.testing.assert_allclose(found.to_numpy(), expected)
    assert (
        list(getattr(found, "columns", [found.name if found.ndim == 1 else None]))
        == {
            "predict": ["label"],
            "predict_proba": ["component_0", "component_1", "component_2"],
            "score_samples": ["log_density"],
        }[method]
    )
    pieces = getattr(whole, method)([dask.delayed(np.asarray)(X[:50]), dask.delayed(X[50:90])])
    np.testing.assert_allclose(np.concatenate(dask.compute(*pieces)), expected[:90])


def test_a_module_that_another_thread_is_importing_is_awaited(tmp_path, monkeypatch):
    (tmp_path / "slow_module.py").write_text(
        "import time\nbegun = True\ntime.sleep(0.3)\ndone = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "slow_module", None)
    assert loaded("slow_module") is None
    monkeypatch.delitem(sys.modules, "slow_module")
    thread = threading.Thread(target=importlib.import_module, args=["slow_module"])
    thread.start()
    while not hasattr(sys.modules.get("slow_module"), "begun"):
        time.sleep(0.001)
    assert loaded("slow_module").done
    thread.join()


def test_columns_of_delayed_frames_are_found_by_name(somewhere):
    rows = pd.DataFrame(X, columns=NAMES)
    named = fit(rows)
    swapped, other = (dask.delayed(part) for part in (rows[["c", "a", "b"]], rows.add_prefix("x")))
    (labels,) = named.predict([swapped])
    np.testing.assert_array_equal(labels.compute(), named.predict(rows))
    with pytest.raises(ValueError, match=r"columns \['xa', .*fitted to \['a', 'b', 'c'\]"):
        named.predict(other).compute()


def test_criteria_of_dask_data(somewhere):
    gmm = DistributedGMM(3, random_state=0, tol="likelihood", max_iter=500).fit(X)
    for method in ("score", "bic", "aic", "icl"):
        assert getattr(gmm, method)(array()) == pytest.approx(getattr(gmm, method)(X), rel=1e-12)


def test_predictions_are_written_by_the_workers(somewhere, whole, tmp_path):
    pytest.importorskip("pyarrow")
    files = write_predictions(whole, array(), tmp_path / "labels")
    assert len(files) == 4
    found = np.concatenate([pd.read_parquet(file)["label"].to_numpy() for file in files])
    np.testing.assert_array_equal(found, whole.predict(X))


def test_predictions_are_written_on_the_cluster_that_has_the_rows(client, whole, tmp_path):
    pytest.importorskip("pyarrow")
    held = client.persist(array())
    with distributed.Client(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as other:
        with other.as_current():
            files = write_predictions(whole, held, tmp_path / "labels")
    assert len(files) == 4


# ------------------------------------------------------------------ beside others


def test_scaling_and_pca_of_dask_ml_in_a_pipeline(client):
    pytest.importorskip("dask_ml")
    from dask_ml.decomposition import PCA
    from dask_ml.preprocessing import StandardScaler as FarScaler
    from sklearn.decomposition import PCA as LocalPCA

    data = array()
    far = make_pipeline(FarScaler(), PCA(2, random_state=0, svd_solver="full"), given_labels())
    near = make_pipeline(StandardScaler(), LocalPCA(2, svd_solver="full"), given_labels())
    far.fit(data), near.fit(X)
    # The axes of a PCA may point either way, which changes no density.
    assert far[-1].lower_bound_ == pytest.approx(near[-1].lower_bound_, rel=1e-8)
    assert far.score(data) == pytest.approx(near.score(X), rel=1e-8)
    np.testing.assert_array_equal(far.predict(data).compute(), near.predict(X))


def given_labels():
    return DistributedGMM(3, init_params=LABELS, tol=1e-4)


def test_grid_search_of_dask_ml(client):
    search = pytest.importorskip("dask_ml.model_selection").GridSearchCV(
        DistributedGMM(random_state=0), {"n_components": [1, 3]}, cv=2
    )
    search.fit(X)
    assert search.best_params_ == {"n_components": 3}


def test_parallel_post_fit(client, whole):
    ParallelPostFit = pytest.importorskip("dask_ml.wrappers").ParallelPostFit
    model = ParallelPostFit(DistributedGMM(3, random_state=0)).fit(X)
    labels = model.predict(array())
    assert isinstance(labels, da.Array)
    np.testing.assert_array_equal(labels.compute(), model.estimator.predict(X))


def test_grid_search_over_shards(client):
    search = GridSearchCV(
        DistributedGMM(tol="likelihood", max_iter=500, random_state=0),
        {"n_components": [2, 3, 4]},
        scoring=neg_bic,
        cv=FullData(),
    )
    assert search.fit(as_shards(array())).best_params_ == {"n_components": 3}
    folds = GridSearchCV(DistributedGMM(random_state=0), {"n_components": [1, 3]}, cv=2)
    assert folds.fit(as_shards(array())).best_params_ == {"n_components": 3}


def test_a_search_whose_fits_run_on_the_workers(client):
    search = GridSearchCV(
        DistributedGMM(random_state=0), {"n_components": [1, 3]}, scoring=neg_bic, cv=FullData()
    )
    with joblib.parallel_config("dask"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert search.fit(as_shards(X, 4)).best_params_ == {"n_components": 3}


def test_a_fit_inside_a_task_uses_one_thread_and_does_not_wait_for_itself(client, whole):
    assert client.submit(resolve_backend, None).result() == (False, 1)
    assert_same_model(client.submit(fit, X).result(), whole)
    shards = as_shards(array())
    inside = [client.submit(fit, shards, pure=False) for _ in range(3)]
    for gmm in client.gather(inside):
        assert_same_model(gmm, whole)


def test_shardwise_does_not_bring_all_rows_here(client):
    with pytest.raises(TypeError, match=r"bring all its rows here.*dask_ml"):
        Shardwise().fit(array())


def test_a_pipeline_with_shardwise_stays_lazy(somewhere, tmp_path):
    scaled = FrozenEstimator(StandardScaler().fit(X))
    pipe = make_pipeline(Shardwise(scaled), given_labels())
    near = pipe.fit(X).predict(X)
    far = pipe.fit(array()).predict(array())
    assert isinstance(far, da.Array) and far.chunks == (array().chunks[0],)
    np.testing.assert_array_equal(far.compute(), near)
    pytest.importorskip("pyarrow")
    files = write_predictions(pipe, array(), tmp_path / "labels")
    found = np.concatenate([pd.read_parquet(file)["label"].to_numpy() for file in files])
    np.testing.assert_array_equal(found, near)


def test_shardwise_of_dask_collections():
    rows = frame().compute()
    step = Shardwise(StandardScaler()).fit(rows)
    lazy = step.transform(frame())
    assert (lazy.divisions, list(lazy.columns)) == (frame().divisions, NAMES)
    with dask.config.set(scheduler="synchronous"):
        pd.testing.assert_frame_equal(lazy.compute(), rows.sub(X.mean(0)).div(X.std(0)))
        pd.testing.assert_frame_equal(step.inverse_transform(lazy).compute(), rows)
        small = Shardwise().fit(X).transform(array(X.astype(np.float32)))
        assert small.dtype == small.compute().dtype == np.float32
        filled = Shardwise(FrozenEstimator(SimpleImputer().fit(X)))
        holes = np.where(X > 0, X, np.nan)
        back = filled.fit(X).transform(array(holes)).compute()
        np.testing.assert_array_equal(back, SimpleImputer().fit(X).transform(holes))
    with pytest.raises(ValueError, match="feature names"):
        step.transform(frame()[NAMES[:2]])
    with pytest.raises(ValueError, match="X has 2 features, but Shardwise"):
        step.inverse_transform(array()[:, :2])
