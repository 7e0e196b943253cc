"""How often the test of the number of components rejects the right one, and what it chooses.

    python examples/benchmarks/order_test.py [--n-sets 200]

For each of several mixtures, data sets of 100 rows are drawn. A valid test at 10 % rejects the true
number of components in a tenth of them, but for the error of the fitted mixture. Beside the rate
there are the bounds within which 95 % of the rates of a tenth lie, and the share of data sets in
which one component less was rejected.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy.stats import binom

from skdistmix import DistributedGMM
from skdistmix.model_selection import bootstrap_likelihood_ratio

LEVEL, N_RESAMPLES, N_ROWS = 0.1, 19, 100
MIXTURES = {  # means, and the covariance type that is fitted
    "1 component, full": (np.zeros((1, 1)), "full"),
    "1 component, tied": (np.zeros((1, 2)), "tied"),
    "2 components, tied": (np.array([[0.0, 0.0], [4.0, 0.0]]), "tied"),
    "2 components, diag": (np.array([[0.0, 0.0], [4.0, 0.0]]), "diag"),
}


def rows_of(means, seed):
    """Rows of unit spheres about the means, with equal shares."""
    rng = np.random.default_rng(seed)
    return means[rng.integers(len(means), size=N_ROWS)] + rng.normal(size=(N_ROWS, means.shape[1]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-sets", type=int, default=200)
    n_sets = parser.parse_args().n_sets
    low, high = binom.ppf([0.025, 0.975], n_sets, LEVEL) / n_sets
    for name, (means, covariance_type) in MIXTURES.items():
        began, chosen, n_drawn = time.perf_counter(), [], 0
        for seed in range(n_sets):
            test = bootstrap_likelihood_ratio(
                DistributedGMM(covariance_type=covariance_type),
                rows_of(means, seed),
                max_components=len(means) + 1,
                n_resamples=N_RESAMPLES,
                level=LEVEL,
                random_state=seed,
            )
            chosen.append(test.n_components)
            n_drawn += sum(map(len, test.null_statistics))
        found = np.array(chosen) - len(means)
        seconds = time.perf_counter() - began
        print(
            f"{name}: rejected in {np.mean(found > 0):.1%} ({low:.1%} to {high:.1%}), one less in "
            f"{np.mean(found >= 0):.1%}; {n_drawn / n_sets:.0f} resamples a data set, "
            f"{seconds / n_drawn:.2f} s each",
            flush=True,
        )


if __name__ == "__main__":
    main()
