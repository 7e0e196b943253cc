"""BIC differences of neighbouring K by tol="likelihood", against fits run on to the end.

The same fits, from the same starts, with tol="likelihood" and with the mean changing by less than
1e-12. A difference of BIC is wrong by twice the log-likelihood that one of the two fits has left.

    python examples/benchmarks/stopping.py [--quick] [--rows 200000] [--seeds 3] [--first-seed 0]
        [--max-iter 4000]
"""

import time
from itertools import pairwise

import numpy as np
from data_sets import parsed
from gmm_vs_sklearn import make_rows

from skdistmix import DistributedGMM

TRUE_K, COMPONENTS = 4, (2, 3, 4, 5)


def fits(X, tol, acceleration, max_iter):
    for K in COMPONENTS:
        gmm = DistributedGMM(
            K, tol=tol, acceleration=acceleration, max_iter=max_iter, random_state=0, reg_covar=0
        )
        yield gmm.fit(X)


def main():
    args = parsed(__doc__, rows=200_000, seeds=3, quick=(20_000, 1), max_iter=4000)
    names = [f"{b} - {a}" for a, b in pairwise(COMPONENTS)]
    print(f"Error of BIC(K) - BIC(K - 1), {args.rows:,} x 2, {TRUE_K} true components")
    print(f"| seed | rule | {' | '.join(names)} | passes | seconds |")
    print("|---|---|" + "---|" * (len(names) + 2))
    for seed in args.seeds:
        X = make_rows(args.rows, 2, TRUE_K, 2.0, 50 + seed)
        end = np.diff([gmm.bic_ for gmm in fits(X, 1e-12, "anderson", 5 * args.max_iter)])
        runs = [(1e-3, None), *(("likelihood", rule) for rule in (None, "squarem", "anderson"))]
        for tol, rule in runs:
            began = time.perf_counter()
            found = list(fits(X, tol, rule, args.max_iter))
            seconds = time.perf_counter() - began
            errors = np.diff([gmm.bic_ for gmm in found]) - end
            passes = sum(gmm.n_iter_ + 1 for gmm in found)
            open_ends = sum(not gmm.converged_ for gmm in found)
            print(
                f"| {seed} | tol={tol} {rule or ''} | "
                + " | ".join(f"{e:+.2f}" for e in errors)
                + f" | {passes}{f' ({open_ends} unfinished)' if open_ends else ''} "
                + f"| {seconds:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
