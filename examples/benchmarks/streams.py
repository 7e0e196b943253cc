"""partial_fit over generated rows that are never held: memory, speed, held-out likelihood.

    python examples/benchmarks/streams.py                   # 100,000,000 rows of 3 columns
    python examples/benchmarks/streams.py --rows 2000000

The batch fit is that of DistributedGMM on the first 2,000,000 rows, run to tol=1e-6. "held out" is
the mean log-likelihood of 200,000 rows that neither has seen.
"""

import argparse
import time

import numpy as np
from gmm_vs_sklearn import PeakMemory

from skdistmix import DistributedGMM

D, K, BATCH = 3, 5, 50_000


class Source:
    """Rows of a mixture, batch by batch."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        rng = np.random.default_rng(0)
        self.means = rng.normal(0, 3, (K, D))
        self.shapes = np.eye(D) + rng.normal(size=(K, D, D)) / np.sqrt(D)

    def batch(self, n_rows):
        labels = np.sort(self.rng.integers(0, K, n_rows))
        X = self.rng.standard_normal((n_rows, D))
        for k, (a, b) in enumerate(zip(*np.searchsorted(labels, [range(K), range(1, K + 1)]))):
            X[a:b] = X[a:b] @ self.shapes[k].T + self.means[k]
        return X


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000_000)
    args = parser.parse_args()
    test = Source(2).batch(200_000)
    n_batch = min(args.rows, 2_000_000)
    batch_fit = DistributedGMM(K, tol=1e-6, max_iter=1000, random_state=0)
    batch_score = batch_fit.fit(Source(1).batch(n_batch)).score(test)
    print(f"held out, batch fit of {n_batch:,} rows: {batch_score:.6f}")
    print("| average | rows/s of partial_fit | anonymous MB added | held out | below batch |")
    print("|---|---|---|---|---|")
    for average in (False, 100):
        source, gmm, seconds = Source(1), DistributedGMM(K, random_state=0, average=average), 0.0
        gmm.partial_fit(source.batch(BATCH))  # work arrays are made
        with PeakMemory() as memory:
            for _ in range(args.rows // BATCH - 1):
                X = source.batch(BATCH)
                began = time.perf_counter()
                gmm.partial_fit(X)
                seconds += time.perf_counter() - began
        score = gmm.score(test)
        print(
            f"| {average} | {args.rows / seconds:.2e} | {memory.megabytes:.0f} | {score:.6f} "
            f"| {batch_score - score:.1e} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
