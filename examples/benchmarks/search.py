"""Time of a grid: MixtureSearch, a loop of separate fits, and scikit-learn's GaussianMixture.

Rows are those of gmm_vs_sklearn.py. The grid is all K up to --components for the covariance types
full, tied, diag and spherical. Ours goes to tol="likelihood". GaussianMixture has no such rule: it
gets tol=1e-7, with which it stops at a comparable place, and max_iter=1000 as ours. Its cells are
not fitted to their end: seconds of k-means (its start) and of an iteration are measured by fits of
few iterations, and multiplied by the number of iterations that our EM without a sample makes from
the same start with the same rule, which are the same iterations. With --sklearn-tol=1e-3, its
default, it stops much earlier, and BIC compares models that are far from their optima.

On a machine that is busy with other work, --processor counts the seconds of all processors that
this process has used, instead of those that have passed.

    python examples/benchmarks/search.py [--quick] [--rows 1000000] [--components 12] [--true 7]
        [--spread 2] [--no-exact] [--no-loop] [--no-sklearn] [--sklearn-tol 1e-7]
        [--processor]
"""

import argparse
import time
import warnings

from gmm_vs_sklearn import make_rows
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import ParameterGrid

from skdistmix import DistributedGMM
from skdistmix.model_selection import MixtureSearch

FEW = (1, 4)  # iterations of the two fits whose difference gives the time of one
MAX_ITER = 1000


def timed(function, clock=time.perf_counter):
    begin = clock()
    value = function()
    return clock() - begin, value


def loop(estimator, grid, X):
    return [clone(estimator).set_params(**cell).fit(X) for cell in ParameterGrid(grid)]


def sklearn_seconds(X, cell, tol, clock):
    """Estimated seconds of a whole fit of a cell, and its number of iterations."""
    K = cell["n_components"]

    def fit(max_iter):
        gmm = GaussianMixture(
            **cell, max_iter=max_iter, tol=0.0, init_params="random_from_data", random_state=0
        )
        return timed(lambda: gmm.fit(X), clock)[0]

    kmeans = KMeans(K, n_init=1, random_state=0)
    start, labels = timed(lambda: kmeans.fit_predict(X), clock)
    seconds = [fit(max_iter) for max_iter in FEW]
    an_iteration = max(seconds[1] - seconds[0], 0.0) / (FEW[1] - FEW[0])
    same = DistributedGMM(**cell, init_params=labels, tol=tol, max_iter=MAX_ITER)
    n_iter = same.fit(X).n_iter_
    return start + n_iter * an_iteration, n_iter


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=5)
    parser.add_argument("--components", type=int, default=12, help="largest K of the grid")
    parser.add_argument("--true", type=int, default=7, help="components that rows are drawn from")
    parser.add_argument("--spread", type=float, default=2.0)
    parser.add_argument("--acceleration", default=None)
    parser.add_argument("--sklearn-tol", type=float, default=1e-7)
    parser.add_argument("--no-sklearn", action="store_true")
    parser.add_argument("--no-loop", action="store_true")
    parser.add_argument("--no-exact", action="store_true", help="of our strategies time fast only")
    parser.add_argument("--quick", action="store_true", help="20,000 rows and K = 1 to 4")
    parser.add_argument("--processor", action="store_true", help="seconds of processors")
    args = parser.parse_args()
    clock = time.process_time if args.processor else time.perf_counter
    if args.quick:
        args.rows, args.components, args.true = 20_000, 4, 3
    warnings.simplefilter("ignore", ConvergenceWarning)
    X = make_rows(args.rows, args.columns, args.true, args.spread)
    grid = {
        "covariance_type": ["full", "tied", "diag", "spherical"],
        "n_components": list(range(1, args.components + 1)),
    }
    gmm = DistributedGMM(
        tol="likelihood", max_iter=MAX_ITER, random_state=0, acceleration=args.acceleration
    )
    seconds, fast = timed(lambda: MixtureSearch(gmm, grid).fit(X), clock)
    n_stopped = int(fast.cv_results_["stopped"].sum())
    print(f"fast: {seconds:.1f} s, {fast.best_params_}, BIC {-fast.best_score_:.1f}", flush=True)
    print(f"  {n_stopped} of {len(fast.cv_results_['params'])} models were stopped")
    if not args.no_exact:
        taken, exact = timed(lambda: MixtureSearch(gmm, grid, strategy="exact").fit(X), clock)
        print(
            f"exact: {taken:.1f} s, {exact.best_params_}, BIC {-exact.best_score_:.1f}", flush=True
        )
    if not args.no_loop:
        time_loop(gmm, grid, X, clock, seconds)
    if not args.no_sklearn:
        time_sklearn(X, grid, args.sklearn_tol, clock, seconds)


def time_loop(gmm, grid, X, clock, seconds):
    taken, fits = timed(lambda: loop(gmm, grid, X), clock)
    best = min(fits, key=lambda one: one.bic_)
    print(
        f"loop: {taken:.1f} s ({taken / seconds:.1f} times fast), {best.covariance_type}, "
        f"K = {best.n_components}, BIC {best.bic_:.1f}; {sum(f.n_iter_ for f in fits)} iterations",
        flush=True,
    )


def time_sklearn(X, grid, tol, clock, seconds):
    cells = [sklearn_seconds(X, cell, tol, clock) for cell in ParameterGrid(grid)]
    total = sum(cell[0] for cell in cells)
    print(
        f"scikit-learn: about {total:.0f} s ({total / seconds:.0f} times fast) for "
        f"{sum(cell[1] for cell in cells)} iterations; extrapolated from {FEW[1]} of each model"
    )


if __name__ == "__main__":
    main()
