"""Time of one EM iteration, and of whole fits, against scikit-learn's GaussianMixture.

    python examples/benchmarks/gmm_vs_sklearn.py [--quick] [--json FILE] [--markdown]
        [--only full] [--spread 3 1] [--no-whole]

Both libraries run in this process, on the same rows, from the same start, in turn, each with its
own default parallelism. Rows are A_k z + m_k with m_k ~ N(0, spread^2 I), A_k = I + N(0, 1) /
sqrt(d) entrywise and equal weights, centred; the start is K random rows as means, the covariance
of the data for every component and equal weights.

* Seconds an iteration are the difference of two fits of different max_iter at tol=0, divided by
  the difference of max_iter; the median over alternating runs.
* "same" is the largest difference of mean log-likelihoods after equally many iterations.
* "memory" is the peak of anonymous memory during our fits above what was held before (Linux).
* Whole fits have their defaults but for tol (and max_iter=1000), every seed its own rows; a fit
  ends in a worse optimum if its mean log-likelihood is more than 1e-3 below the best of both.

Run it on an otherwise idle machine.
"""

import argparse
import json
import platform
import threading
import time
import warnings
from itertools import product

import joblib
import numpy as np
import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

import skdistmix
from skdistmix import DistributedGMM

# (covariance_type, n, d, K)
CASES = [
    ("full", 1_000_000, 2, 5),
    ("full", 1_000_000, 5, 8),
    ("full", 500_000, 10, 10),
    ("full", 500_000, 10, 50),
    ("full", 300_000, 20, 10),
    ("full", 100_000, 50, 10),
    ("full", 50_000, 100, 10),
    ("full", 20_000, 300, 8),
    ("diag", 1_000_000, 10, 10),
    ("spherical", 1_000_000, 10, 10),
    ("tied", 1_000_000, 10, 10),
]
QUICK_CASES = [case for case in CASES if case[3] < 50 and case[2] < 300]
WHOLE_FITS = [("full", 1_000_000, 5, 8), ("full", 500_000, 10, 10)]


def make_rows(n, d, K, spread, seed=0):
    rng = np.random.default_rng(seed)
    means = rng.normal(0, spread, (K, d))
    shapes = np.eye(d) + rng.normal(size=(K, d, d)) / np.sqrt(d)
    labels = rng.integers(0, K, n)
    X = np.empty((n, d))
    for k in range(K):
        rows = np.flatnonzero(labels == k)
        X[rows] = rng.normal(size=(len(rows), d)) @ shapes[k].T + means[k]
    X -= X.mean(axis=0)
    return X


def make_start(X, K, covariance_type, seed=1):
    rng = np.random.default_rng(seed)
    d = X.shape[1]
    covariance = np.cov(X.T, bias=True).reshape(d, d)
    precision = np.linalg.inv(covariance)
    precisions = {
        "full": np.stack([precision] * K),
        "tied": precision,
        "diag": np.tile(1 / np.diag(covariance), (K, 1)),
        "spherical": np.full(K, d / np.trace(covariance)),
    }[covariance_type]
    means = X[rng.choice(len(X), K, replace=False)]
    return {
        "weights_init": np.full(K, 1 / K),
        "means_init": means,
        "precisions_init": precisions,
    }


def seconds(estimator, X):
    began = time.perf_counter()
    estimator.fit(X)
    return time.perf_counter() - began


class PeakMemory:
    """Peak anonymous memory of this process above its value at entry, in MB (nan off Linux)."""

    def __enter__(self):
        self.stop = threading.Event()
        self.before = self.peak = self.now()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        while not self.stop.wait(0.002):
            self.peak = max(self.peak, self.now())

    def __exit__(self, *exc_info):
        self.stop.set()
        self.thread.join()
        self.megabytes = (self.peak - self.before) / 1024

    @staticmethod
    def now():
        try:
            with open("/proc/self/status") as status:
                return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))
        except (OSError, StopIteration):
            return float("nan")


def per_iteration(covariance_type, n, d, K, spread, repeats):
    X = make_rows(n, d, K, spread)
    start = make_start(X, K, covariance_type)
    common = {"covariance_type": covariance_type, "tol": 0, **start}

    def ours(max_iter, **kwargs):
        return DistributedGMM(K, max_iter=max_iter, **common, **kwargs)

    def theirs(max_iter):
        return GaussianMixture(K, max_iter=max_iter, **common)

    short = 2
    a, b = ours(short).fit(X), theirs(short).fit(X)
    same = abs(a.lower_bound_ - b.score(X))
    # as many of our iterations as take about as long as scikit-learn's three
    one = max(1e-4, (seconds(ours(short + 4), X) - seconds(ours(short), X)) / 4)
    many = int(np.clip(0.5 / one, 4, 40))
    few = 3
    times = {"ours": [], "ours, n_jobs=1": [], "scikit-learn": []}
    with PeakMemory() as memory:
        ours(short + 2).fit(X)
    for _ in range(repeats):
        times["scikit-learn"].append(
            (seconds(theirs(short + few), X) - seconds(theirs(short), X)) / few
        )
        for name, kwargs in (("ours", {}), ("ours, n_jobs=1", {"n_jobs": 1})):
            long_fit = seconds(ours(short + many, **kwargs), X)
            times[name].append((long_fit - seconds(ours(short, **kwargs), X)) / many)
    ratios = np.array(times["scikit-learn"]) / np.array(times["ours"])
    row = {name: float(np.median(values)) for name, values in times.items()}
    return {
        "case": [covariance_type, n, d, K, spread],
        **row,
        "ratio": row["scikit-learn"] / row["ours"],
        "ratio range": [float(ratios.min()), float(ratios.max())],
        "rows/s": n / row["ours"],
        "same": float(same),
        "memory MB": memory.megabytes,
    }


def whole_fits(covariance_type, n, d, K, spread, n_seeds, tol):
    values, times = {"ours": [], "scikit-learn": []}, {"ours": [], "scikit-learn": []}
    for seed in range(n_seeds):
        X = make_rows(n, d, K, spread, seed)
        common = {"covariance_type": covariance_type, "tol": tol, "max_iter": 1000}
        for name, cls in (("ours", DistributedGMM), ("scikit-learn", GaussianMixture)):
            estimator = cls(K, random_state=seed, **common)
            times[name].append(seconds(estimator, X))
            values[name].append(float(estimator.score(X)))
    best = np.maximum(*values.values())
    ratios = np.divide(times["scikit-learn"], times["ours"])
    return {
        "case": [covariance_type, n, d, K, spread],
        "tol": tol,
        **{name: float(np.median(t)) for name, t in times.items()},
        "ratio": float(np.median(ratios)),
        "ratio range": [float(ratios.min()), float(ratios.max())],
        "worse optima": {
            name: int(np.sum(best - np.array(v) > 1e-3)) for name, v in values.items()
        },
        "seeds": n_seeds,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, fewer runs")
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--markdown", action="store_true", help="end with the table of README.md")
    parser.add_argument("--only", help="only cases of this covariance_type")
    parser.add_argument("--spread", type=float, nargs="+", default=[3.0], help="default: 3")
    parser.add_argument("--no-whole", action="store_true", help="leave out whole fits")
    parser.add_argument("--only-whole", action="store_true", help="whole fits only")
    parser.add_argument("--tol", type=float, nargs="+", default=[1e-3, 1e-6], help="of whole fits")
    args = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    shrink, repeats, seeds = (10, 3, 2) if args.quick else (1, 5, 5)
    cases = [] if args.only_whole else QUICK_CASES if args.quick else CASES
    whole = WHOLE_FITS[1:] if args.quick else WHOLE_FITS

    machine = {
        "processor": processor(),
        "cores": joblib.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "skdistmix": skdistmix.__version__,
    }
    print(", ".join(f"{key} {value}" for key, value in machine.items()))
    print("\nSeconds an EM iteration (float64)")
    heading = f"{'model':10s} {'n':>9s} {'d':>4s} {'K':>3s} {'spread':>6s} {'scikit-learn':>12s} "
    print(
        heading
        + f"{'ours':>8s} {'ratio':>6s} {'1 job':>8s} {'rows/s':>9s} {'same':>8s} {'memory':>7s}"
    )
    results = {"machine": machine, "per iteration": [], "whole fits": []}
    for covariance_type, n, d, K in cases:
        if args.only not in (None, covariance_type):
            continue
        for spread in args.spread:
            r = per_iteration(covariance_type, n // shrink, d, K, spread, repeats)
            results["per iteration"].append(r)
            print(
                f"{covariance_type:10s} {n // shrink:9,d} {d:4d} {K:3d} {spread:6g} "
                f"{r['scikit-learn']:12.4f} {r['ours']:8.4f} {r['ratio']:6.1f} "
                f"{r['ours, n_jobs=1']:8.4f} {r['rows/s']:9.2e} {r['same']:8.1e} "
                f"{r['memory MB']:5.0f}MB",
                flush=True,
            )
    if not args.no_whole:
        print("\nWhole fits (seconds and ratio, medians over seeds)")
        for covariance_type, n, d, K in whole:
            if args.only not in (None, covariance_type):
                continue
            for spread, tol in product(args.spread, args.tol):
                r = whole_fits(covariance_type, n // shrink, d, K, spread, seeds, tol)
                results["whole fits"].append(r)
                worse = ", ".join(f"{name} {k}" for name, k in r["worse optima"].items())
                print(
                    f"{covariance_type:10s} {n // shrink:9,d} {d:4d} {K:3d} {spread:6g} "
                    f"{r['scikit-learn']:12.2f} {r['ours']:8.2f} {r['ratio']:6.1f}   "
                    f"({r['ratio range'][0]:.0f} to {r['ratio range'][1]:.0f}) tol {tol:g}, "
                    f"worse optima of {r['seeds']}: {worse}",
                    flush=True,
                )
    if args.json:
        with open(args.json, "w") as file:
            json.dump(results, file, indent=1)
    if args.markdown:
        print_markdown(results)


def print_markdown(results):
    machine = results["machine"]
    print(
        f"\nSeconds an EM iteration on {machine['cores']} cores ({machine['processor']}), float64, "
        f"against scikit-learn {machine['scikit-learn']}, same start, same likelihood:\n"
    )
    print("| covariances | rows x columns, K | scikit-learn | skdistmix | ratio |")
    print("|---|---|---|---|---|")
    for r in results["per iteration"]:
        covariance_type, n, d, K, spread = r["case"]
        size = f"{n:,} x {d}, {K}" + ("" if spread == 3 else f" (spread {spread:g})")
        print(
            f"| {covariance_type} | {size} | {r['scikit-learn']:.3f} | {r['ours']:.3f} "
            f"| {r['ratio']:.0f} |"
        )
    if results["whole fits"]:
        print("\nWhole fits, seconds and ratio, medians over seeds:\n")
        print("| rows x columns, K | tol | scikit-learn | skdistmix | ratio | worse optima |")
        print("|---|---|---|---|---|---|")
    for r in results["whole fits"]:
        covariance_type, n, d, K, spread = r["case"]
        worse = r["worse optima"]
        print(
            f"| {n:,} x {d}, {K} | {r['tol']:g} | {r['scikit-learn']:.1f} | {r['ours']:.2f} "
            f"| {r['ratio']:.0f} | {worse['scikit-learn']} : {worse['ours']} of {r['seeds']} |"
        )


def processor():
    try:
        with open("/proc/cpuinfo") as info:
            return next(
                line.split(":")[1].strip() for line in info if line.startswith("model name")
            )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
