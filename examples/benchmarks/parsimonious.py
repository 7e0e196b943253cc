"""Time of an EM iteration with each covariance model, against that with full covariances.

Rows and columns are those of gmm_vs_sklearn.py. Models take turns, and a time is the shortest of
several: first parameters to kernel, pass over the rows on one thread, and M-step. Then EVE and VVE
are fitted to the 569 x 30 table of breast cancer that scikit-learn has, scaled; and all models to
the iris data for K = 1 to 9, by BIC.

    python examples/benchmarks/parsimonious.py [--rows 500000] [--columns 10] [--components 10]
        [--turns 7]
"""

import argparse
import time
import warnings

import numpy as np
from gmm_vs_sklearn import make_rows
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from skdistmix import DistributedGMM
from skdistmix._shards import Block
from skdistmix.families import GAUSSIAN_FAMILIES, Moments


def iteration(family, params, X):
    kernel = family.kernel(params)
    size = kernel.block_rows
    blocks = (
        Block(X[i : i + size], None, range(i, min(i + size, len(X))))
        for i in range(0, len(X), size)
    )
    return family.m_step(kernel.statistics(blocks), params)


def times(X, n_components, turns):
    full = DistributedGMM(n_components, random_state=0, max_iter=9, tol=0.0).fit(X)
    moments, params, best = Moments.of_rows(X, None, True, n_components), {}, {}
    families = {
        name: kind(n_components).prepare(moments) for name, kind in GAUSSIAN_FAMILIES.items()
    }
    _, start = full._family_and_params()
    for name, family in families.items():
        own = family.of_covariance(moments.covariance)
        each = np.repeat(np.asarray(own)[None], n_components, axis=0)
        params[name] = family.params(
            start.weights, start.means, each if family.per_component else own
        )
    for turn in range(turns + 2):
        for name, family in families.items():
            begin = time.perf_counter()
            params[name] = iteration(family, params[name], X)
            taken = time.perf_counter() - begin
            if turn >= 2:
                best[name] = min(best.get(name, np.inf), taken)
    return best


def common_axes():
    X = load_breast_cancer().data
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    for name in ("EVE", "VVE"):
        begin = time.perf_counter()
        gmm = DistributedGMM(
            3, covariance_type=name, reg_covar=0, tol=1e-8, max_iter=2000, random_state=0
        ).fit(X)
        taken = time.perf_counter() - begin
        total = gmm.lower_bound_ * len(X)
        print(f"{name}: {taken:.2f} s, {gmm.n_iter_} iterations, log-likelihood {total:.3f}")


def by_bic():
    X, found = load_iris().data, {}
    for name in GAUSSIAN_FAMILIES:
        for K in range(1, 10):
            gmm = DistributedGMM(
                K, covariance_type=name, init_params="hierarchical", reg_covar=0, tol="likelihood",
                max_iter=5000,
            )  # fmt: skip
            try:
                found[name, K] = gmm.fit(X).bic_
            except ValueError:  # a covariance became singular
                found[name, K] = np.inf
    for name in GAUSSIAN_FAMILIES:
        print(f"{name:10}" + "".join(f"{found[name, K]:9.1f}" for K in range(1, 10)))
    print("lowest:", min(found, key=found.get))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--columns", type=int, default=10)
    parser.add_argument("--components", type=int, default=10)
    parser.add_argument("--turns", type=int, default=7)
    args = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    X = make_rows(args.rows, args.columns, args.components, 3.0)
    with threadpool_limits(1):
        best = times(X, args.components, args.turns)
    for name, seconds in best.items():
        print(f"{name:10} {seconds:.4f} s an iteration, {seconds / best['full']:.2f} of full")
    common_axes()
    by_bic()


if __name__ == "__main__":
    main()
