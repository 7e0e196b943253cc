"""What a Dask cluster costs: time of an EM iteration on workers against threads, and traffic.

The same rows, in the same 16 partitions, are fitted from the same start on the threads of this
process and on a local cluster of two processes with one thread each. Runs alternate.

* s/iteration: difference of two fits of different max_iter at tol=0, median over repetitions.
* traffic: what leaves this process for the cluster in a round (the parameters) and what comes back
  (one sum), serialized as Dask does it, beside the formula.

    python examples/benchmarks/dask_overhead.py
"""

import argparse
import json
import statistics
import time
import warnings

import numpy as np

N_FEATURES, K, N_PARTITIONS = 10, 10, 16


def make_parts(n_rows):
    """Means ~ N(0, 9 I), A_k = I + N(0, 1) / sqrt(d), rows = A_k z + mean_k, in equal parts."""
    rng = np.random.default_rng(0)
    d = N_FEATURES
    means = rng.normal(0, 3, (K, d))
    shapes = np.eye(d) + rng.normal(size=(K, d, d)) / np.sqrt(d)
    parts = []
    for rows in np.full(N_PARTITIONS, n_rows // N_PARTITIONS):
        labels = rng.integers(0, K, rows)
        X = rng.normal(size=(rows, d))
        for k in range(K):
            X[labels == k] = X[labels == k] @ shapes[k].T + means[k]
        parts.append(X)
    return parts


def formula():
    """Bytes out and in of a round: theta, and counts, first and second sums, and two totals."""
    d, p = N_FEATURES, 1 + N_FEATURES + N_FEATURES * (N_FEATURES + 1) // 2
    return 8 * K * p, 8 * (2 + K + K * d + K * d * d)


def measured(client, shards, gmm):
    """Bytes that went out and came back in a round: the serialized contents of its futures."""
    from distributed.protocol import serialize

    from skdistmix._compute._cluster import Cluster

    def size(value):
        _, frames = serialize(value)
        return sum(memoryview(frame).nbytes for frame in frames)

    family, params = gmm._family_and_params()
    kernel = family.kernel(params)
    with Cluster(client) as cluster:
        total = cluster.map_reduce(kernel.statistics, shards, kernel.block_rows, False)
    return size(kernel), size(total)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=6)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    from dask.distributed import Client, LocalCluster
    from sklearn.exceptions import ConvergenceWarning

    from skdistmix import DistributedGMM, as_shards

    warnings.simplefilter("ignore", ConvergenceWarning)
    parts = make_parts(args.rows)
    sample = parts[0][:50_000]
    start = {
        "weights_init": np.full(K, 1 / K),
        "means_init": sample[:K],
        "precisions_init": np.stack([np.linalg.inv(np.cov(sample.T))] * K),
    }

    def seconds(shards):
        times = []
        for max_iter in (1, 1 + args.iterations):
            began = time.perf_counter()
            gmm = DistributedGMM(K, tol=0, max_iter=max_iter, **start).fit(shards)
            times.append(time.perf_counter() - began)
        return (times[1] - times[0]) / args.iterations, gmm

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        on_cluster = as_shards(client.scatter(parts))
        runs = []
        for _ in range(args.repeats):
            (threads, a), (dask, b) = seconds(parts), seconds(on_cluster)
            runs.append((threads, dask))
        assert np.allclose(a.means_, b.means_, rtol=1e-8)
        threads, dask = (statistics.median(times) for times in zip(*runs))
        kernel, held = measured(client, on_cluster, b)
    out, back = formula()
    found = {
        "threads": threads,
        "dask": dask,
        "ratio": statistics.median(d / t for t, d in runs),
        "bytes out (formula, measured)": (out, kernel),
        "bytes back (formula, measured)": (back, held),
    }
    if args.json:
        print(json.dumps(found, indent=1))
        return
    for name, value in found.items():
        print(f"{name}: {value:.3f}" if isinstance(value, float) else f"{name}: {value}")


if __name__ == "__main__":
    main()
