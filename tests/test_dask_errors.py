"""Dask: what goes wrong on a cluster is said in the words of where it went wrong."""

import gc
import threading
import time

import numpy as np
import pytest
from on_dask import X, array, fit, quiet

from skdistmix import as_shards
from skdistmix._compute import Workers

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
import pandas as pd  # noqa: E402 - Dask's DataFrames need it

pytestmark = quiet


def refuse(rows):
    raise RuntimeError("the disk of this worker is full")


def test_partitions_of_other_width_or_kind_are_named(somewhere):
    wide = [dask.delayed(np.zeros)((5, 3)), dask.delayed(np.zeros)((5, 4))]
    with pytest.raises(ValueError, match="partition 1 has 4 features, partition 0 has 3"):
        fit(wide)
    with pytest.raises(ValueError, match=r"partition 1 is a ndarray of shape \(5,\)"):
        fit([dask.delayed(np.zeros)((5, 3)), dask.delayed(np.zeros)(5)])
    text = [dask.delayed(X[:9]), dask.delayed(X[:9].astype(str))]
    with pytest.raises(ValueError, match="partition 1 holds values of dtype <U32"):
        fit(text)
    columns = [dask.delayed(pd.DataFrame)({"a": [1.0], name: [2.0]}) for name in "bc"]
    with pytest.raises(ValueError, match=r"partition 1 has other columns.*missing \['b'\]"):
        fit(columns)
    with pytest.raises(ValueError, match="got 1D"):
        fit(array()[:, 0])
    with pytest.raises(TypeError, match="next to futures and delayed values"):
        fit([array(), array()])


def test_a_missing_value_names_partition_and_row(somewhere):
    bad = X.copy()
    bad[5500, 1] = np.nan
    with pytest.raises(ValueError, match="NaN: partition 3, row 400"):
        fit(array(bad))
    with pytest.raises(ValueError, match="NaN: partition 3, row 400"):
        fit(X).predict(array(bad)).compute()


def test_other_columns_than_in_fit(somewhere):
    whole = fit(X)
    with pytest.raises(ValueError, match="2 features"):
        whole.predict(array()[:, :2])
    with pytest.raises(ValueError, match="2 features"):
        whole.predict(dask.delayed(X[:, :2])).compute()


def test_the_message_of_a_worker_reaches_the_user(client):
    with pytest.raises(RuntimeError, match="the disk of this worker is full"):
        fit(array().map_blocks(refuse, dtype=float, meta=np.empty((0, 0))))
    with pytest.raises(RuntimeError, match="the disk of this worker is full"):
        fit(as_shards(array()).map(refuse, n_features=3))


def test_a_fit_that_fails_leaves_nothing_on_the_cluster(client):
    def n_tasks(dask_scheduler):
        return len(dask_scheduler.tasks)

    for bad in (array().map_blocks(refuse, dtype=float, meta=np.empty((0, 0))), None):
        with pytest.raises(RuntimeError, match="the disk of this worker is full"):
            fit(bad if bad is not None else as_shards(array()).map(refuse, n_features=3))
        deadline = time.monotonic() + 20
        while client.run_on_scheduler(n_tasks) and time.monotonic() < deadline:
            gc.collect()
            time.sleep(0.05)
        assert client.run_on_scheduler(n_tasks) == 0


def test_a_client_that_cannot_be_used(client):
    with pytest.raises(TypeError, match=r"must be a distributed.Client .* got 'tcp:"):
        as_shards(array(), client="tcp://127.0.0.1:8786")
    closed = distributed.Client(client.cluster, set_as_default=False)
    closed.close()
    with pytest.raises(RuntimeError, match=r"client or its cluster was closed"):
        as_shards(array(), client=closed)


def test_a_client_that_closes_in_mid_fit_is_said_clearly(monkeypatch):
    client = distributed.Client(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
    )
    shards = as_shards(array(), client=client)
    rounds = []
    run = Workers.map_reduce

    def closing(self, *args, **kwargs):
        rounds.append(1)
        if len(rounds) == 9:
            closer = threading.Thread(target=client.close)
            closer.start()
            closer.join()
        return run(self, *args, **kwargs)

    monkeypatch.setattr(Workers, "map_reduce", closing)
    try:
        with pytest.raises(
            RuntimeError, match=r"Dask client or its cluster was closed.*new client"
        ):
            fit(shards, max_iter=50)
    finally:
        client.close()
        client.cluster.close()


def test_rows_that_are_lost_with_a_worker_are_told_from_a_closed_client():
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        shards = as_shards(client.scatter([X[:4000], X[4000:]]))
        client.retire_workers([client.cluster.workers[0].address], remove=True, close_workers=True)
        client.cancel([shard.part for shard in shards], force=True)
        with pytest.raises(RuntimeError, match=r"are gone, because the worker.*Send them again"):
            fit(shards)
