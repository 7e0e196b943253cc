"""What EM on a sample first does to the optima that are found.

Three experiments, each with subsample="auto" (or a size) against subsample=None, over seeds:

* separated components: how far the final mean log-likelihood ends below that of the plain fit of
  the same seed, at most;
* overlapping components: fits that end more than 1e-3 below the best known optimum;
* a component of weight 2e-4: how often it is found, against plain fits whose start looks at all
  rows and not at a sample.

    python examples/benchmarks/progressive.py [--quick]
"""

import argparse
import warnings

import numpy as np
from gmm_vs_sklearn import make_rows
from sklearn.exceptions import ConvergenceWarning

import skdistmix.mixture._start as start
from skdistmix import DistributedGMM


def value(X, K, seed, subsample):
    gmm = DistributedGMM(K, tol=1e-6, max_iter=1000, random_state=seed, subsample=subsample)
    return gmm.fit(X).lower_bound_


def separated(n, d, K, seeds, subsample):
    worst = 0.0
    for seed in range(seeds):
        X = make_rows(n, d, K, 8.0, seed)
        worst = max(worst, value(X, K, seed, None) - value(X, K, seed, subsample))
    return worst


def overlapping(n, d, K, seeds, subsample):
    X = make_rows(n, d, K, 1.0, 3)
    plain = np.array([value(X, K, seed, None) for seed in range(seeds)])
    quick = np.array([value(X, K, seed, subsample) for seed in range(seeds)])
    best = max(plain.max(), quick.max())
    return int((best - plain > 1e-3).sum()), int((best - quick > 1e-3).sum())


def rare(n, K, seeds, subsample):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 2)) + 8 * rng.normal(size=(K - 1, 2))[rng.integers(0, K - 1, n)]
    rows = n // 5000
    X[:rows] = 30 + 0.5 * rng.normal(size=(rows, 2))

    def found(subsample):
        fits = (DistributedGMM(K, random_state=i, subsample=subsample).fit(X) for i in range(seeds))
        return sum(abs(gmm.weights_.min() * n - rows) < 0.1 * rows for gmm in fits)

    with_sample = found(subsample)
    usual, start.SEEDING_ROWS = start.SEEDING_ROWS, n
    try:
        return found(None), with_sample
    finally:
        start.SEEDING_ROWS = usual


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, fewer seeds")
    args = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    shrink, seeds, many = (10, 4, 6) if args.quick else (1, 20, 40)
    subsample = 10_000 if args.quick else "auto"
    for d, K in ((2, 5), (5, 8), (10, 10)):
        worst = separated(500_000 // shrink, d, K, seeds, subsample)
        print(f"separated, d={d}, K={K}, {seeds} seeds: at most {worst:.1e} below", flush=True)
    for d, K in ((2, 5), (5, 8)):
        plain, quick = overlapping(500_000 // shrink, d, K, seeds, subsample)
        print(f"overlapping, d={d}, K={K}: worse optima of {seeds}: plain {plain}, sample {quick}")
    plain, quick = rare(1_000_000 // shrink, 5, many, subsample)
    print(f"rare component found, of {many}: all rows {plain}, sample {quick}")


if __name__ == "__main__":
    main()
