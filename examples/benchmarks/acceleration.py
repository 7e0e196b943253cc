"""Passes over the data with and without acceleration, from the same starts.

Rows are those of gmm_vs_sklearn.py with means of spread 1, so that components overlap; the start is
K random rows as means and the covariance of the data. For each tolerance: passes until EM stops,
the lowest difference of the final mean log-likelihoods (above zero: the accelerated fit is better),
and how many fits ended lower by more than the tolerance.

    python examples/benchmarks/acceleration.py [--quick] [--rows 100000] [--seeds 5] [--spread 1]
        [--first-seed 0]
"""

import numpy as np
from data_sets import parsed
from gmm_vs_sklearn import make_rows, make_start

from skdistmix import DistributedGMM

CASES = [(2, 5), (5, 8), (10, 10)]  # d, K
TOLERANCES = (1e-6, 1e-8)
RULES = (None, "squarem", "anderson")


def fits(X, K, tol, seed):
    start = make_start(X, K, "full", seed)
    for rule in RULES:
        gmm = DistributedGMM(K, tol=tol, max_iter=20_000, acceleration=rule, reg_covar=0, **start)
        yield gmm.fit(X)


def main():
    args = parsed(__doc__, rows=100_000, seeds=5, quick=(20_000, 2), spread=1.0)
    n_sets = len(args.seeds)
    print("| d, K | tol | passes: plain | squarem | anderson | lowest difference | ended lower |")
    print("|---|---|---|---|---|---|---|")
    totals = {}
    for d, K in CASES:
        for tol in TOLERANCES:
            passes, values = np.zeros((2, n_sets, len(RULES)))
            for row, seed in enumerate(args.seeds):
                X = make_rows(args.rows, d, K, args.spread, seed)
                for i, gmm in enumerate(fits(X, K, tol, seed)):
                    passes[row, i], values[row, i] = gmm.n_iter_ + 1, gmm.lower_bound_
            total = passes.sum(axis=0)
            totals[tol] = totals.get(tol, 0) + total
            differences = values[:, 1:] - values[:, :1]
            lower = (differences < -tol).sum(axis=0)
            print(
                f"| {d}, {K} | {tol:g} | {total[0]:.0f} "
                + "".join(f"| {t:.0f} ({total[0] / t:.1f}x) " for t in total[1:])
                + f"| {differences.min():.1e} | {lower.tolist()} of {n_sets} |",
                flush=True,
            )
    for tol, total in totals.items():
        ratios = ", ".join(f"{r} {total[0] / t:.2f}x" for r, t in zip(RULES[1:], total[1:]))
        print(f"\nAll at tol={tol:g}: {ratios} fewer passes.")


if __name__ == "__main__":
    main()
