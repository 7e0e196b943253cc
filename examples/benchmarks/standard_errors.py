"""Do standard errors say what they should, and what do they cost?

First table: data sets of three components in two columns, neighbours three standard deviations
apart, fitted from the true labels. For each number of rows and block of parameters: the standard
deviation of the estimates over the data sets divided by the mean standard error (the median over
the parameters), and how often estimate +- 1.96 standard errors holds the true value (the mean, and
the parameter for which it does so least often). Data sets without errors, because the fit has no
proper maximum near the truth, are counted and left out.

Second: seconds of standard_errors of all rows, against an EM iteration and the least that they can
take, products of a matrix of scores with its transpose; medians of alternating runs.

    python examples/benchmarks/standard_errors.py [--quick] [--rows 1000000] [--seeds 500]
        [--first-seed 0]
"""

import time

import numpy as np
from data_sets import parsed
from gmm_vs_sklearn import make_rows

from skdistmix import DistributedGMM
from skdistmix._compute import Workers
from skdistmix._shards import cut_rows

WEIGHTS = np.array([0.5, 0.3, 0.2])
MEANS = np.array([[0.0, 0.0], [3.0, 0.0], [1.5, 2.6]])
BLOCKS = {"weights": slice(0, 2), "means": slice(2, 8), "covariances": slice(8, None)}
N_ROWS = (300, 1000, 10_000)
CASES = [(2, 5), (5, 5), (10, 10)]  # d, K


def estimates_and_errors(n, seed):
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, size=n, p=WEIGHTS)
    X = MEANS[labels] + rng.standard_normal((n, 2))
    # Looser fits would stay near their start, which is the truth, and vary less than they should.
    options = {"tol": 1e-12, "max_iter": 5000, "acceleration": "squarem", "reg_covar": 0}
    gmm = DistributedGMM(3, init_params=labels, **options).fit(X)
    for method in ("information", "sandwich"):
        errors = gmm.standard_errors(X, method=method)
        yield errors.estimates, np.sqrt(np.diag(errors.covariance_matrix))


def coverage(seeds):
    truth = np.concatenate([WEIGHTS[:-1], MEANS.ravel(), np.tile([1.0, 0.0, 1.0], 3)])
    print("| rows | method | block | deviation / error | coverage | lowest | without errors |")
    print("|---|---|---|---|---|---|---|")
    for n in N_ROWS:
        found, failures = [], 0
        for seed in seeds:
            try:
                found.append(list(estimates_and_errors(n, seed)))
            except ValueError:
                failures += 1
        for i, method in enumerate(("information", "sandwich")):
            estimates, errors = np.array([pair[i] for pair in found]).transpose(1, 0, 2)
            ratio = estimates.std(axis=0) / errors.mean(axis=0)
            covered = (np.abs(estimates - truth) < 1.96 * errors).mean(axis=0)
            for block, at in BLOCKS.items():
                print(
                    f"| {n} | {method} | {block} | {np.median(ratio[at]):.2f} "
                    f"| {covered[at].mean():.1%} | {covered[at].min():.1%} | {failures} |",
                    flush=True,
                )


def seconds(function, *args, **kwargs):
    start = time.perf_counter()
    function(*args, **kwargs)
    return time.perf_counter() - start


def timing(n_rows, n_runs=5):
    print("\n| rows x d, K | p | standard_errors s | EM iterations | times the product |")
    print("|---|---|---|---|---|")
    for d, K in CASES:
        X = make_rows(n_rows, d, K, 3.0, 0)
        gmm = DistributedGMM(K, tol="likelihood", max_iter=3000, random_state=0).fit(X)
        p, shards = gmm.n_parameters_, cut_rows(X, 1)
        family, params = gmm._family_and_params()
        kernel, S = family.kernel(params), np.random.default_rng(0).normal(size=(p, 4096))

        def product(blocks, S=S):
            return sum(S[:, : len(b.X)] @ S[:, : len(b.X)].T for b in blocks)

        with Workers() as workers:
            times = np.median(
                [
                    [
                        seconds(gmm.standard_errors, X),
                        seconds(workers.map_reduce, kernel.statistics, shards, kernel.block_rows),
                        seconds(workers.map_reduce, product, shards, 4096),
                    ]
                    for _ in range(n_runs)
                ],
                axis=0,
            )
        print(
            f"| {n_rows:,} x {d}, {K} | {p} | {times[0]:.2f} | {times[0] / times[1]:.1f} "
            f"| {times[0] / times[2]:.1f} |",
            flush=True,
        )


def main():
    args = parsed(__doc__, rows=1_000_000, seeds=500, quick=(50_000, 20))
    coverage(args.seeds)
    timing(args.rows)


if __name__ == "__main__":
    main()
