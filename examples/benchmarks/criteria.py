"""How often the right number of components is chosen, by criteria of all rows and of shards.

Eight kinds of populations with a stated maximal overlap of their components (as of MixSim), one
population and one data set a seed, cut into shards at random. Candidates are 1 to K + 3 components
of the right covariance type. Methods, all by BIC:

exact        exact EM over all rows, by MixtureSearch
one round    local fits combined for each candidate (reduce_mixtures), then exact_criterion
sum, vote, corrected, pooled, slope
             aggregated_criterion of the local fits, without another look at the rows; "sum" is the
             recommended one; "slope" has few candidates here, and no choice (0) without a plateau
5 folds      the recipe of scikit-learn's gallery: GridSearchCV of GaussianMixture with its default
             of five folds, scored by BIC on the rows left out; skipped with --no-folds

    python examples/benchmarks/criteria.py [--quick] [--rows 50000] [--seeds 50] [--first-seed 0]
        [--shards 20] [--only NAME ...] [--no-folds] [--results FILE]

For the figure of the documentation: --shards 1 2 5 10 20 50 100. With --results each data set is
kept in that file (JSON), and a later call goes on from there. A data set of 50,000 rows in 20
shards takes minutes on one core.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV

from skdistmix import DistributedGMM, reduce_mixtures
from skdistmix.datasets import make_gaussian_population, sample_gaussian_mixture
from skdistmix.families import DegenerateComponentError
from skdistmix.model_selection import (
    MixtureSearch,
    aggregated_criterion,
    exact_criterion,
    local_results,
)

# components, features, covariance type, maximal overlap
SETTINGS = {
    "2 full, d=2, 0.001": (2, 2, "full", 0.001),
    "3 full, d=2, 0.01": (3, 2, "full", 0.01),
    "5 tied, d=2, 0.01": (5, 2, "tied", 0.01),
    "8 spherical, d=2, 0.01": (8, 2, "spherical", 0.01),
    "4 full, d=10, 0.01": (4, 10, "full", 0.01),
    "6 diag, d=10, 0.01": (6, 10, "diag", 0.01),
    "3 full, d=2, 0.1": (3, 2, "full", 0.1),
    "5 full, d=10, 0.1": (5, 10, "full", 0.1),
}
SEPARATED = [name for name, setting in SETTINGS.items() if setting[3] <= 0.01]
QUICK = ["3 full, d=2, 0.01", "5 tied, d=2, 0.01", "3 full, d=2, 0.1"]
OPTIONS = {
    "tol": "likelihood", "acceleration": "squarem", "covariance_penalty": "auto", "max_iter": 500,
}  # fmt: skip
FEW_BEYOND = 3  # candidates beyond the true number
LOCAL = ("sum", "vote", "corrected", "pooled", "slope")


def data_set(name, n_rows, seed):
    """Rows in random order, candidates and the covariance type of a setting."""
    K, d, covariance_type, max_overlap = SETTINGS[name]
    population = make_gaussian_population(
        K, d, max_overlap=max_overlap, min_weight=0.5 / K, covariance_type=covariance_type,
        random_state=seed,
    )  # fmt: skip
    parameters = population.weights, population.means, population.covariances
    X, _ = sample_gaussian_mixture(n_rows, *parameters, random_state=seed)
    return X, range(1, K + FEW_BEYOND + 1), covariance_type


def fits_of(rows, candidates, covariance_type, seed):
    """Fitted mixtures by candidate; None where all starts degenerate."""
    fits = {}
    for K in candidates:
        gmm = DistributedGMM(K, covariance_type=covariance_type, **OPTIONS, random_state=seed)
        try:
            fits[K] = gmm.fit(rows)
        except DegenerateComponentError:
            fits[K] = None
    return fits


def by_all_rows(X, candidates, covariance_type, seed):
    gmm = DistributedGMM(covariance_type=covariance_type, **OPTIONS, random_state=seed)
    search = MixtureSearch(gmm, {"n_components": list(candidates)}).fit(X)
    return {"exact": search.best_params_["n_components"]}


def by_shards(X, candidates, covariance_type, seed, n_shards):
    shards = np.array_split(X, n_shards)
    fits = [fits_of(rows, candidates, covariance_type, seed + m) for m, rows in enumerate(shards)]
    results = local_results(fits)
    chosen = {method: choice_of(results, method) for method in LOCAL}
    everywhere = [K for K in candidates if all(own[K] is not None for own in fits)]
    models = {K: reduce_mixtures([own[K] for own in fits], random_state=seed) for K in everywhere}
    chosen["one round"] = exact_criterion(models, shards).best
    return chosen


def choice_of(results, method):
    """The candidate that a method chooses; 0 where the slope heuristic finds no plateau."""
    try:
        return aggregated_criterion(results, method=method).best
    except ValueError:
        if method != "slope":
            raise
        return 0


def by_folds(X, candidates, covariance_type, seed):
    """The recipe of scikit-learn's example "Gaussian Mixture Model Selection"."""
    search = GridSearchCV(
        GaussianMixture(covariance_type=covariance_type, random_state=seed),
        {"n_components": list(candidates)},
        scoring=lambda estimator, X: -estimator.bic(X),
    )
    return {"5 folds": search.fit(X).best_params_["n_components"]}


def loaded(path):
    return json.loads(path.read_text()) if path is not None and path.exists() else {}


def kept(path, results):
    if path is not None:
        part = path.with_suffix(".part")
        part.write_text(json.dumps(results, indent=1))
        part.replace(path)


def run(args, results):
    steps = [(f"{m} shards", by_shards, (m,)) for m in args.shards]
    steps = [("all rows", by_all_rows, ()), *steps]
    steps += [] if args.no_folds else [("folds", by_folds, ())]
    for seed in args.seeds:
        for name in args.only:
            for step, function, more in steps:
                key = f"{name}/{args.rows}/{step}/{seed}"
                if key in results:
                    continue
                began = time.perf_counter()
                chosen = function(*data_set(name, args.rows, seed), seed, *more)
                chosen = {method: int(K) for method, K in chosen.items()}
                results[key] = chosen | {"seconds": round(time.perf_counter() - began, 1)}
                print(key, results[key], flush=True)
                kept(args.results, results)


def table(args, results):
    columns = [("all rows", "exact"), ("folds", "5 folds")]
    columns += [(f"{m} shards", method) for m in args.shards for method in ("one round", *LOCAL)]
    if args.no_folds:
        columns.remove(("folds", "5 folds"))
    print("\nShare of right numbers of components (smallest and largest choice)")
    print("| setting | " + " | ".join(f"{method}, {step}" for step, method in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    right = {column: [] for column in columns}
    for name in args.only:
        K, cells = SETTINGS[name][0], []
        for step, method in columns:
            keys = [f"{name}/{args.rows}/{step}/{seed}" for seed in args.seeds]
            chosen = np.array([results[key][method] for key in keys])
            if name in SEPARATED:
                right[step, method] += (chosen == K).tolist()
            cells.append(f"{np.mean(chosen == K):.0%} ({chosen.min()} to {chosen.max()})")
        print(f"| {name} | " + " | ".join(cells) + " |")
    means = [f"{np.mean(right[column]):.0%}" if right[column] else "" for column in columns]
    print("| all with an overlap of at most 0.01 | " + " | ".join(means) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=50_000, help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=50, help="data sets, default: %(default)s")
    parser.add_argument("--first-seed", type=int, default=0, help="of the first data set")
    parser.add_argument("--shards", type=int, nargs="+", default=[20], help="default: 20")
    parser.add_argument("--only", nargs="+", choices=SETTINGS, help="settings, default: all")
    parser.add_argument("--no-folds", action="store_true", help="without scikit-learn's recipe")
    parser.add_argument("--results", type=Path, help="file to keep results in, and to go on from")
    parser.add_argument("--quick", action="store_true", help="10,000 rows, 2 seeds, 3 settings")
    args = parser.parse_args()
    if args.quick:
        args.rows, args.seeds, args.only = 10_000, 2, args.only or QUICK
    args.only = args.only or list(SETTINGS)
    args.seeds = range(args.first_seed, args.first_seed + args.seeds)
    warnings.simplefilter("ignore", ConvergenceWarning)
    results = loaded(args.results)
    run(args, results)
    table(args, results)


if __name__ == "__main__":
    main()
