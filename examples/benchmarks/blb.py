"""Do the intervals of BLBMixture cover, and what does the bag of little bootstraps save?

Table "coverage": data sets of three components in 2 and in 5 columns, each mean three standard
deviations from the others, fitted from their own k-means starts. For each block of parameters: the
mean over parameters of how often the 95 % interval holds the true value, the parameters that were
held least and most often, and the mean standard error over the standard deviation of the estimates
(median, least and largest of the parameters). With 500 data sets one coverage is known to within
2 points, twice its standard error. With --results FILE each data set is a line of that file, and
a later run goes on from there; runs of different --columns may go on side by side.

Table "cost": seconds against the ordinary bootstrap of all rows with 200 resamples, at the same
convergence. The bootstrap is run with two numbers of resamples and extended linearly. "beside the
fit" leaves out the fit to all rows, which both need.

Table "mclust": Old Faithful's eruptions (272 rows; --faithful FILE.csv, whose last two columns are
durations and waiting times), two components: standard errors over those of R's mclust 6.0.0,
MclustBootstrap with nboot = 999.

    python examples/benchmarks/blb.py [--quick] [--only coverage|cost|mclust] [--seeds 500]
        [--first-seed 0] [--columns 2] [--faithful faithful.csv] [--results blb.jsonl]
        [--rows 1000000]
"""

import json
import time
from pathlib import Path

import numpy as np
from data_sets import parsed
from gmm_vs_sklearn import make_rows
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from skdistmix import BLBMixture, DistributedGMM

N_ROWS = 20_000
WEIGHTS = np.array([0.5, 0.3, 0.2])
TRIANGLE = np.array([[0.0, 0.0], [3.0, 0.0], [1.5, 1.5 * np.sqrt(3)]])
BLOCKS = ("weights", "means", "covariances")
MIXTURE = {"max_iter": 5000, "acceleration": "squarem"}
BOOTSTRAPS = (8, 32)  # resamples that are timed
MCLUST = {  # standard errors of model VVV, the larger component first
    "weights": [0.0303298, 0.0303298],
    "means": [[0.0327991, 0.4567282], [0.0287384, 0.5873194]],
    "covariances": [
        [[0.0197315, 0.2637714], [0.2637714, 4.2658611]],
        [[0.0141397, 0.1701434], [0.1701434, 4.2735762]],
    ],
}


def truth(d):
    means = np.zeros((3, d))
    means[:, :2] = TRIANGLE
    return {"weights": WEIGHTS, "means": means, "covariances": np.stack([np.eye(d)] * 3)}


def one_data_set(d, seed, n_rows):
    """What the intervals of a data set hold, its estimates and its standard errors."""
    true, rng = truth(d), np.random.default_rng([d, seed])
    labels = rng.choice(3, size=n_rows, p=WEIGHTS)
    X = true["means"][labels] + rng.standard_normal((n_rows, d))
    model = BLBMixture(DistributedGMM(3, **MIXTURE), random_state=seed, n_jobs=1).fit(X)
    order = linear_sum_assignment(cdist(true["means"], model.means_))[1]
    row = {"d": d, "seed": seed, "rows": n_rows, "failures": int(model.alignment_failures_)}
    for block in BLOCKS:
        ends = model.confidence_intervals_
        lower, upper = ends.lower[block][order], ends.upper[block][order]
        row[block] = {
            "held": ((lower <= true[block]) & (true[block] <= upper)).astype(int).tolist(),
            "estimates": getattr(model, f"{block}_")[order].tolist(),
            "errors": model.standard_errors_[block][order].tolist(),
        }
    return row


def coverage(d, seeds, n_rows, path):
    rows = {}
    if path is not None and path.exists():
        for line in path.read_text().splitlines():
            row = json.loads(line)
            if (row["d"], row["rows"]) == (d, n_rows):
                rows[row["seed"]] = row
    for seed in seeds:
        if seed not in rows:
            rows[seed] = one_data_set(d, seed, n_rows)
            if path is not None:
                with path.open("a") as file:
                    file.write(json.dumps(rows[seed]) + "\n")
    used = [rows[seed] for seed in seeds]
    for block in BLOCKS:
        kept = np.triu_indices(d) if block == "covariances" else None

        def values(name, block=block, kept=kept):
            each = np.array([row[block][name] for row in used], dtype=float)
            return each.reshape(len(used), -1) if kept is None else each[:, :, *kept]

        held = values("held").mean(axis=0)
        ratio = values("errors").mean(axis=0) / values("estimates").std(axis=0, ddof=1)
        print(
            f"| {d} | {block} | {len(used)} | {held.mean():.1%} | {held.min():.1%} "
            f"| {held.max():.1%} | {np.median(ratio):.3f} | {ratio.min():.3f} | {ratio.max():.3f} "
            f"| {sum(row['failures'] for row in used)} |",
            flush=True,
        )


def seconds(function, *args):
    """(wall, processor) seconds of a call, and its result."""
    wall, processor = time.perf_counter(), time.process_time()
    result = function(*args)
    return np.array([time.perf_counter() - wall, time.process_time() - processor]), result


def cost(n_rows, d=5, K=5):
    print("\n| spread | EM passes | seconds | fit | bag | bootstrap | ratio | beside the fit |")
    print("|---|---|---|---|---|---|---|---|")
    for spread in (1.5, 1.0):
        X = make_rows(n_rows, d, K, spread, 0)
        gmm = DistributedGMM(K, **MIXTURE, random_state=0)
        alone, fitted = seconds(gmm.set_params(tol="likelihood").fit, X)
        bag, model = seconds(BLBMixture(gmm, random_state=0).fit, X)
        few, more = (
            seconds(BLBMixture(gmm, method="bootstrap", n_resamples=n, random_state=0).fit, X)[0]
            for n in BOOTSTRAPS
        )
        each = (more - few) / (BOOTSTRAPS[1] - BOOTSTRAPS[0])
        full = few + each * (200 - BOOTSTRAPS[0])
        for i, kind in enumerate(("wall", "processor")):
            print(
                f"| {spread} | {fitted.n_iter_} | {kind} | {alone[i]:.1f} | {bag[i]:.1f} "
                f"| {full[i]:.0f} | {full[i] / bag[i]:.1f} "
                f"| {(full - alone)[i] / (bag - alone)[i]:.1f} |",
                flush=True,
            )
        print(
            f"(spread {spread}: {model.n_subsets_} subsets of {model.subset_size_} rows, "
            f"{model.n_resamples_.sum()} resamples, {model.alignment_failures_} failed)"
        )


def against_mclust(path):
    X = np.loadtxt(path, delimiter=",", skiprows=1)[:, -2:]
    gmm = DistributedGMM(2, reg_covar=0, **MIXTURE)
    print("\n| method | weights | means | covariances | failed |\n|---|---|---|---|---|")
    for method, options in {
        "bootstrap": {"n_resamples": 999},
        "weighted": {"n_resamples": 999},
        "parametric": {"n_resamples": 999},
        "blb": {"subset_size": len(X) // 2, "n_subsets": 10, "n_resamples": 200},
    }.items():
        model = BLBMixture(gmm, method=method, random_state=0, **options).fit(X)
        order = np.argsort(-model.weights_)
        ratios = [model.standard_errors_[b][order] / np.array(MCLUST[b]) for b in BLOCKS]
        shown = " | ".join(f"{r.min():.3f} to {r.max():.3f}" for r in ratios)
        print(f"| {method} | {shown} | {model.alignment_failures_} |", flush=True)


def main():
    args = parsed(
        __doc__, rows=1_000_000, seeds=500, quick=(50_000, 3), only="all", columns=0, results="",
        faithful="",
    )  # fmt: skip
    if args.only in ("all", "coverage"):
        print("| d | block | data sets | mean | least | most | ", end="")
        print("error / deviation | least | most | failures |")
        print("|---|---|---|---|---|---|---|---|---|---|")
        for d in (args.columns,) if args.columns else (2, 5):
            coverage(d, args.seeds, N_ROWS, Path(args.results) if args.results else None)
    if args.only in ("all", "cost"):
        cost(args.rows)
    if args.faithful:
        against_mclust(args.faithful)


if __name__ == "__main__":
    main()
