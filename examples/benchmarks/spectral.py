"""Landmark-based spectral clustering: digits, two moons against scikit-learn, many rows.

    python examples/benchmarks/spectral.py [--quick] [--rows 1000000] [--seeds 5] [--first-seed 0]
        [--data ""]

--data is an .npz file with arrays X and y, clustered with its number of classes beside the digits.
"""

import resource
import time
import warnings

import numpy as np
from data_sets import parsed
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import SpectralClustering
from sklearn.datasets import load_digits, make_moons
from sklearn.metrics import adjusted_rand_score, confusion_matrix

from skdistmix.cluster import LandmarkSpectralClustering


def accuracy(y, labels):
    """Share of rows in the class of their cluster, for the best one-to-one match."""
    counts = confusion_matrix(y, labels)
    return counts[linear_sum_assignment(-counts)].sum() / len(y)


def report(name, estimator, X, y):
    start = time.perf_counter()
    labels = estimator.fit_predict(X)
    seconds = time.perf_counter() - start
    score = f"{accuracy(y, labels):.3f} | {adjusted_rand_score(y, labels):.3f}"
    print(f"| {name} | {score} | {seconds:.1f} |", flush=True)


def main():
    args = parsed(__doc__, rows=1_000_000, seeds=5, quick=(50_000, 1), data="")
    warnings.filterwarnings("ignore", "Graph is not fully connected")
    print("| data | accuracy | ARI | seconds |\n|---|---|---|---|")
    X, y = load_digits(return_X_y=True)
    sets = {"digits": (X / 16, y)}
    if args.data:
        with np.load(args.data) as data:
            y = data["y"]
            sets[args.data] = data["X"].reshape(len(y), -1).astype(np.float64), y
    for name, (X, y) in sets.items():
        for seed in args.seeds:
            model = LandmarkSpectralClustering(len(np.unique(y)), random_state=seed)
            report(f"{name}, seed {seed}", model, X, y)
    X, y = make_moons(10_000, noise=0.08, random_state=0)
    report("moons 10,000 x 2", LandmarkSpectralClustering(2, random_state=0), X, y)
    theirs = SpectralClustering(2, affinity="nearest_neighbors", random_state=0)
    report("the same, scikit-learn", theirs, X, y)
    rng = np.random.default_rng(0)
    y = rng.integers(0, 8, args.rows)
    X = rng.normal(0, 3, (8, 10))[y] + rng.normal(size=(args.rows, 10))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = LandmarkSpectralClustering(8, random_state=0)
    report(f"clouds {args.rows:,} x 10", model, X, y)
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"Peak memory grew by {more / 1024:.0f} MB in the last fit.")


if __name__ == "__main__":
    main()
