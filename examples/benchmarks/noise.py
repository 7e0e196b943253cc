"""Fits to clusters in clutter: where starts lead, and what an iteration costs.

Starts: three to five clusters in 2 to 20 columns, with clutter of 0, 20 and 50 % of the rows that
lies evenly over a box. A fit falls short if its log-likelihood is more than 5 units below that of
EM from the true labels. "Clean" is the start of ``noise="auto"``, "plain" has centres from k-means
on all rows.

Time: iterations of fits to rows of gmm_vs_sklearn.py, with noise against without, one worker; the
median of alternating runs.

    python examples/benchmarks/noise.py [--quick] [--rows 200000] [--seeds 6] [--first-seed 0]
"""

import time

import numpy as np
from data_sets import parsed
from gmm_vs_sklearn import make_rows, make_start
from sklearn.cluster import KMeans

from skdistmix import DistributedGMM

CASES = [(2, 3), (2, 5), (4, 4), (8, 5), (20, 4)]  # d, K
SHARES = (0.0, 0.2, 0.5)
TYPES = ("full", "tied", "diag", "spherical", "VVE", "VEV")
SIDE, N_ROWS = 24.0, 2000


def clutter(d, K, share, seed):
    """Clusters in clutter, and their labels."""
    rng = np.random.default_rng(seed)
    n_noise = int(N_ROWS * share)
    means = rng.uniform(-0.35 * SIDE, 0.35 * SIDE, (K, d))
    shapes = np.eye(d) + 0.7 * rng.normal(size=(K, d, d)) / np.sqrt(d)
    labels = rng.integers(0, K, N_ROWS - n_noise)
    z = 0.7 * rng.normal(size=(len(labels), d))
    X = np.einsum("nij,nj->ni", shapes[labels], z) + means[labels]
    noise = rng.uniform(-SIDE / 2, SIDE / 2, (n_noise, d))
    return np.vstack([X, noise]), np.append(labels, np.full(n_noise, -1))


def short_fits(seeds):
    print("| d, K | clutter | fits | short: clean | short: plain |\n|---|---|---|---|---|")
    for d, K in CASES:
        for share in SHARES:
            short = np.zeros(2, dtype=int)
            for seed in seeds:
                X, labels = clutter(d, K, share, seed)
                plain = KMeans(K, n_init=4, random_state=seed).fit_predict(X)
                starts = (labels, "k-means||", plain)
                best, *found = (total(X, K, start, seed) for start in starts)
                short += np.array(found) < best - 5
            print(f"| {d}, {K} | {share:.0%} | {len(seeds)} | {short[0]} | {short[1]} |")


def total(X, K, start, seed):
    gmm = DistributedGMM(
        K, noise="auto", init_params=start, tol=1e-6, max_iter=500, random_state=seed
    )
    return gmm.fit(X).lower_bound_ * len(X)


def seconds(X, kind, start, **options):
    """Of an iteration: what ten more take."""
    taken = []
    for max_iter in (2, 12):
        gmm = DistributedGMM(
            10, covariance_type=kind, tol=0, max_iter=max_iter, n_jobs=1, **options, **start
        )
        begin = time.perf_counter()
        gmm.fit(X)
        taken.append(time.perf_counter() - begin)
    return (taken[1] - taken[0]) / 10


def ratios(n_rows, n_runs):
    X = make_rows(n_rows, 10, 10, 3.0, 0)
    print("\n| model | ms an iteration | with noise | ratio |\n|---|---|---|---|")
    for kind in TYPES:
        like = {"VVE": "full", "VEV": "full"}.get(kind, kind)
        start = make_start(X, 10, like, 0)
        noisy = {**start, "weights_init": 0.95 * start["weights_init"], "noise": "auto"}
        runs = [(seconds(X, kind, start), seconds(X, kind, noisy)) for _ in range(n_runs)]
        without, with_noise = 1000 * np.median(runs, axis=0)
        ratio = np.median([b / a for a, b in runs])
        print(f"| {kind} | {without:.0f} | {with_noise:.0f} | {ratio:.2f} |")


def main():
    args = parsed(__doc__, rows=200_000, seeds=6, quick=(20_000, 1))
    short_fits(args.seeds)
    ratios(args.rows, max(len(args.seeds), 2))


if __name__ == "__main__":
    main()
