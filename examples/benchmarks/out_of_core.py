"""Fit and predict on data in files: speed and anonymous memory, by form of the data.

Writes a mixture to a .npy file and to a folder of parquet files of 1,048,576 rows, and runs the
same fit, from the same start, on the array in memory, a memory map, the .npy path and the folder,
each in a process of its own with its default number of threads. Files are in the page cache, so the
disk is not measured.

* s/iteration: difference of two fits of different max_iter at tol=0, median over repetitions.
* anonymous MB: the peak of RssAnon over fits, one of them with seeding, and predict, with its
  labels (pages of mapped files, which the system may drop, are not in it).

    python examples/benchmarks/out_of_core.py                 # 20,000,000 x 10: 3.6 GB of files
    python examples/benchmarks/out_of_core.py --quick         # 1,000,000 x 10
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings

import numpy as np

N_FEATURES, K = 10, 10
FORMS = ("array in memory", "memmap", ".npy path", "parquet folder")
FILE_ROWS = 2**20


def make_files(folder, n_rows, row_group):
    """Means ~ N(0, 9 I), A_k = I + N(0, 1) / sqrt(d), rows = A_k z + mean_k; two files of them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    d = N_FEATURES
    means = rng.normal(0, 3, (K, d))
    shapes = np.eye(d) + rng.normal(size=(K, d, d)) / np.sqrt(d)
    names = [f"x{j}" for j in range(d)]
    npy = os.path.join(folder, "x.npy")
    out = np.lib.format.open_memmap(npy, "w+", np.float64, (n_rows, d))
    os.makedirs(os.path.join(folder, "parquet"))
    for i, first in enumerate(range(0, n_rows, FILE_ROWS)):
        rows = min(FILE_ROWS, n_rows - first)
        labels = rng.integers(0, K, rows)
        X = rng.normal(size=(rows, d))
        for k in range(K):
            X[labels == k] = X[labels == k] @ shapes[k].T + means[k]
        out[first : first + rows] = X
        table = pa.table({name: X[:, j].copy() for j, name in enumerate(names)})
        file = os.path.join(folder, "parquet", f"part-{i}.parquet")
        pq.write_table(table, file, row_group_size=row_group)
    out.flush()


def anonymous_mb():
    """Anonymous memory of this process now."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("RssAnon"))


class PeakMemory(threading.Thread):
    """Looks at the anonymous memory every few milliseconds."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak, self.done = 0.0, threading.Event()

    def run(self):
        while not self.done.wait(0.005):
            self.peak = max(self.peak, anonymous_mb())


def data_of(form, folder):
    path = os.path.join(folder, "parquet" if form == "parquet folder" else "x.npy")
    if form == "array in memory":
        return np.load(path)
    return np.load(path, mmap_mode="r") if form == "memmap" else path


def run_case(form, folder, repeats, iterations):
    """One process: time of an iteration, of predict, and the peak of anonymous memory."""
    from sklearn.exceptions import ConvergenceWarning

    from skdistmix import DistributedGMM

    warnings.simplefilter("ignore", ConvergenceWarning)
    X = data_of(form, folder)
    sample = np.load(os.path.join(folder, "x.npy"), mmap_mode="r")[:100_000]
    rng = np.random.default_rng(1)
    start = {
        "weights_init": np.full(K, 1 / K),
        "means_init": sample[np.sort(rng.choice(len(sample), K, replace=False))],
        "precisions_init": np.stack([np.linalg.inv(np.cov(sample.T))] * K),
    }
    memory = PeakMemory()
    memory.start()

    def fit(max_iter):
        began = time.perf_counter()
        gmm = DistributedGMM(K, tol=0, max_iter=max_iter, **start).fit(X)
        return time.perf_counter() - began, gmm

    fit(1)  # the page cache, imports
    seconds = []
    for _ in range(repeats):
        short, _ = fit(1)
        long, gmm = fit(1 + iterations)
        seconds.append((long - short) / iterations)
    began = time.perf_counter()
    labels = gmm.predict(X)
    n_rows = sum(map(len, labels)) if isinstance(X, str) else len(labels)
    predict = time.perf_counter() - began
    seeded = DistributedGMM(K, max_iter=2, random_state=0, tol=0).fit(X)  # seeding too
    memory.done.set()
    memory.join()
    return {
        "form": form,
        "n_rows": n_rows,
        "seconds": statistics.median(seconds),
        "predict": predict,
        "anonymous": memory.peak,
        "value": gmm.lower_bound_,
        "seeded": seeded.lower_bound_,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--row-group", type=int, default=2**17, help="rows of a parquet row group")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="1,000,000 rows")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS)
    parser.add_argument("--data", help="folder to keep the files in, reused if they are there")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--case", nargs=2, metavar=("FORM", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        print(json.dumps(run_case(*args.case, args.repeats, args.iterations)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.data or temporary
        os.makedirs(folder, exist_ok=True)
        if not os.path.exists(os.path.join(folder, "parquet")):
            make_files(folder, 1_000_000 if args.quick else args.rows, args.row_group)
        results = []
        for form in args.forms:
            command = [sys.executable, __file__, "--case", form, folder]
            command += ["--repeats", str(args.repeats), "--iterations", str(args.iterations)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            results.append(json.loads(done.stdout))
    if args.json:
        print(json.dumps(results, indent=1))
        return
    print("| data | s/iteration | million rows/s | share of memory's | predict s | anonymous MB |")
    print("|---|---|---|---|---|---|")
    for r in results:
        share = results[0]["seconds"] / r["seconds"]
        speed = r["n_rows"] / r["seconds"] / 1e6
        print(
            f"| {r['form']} | {r['seconds']:.3f} | {speed:.1f} | {share:.0%} "
            f"| {r['predict']:.2f} | {r['anonymous']:.0f} |"
        )
    spread = max(r["value"] for r in results) - min(r["value"] for r in results)
    print(f"\nLog-likelihoods of the fits differ by {spread:.1e} at most.")


if __name__ == "__main__":
    main()
