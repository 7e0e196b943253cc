"""Local mixtures combined, against EM over all rows: how near to the truth, and how soon.

The set-up of Zhang and Chen (2022): populations with K components in d dimensions and a maximal
pairwise overlap, N rows cut into M shards. Distances (W1) are least costs of moving the components
of an estimate to those of the population, |mu - mu'| + |S^1/2 - S'^1/2|_F a unit of weight. Every
local fit starts from its own k-means|| centres.

    python examples/benchmarks/aggregation.py [--quick] [--json FILE] [--only TABLE ...]

Tables: distance (honest shards), attacks (some shards send other models), sites (each sees some of
the clusters), time (critical path: the slowest local fit and the combination).
"""

import argparse
import json
import time
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score

from skdistmix import DistributedGMM, MixtureOfExpertsAggregator, reduce_mixtures
from skdistmix._alignment import transport_distance
from skdistmix._averaging import aligned_average
from skdistmix.datasets import make_gaussian_population, sample_gaussian_mixture
from skdistmix.families import GaussianComponents

K, D, OVERLAP = 5, 10, 0.1
LOCAL = {
    "tol": "likelihood", "acceleration": "squarem", "covariance_penalty": "auto", "n_init": 4,
    "max_iter": 1000,
}  # fmt: skip


def population_and_rows(n_rows, seed):
    population = make_gaussian_population(K, D, max_overlap=OVERLAP, random_state=seed)
    parameters = population.weights, population.means, population.covariances
    X, y = sample_gaussian_mixture(n_rows, *parameters, random_state=seed)
    return GaussianComponents(*parameters), X, y


def components(model):
    family, params = model._family_and_params()
    return family.components(params)


def fit_of(components, n_rows):
    """A fitted estimator with given components, as a site would send it."""
    model = DistributedGMM(len(components))
    family = model._family(D).prepare(components.moments(1.0))
    model._set_params(
        family, family.params(components.weights, components.means, components.covariances)
    )
    model.n_features_in_, model.n_samples_seen_ = D, n_rows
    return model


def global_fit(X):
    return DistributedGMM(K, **LOCAL, random_state=0).fit(X)


# ------------------------------------------------------------------ honest shards


def distances(n_rows, n_shards, seed):
    """W1 to the population, and to the fit of all rows, of each way to combine local fits."""
    truth, X, _ = population_and_rows(n_rows, seed)
    shards = np.array_split(X, n_shards)
    whole = components(global_fit(X))
    first = MixtureOfExpertsAggregator(DistributedGMM(**LOCAL), K, random_state=seed).fit(shards)
    found = {"all rows": whole, "transport": components(first)}
    sizes = [len(x) for x in shards]
    for aggregation in ("average", "kl-average", "medoid"):
        one = reduce_mixtures(first.experts_, sizes, aggregation=aggregation, random_state=seed)
        found[aggregation] = components(one)
    for cost in ("w2", "cauchy-schwarz"):
        found[f"transport, {cost}"] = components(
            reduce_mixtures(first.experts_, sizes, cost=cost, random_state=seed)
        )
    robust, _ = quietly(reduce_mixtures, first.experts_, sizes, robust=True, random_state=seed)
    found["transport, robust"] = components(robust)
    family, _ = first._family_and_params()
    rng = np.random.default_rng(seed)
    shuffled = []
    for expert in first.experts_:
        own, params = expert._family_and_params()
        shuffled.append(own.permute(params, rng.permutation(K)))
    found["average, unaligned"] = family.components(
        aligned_average(family, shuffled, np.ones(n_shards) / n_shards, cost=None)
    )
    for n_iter in (1, 3):
        refined, _ = quietly(
            DistributedGMM(
                K, tol=0, max_iter=n_iter, covariance_penalty="auto",
                weights_init=first.weights_, means_init=first.means_,
                precisions_init=first.precisions_,
            ).fit,
            shards,
        )  # fmt: skip
        found[f"transport, refine={n_iter}"] = components(refined)
    rows = {
        name: (transport_distance(model, truth), transport_distance(model, whole))
        for name, model in found.items()
    }
    single = [transport_distance(components(expert), truth) for expert in first.experts_]
    rows["one shard (mean)"] = (float(np.mean(single)), float("nan"))
    return rows


def distance_table(args, results):
    for n_shards in (20, 100):
        runs = [distances(args.rows, n_shards, seed) for seed in range(args.sets)]
        table = {name: np.array([run[name] for run in runs]) for name in runs[0]}
        base = table["all rows"][:, 0].mean()
        print(f"\nW1, {args.rows:,} rows, {n_shards} shards, means of {args.sets} populations")
        print("| estimator | W1 to population | in units of all rows' | W1 to fit of all rows |")
        print("|---|---|---|---|")
        for name, values in table.items():
            to_truth, to_whole = values.mean(axis=0)
            print(f"| {name} | {to_truth:.4f} | {to_truth / base:.3f} | {to_whole:.4f} |")
        results[f"distance {n_shards}"] = {name: v.tolist() for name, v in table.items()}


# ------------------------------------------------------------------ attacks


def attacked(model, attack, rng):
    """What a corrupt shard sends in place of its model (Zhang, Tan and Chen 2026)."""
    if attack == "means":
        means = rng.normal(0, 100, model.means.shape)
        return GaussianComponents(model.weights, means, model.covariances)
    if attack == "covariances":
        noise = rng.normal(size=model.covariances.shape) / D
        covariances = model.covariances + noise @ noise.transpose(0, 2, 1)
        return GaussianComponents(model.weights, model.means, covariances)
    weights = rng.dirichlet(np.full(K, rng.uniform(10, 20)))
    return GaussianComponents(weights, model.means, model.covariances)


def attack_table(args, results):
    n_shards, rates = 20, (0.1, 0.2, 0.3, 0.4)
    table = {}
    for seed in range(args.sets):
        truth, X, _ = population_and_rows(args.rows, seed)
        shards = np.array_split(X, n_shards)
        experts = (
            MixtureOfExpertsAggregator(DistributedGMM(**LOCAL), K, random_state=seed)
            .fit(shards)
            .experts_
        )
        models = [components(expert) for expert in experts]
        rng = np.random.default_rng(seed)
        for attack in ("none", "means", "weights", "covariances"):
            for rate in (0.0,) if attack == "none" else rates:
                bad = set(rng.choice(n_shards, round(rate * n_shards), replace=False).tolist())
                sent = [
                    fit_of(attacked(model, attack, rng) if i in bad else model, len(shards[i]))
                    for i, model in enumerate(models)
                ]
                plain = reduce_mixtures(sent, random_state=seed)
                robust, _ = quietly(reduce_mixtures, sent, robust=True, random_state=seed)
                missed = bad - set(robust.rejected_models_.tolist())
                wronged = set(robust.rejected_models_.tolist()) - bad
                values = [transport_distance(components(m), truth) for m in (plain, robust)]
                table.setdefault((attack, rate), []).append([*values, len(missed), len(wronged)])
    clean = np.mean([row[0] for row in table["none", 0.0]])
    print(f"\nW1 to the population, {n_shards} shards, some of them corrupt; clean {clean:.4f}")
    print("| attack | share | plain | robust | robust / clean | corrupt kept | honest rejected |")
    print("|---|---|---|---|---|---|---|")
    for (attack, rate), values in table.items():
        plain, robust, missed, wronged = np.mean(values, axis=0)
        print(
            f"| {attack} | {rate:.0%} | {plain:.4f} | {robust:.4f} | {robust / clean:.2f} "
            f"| {missed:.1f} | {wronged:.1f} |"
        )
    results["attacks"] = {f"{a} {r}": v for (a, r), v in table.items()}


# ------------------------------------------------------------------ different sites


def site_table(args, results):
    print("\nSites that see 2 or 3 of 5 clusters, local K by BIC; adjusted Rand index")
    print(
        "| population | local K right | found | with all rows' fit | with the truth | all rows' |"
    )
    print("|---|---|---|---|---|---|")
    values = []
    for seed in range(args.sets):
        population = make_gaussian_population(K, D, max_overlap=0.01, random_state=seed)
        rng = np.random.default_rng(seed)
        sites, truth, seen = [], [], []
        for i in range(10):
            own = rng.choice(K, rng.integers(2, 4), replace=False)
            if i < K and i not in own:
                own[0] = i
            X, y = sample_gaussian_mixture(
                args.rows // 10, np.full(len(own), 1 / len(own)), population.means[own],
                population.covariances[own], random_state=100 * seed + i,
            )  # fmt: skip
            sites.append(X)
            truth.append(own[y])
            seen.append(len(own))
        model, _ = quietly(
            MixtureOfExpertsAggregator(
                DistributedGMM(**LOCAL), K, local_components=range(1, K + 1), random_state=seed
            ).fit,
            sites,
        )
        whole = global_fit(sites)
        labels, theirs = (np.concatenate(m.predict(sites)) for m in (model, whole))
        truth = np.concatenate(truth)
        right = np.mean([len(e.weights_) == n for e, n in zip(model.experts_, seen)])
        row = [
            float(right), len(np.unique(labels)), adjusted_rand_score(theirs, labels),
            adjusted_rand_score(truth, labels), adjusted_rand_score(truth, theirs),
        ]  # fmt: skip
        values.append(row)
        print(f"| {seed} | {row[0]:.0%} | {row[1]} | {row[2]:.4f} | {row[3]:.4f} | {row[4]:.4f} |")
    results["sites"] = values


# ------------------------------------------------------------------ time


def time_table(args, results):
    n_rows, n_shards = args.time_rows, 20
    print(f"\nCritical path, {n_rows:,} x {D}, K={K}, {n_shards} shards, one thread, same start")
    print(
        "| population | exact EM | slowest local fit | reduction | ratio | best whole fit | ratio |"
    )
    print("|---|---|---|---|---|---|---|")
    values = []
    for seed in range(args.time_sets):
        truth, X, _ = population_and_rows(n_rows, seed)
        shards = np.array_split(X, n_shards)
        rng = np.random.default_rng(seed)
        spread = np.sqrt(np.diagonal(truth.covariances, axis1=1, axis2=2))
        start = {  # the population, disturbed
            "weights_init": truth.weights, "subsample": None,
            "means_init": truth.means + 0.5 * spread * rng.normal(size=truth.means.shape),
            "precisions_init": np.linalg.inv(2.0 * truth.covariances),
            "tol": 1e-6, "max_iter": 5000, "covariance_penalty": "auto", "n_jobs": 1,
        }  # fmt: skip
        _, exact = timed(DistributedGMM(K, **start).fit, X)
        local = [timed(DistributedGMM(K, **start).fit, shard) for shard in shards]
        slowest = max(seconds for _, seconds in local)
        experts = [model for model, _ in local]
        one, reduction = timed(reduce_mixtures, experts, random_state=0)
        _, one_start = timed(reduce_from_one, experts)
        _, best = timed(
            DistributedGMM(K, tol=1e-6, covariance_penalty="auto", n_jobs=1, random_state=0).fit, X
        )
        path = slowest + reduction
        apart = transport_distance(components(one), truth)
        values.append([exact, slowest, reduction, one_start, best, apart])
        print(
            f"| {seed} | {exact:.2f} s | {slowest:.3f} s | {1e3 * reduction:.0f} ms, "
            f"{1e3 * one_start:.1f} ms from one start | {exact / path:.1f} | {best:.2f} s "
            f"| {best / path:.1f} |",
            flush=True,
        )
    results["time"] = values


def reduce_from_one(experts):
    from skdistmix._aggregation import implied_family, pooled_components
    from skdistmix._reduction import descend

    models = [expert._family_and_params()[1] for expert in experts]
    shares = np.full(len(models), 1 / len(models))
    family = implied_family(DistributedGMM(K)._family(D), models, shares, 1.0)
    return descend(family, pooled_components(family, models, shares), models[0], "kl")


def timed(function, *args, **kwargs):
    began = time.perf_counter()
    return quietly(function, *args, **kwargs)[0], time.perf_counter() - began


def quietly(function, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", UserWarning)
        return function(*args, **kwargs), None


TABLES = {
    "distance": distance_table, "attacks": attack_table, "sites": site_table, "time": time_table,
}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--sets", type=int, default=6, help="populations")
    parser.add_argument("--time-rows", type=int, default=1_000_000)
    parser.add_argument("--time-sets", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--json", help="write all values to this file")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, two populations")
    args = parser.parse_args()
    if args.quick:
        args.rows, args.sets, args.time_rows, args.time_sets = 20_000, 2, 100_000, 1
    results = {}
    for name in args.only:
        TABLES[name](args, results)
    if args.json:
        with open(args.json, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
