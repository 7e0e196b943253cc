"""Combining mixtures without data: divergences, barycentres, reduction, averages, trust."""

from itertools import permutations, product

import numpy as np
import pytest
from scipy.integrate import quad, trapezoid
from scipy.optimize import minimize
from scipy.stats import norm

from skdistmix._aggregation import aggregate, implied_family, pooled_components
from skdistmix._alignment import matching, transport_distance
from skdistmix._averaging import aligned_average, medoid
from skdistmix._compute import Workers
from skdistmix._reduction import descend, greedy_groups, reduce_components, starts_for
from skdistmix._robust import log_distances, select_models
from skdistmix.families import GAUSSIAN_FAMILIES, GaussianComponents

COSTS = ("kl", "w2", "cauchy-schwarz")


def alone(function, shards, block_rows=8192, check=False):
    """A map over rows in memory, by nobody's help."""
    return function(block for s in shards for block in s.blocks(0, s.n_rows, block_rows))


def components(n=6, d=3, kind="full", seed=0):
    """Random components as models of a type have them."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n, d, d))
    covariances = A @ A.transpose(0, 2, 1) / d + 0.3 * np.eye(d)
    if kind in ("diag", "spherical"):
        covariances = np.diagonal(covariances, axis1=1, axis2=2).copy()
    if kind == "spherical":
        covariances = np.repeat(covariances[:, :1], d, axis=1)
    means = 1.5 * rng.normal(size=(n, d))
    return GaussianComponents(rng.dirichlet(np.ones(n)), means, covariances)


def family_of(kind, pooled, n_components):
    family = GAUSSIAN_FAMILIES[kind](n_components)
    return family.prepare(pooled.moments(1.0))


def model_of(kind, K=3, d=3, seed=0):
    """Parameters of a random mixture."""
    source = components(K, d, kind, seed)
    family = family_of(kind, source, K)
    return family, family.barycentre(source, np.diag(source.weights), "kl")


def permuted(family, params, seed):
    return family.permute(params, np.random.default_rng(seed).permutation(family.n_components))


def assert_same_mixture(family, a, b, atol=1e-9):
    assert transport_distance(family.components(a), family.components(b)) < atol


# ------------------------------------------------------------------ divergences


@pytest.mark.parametrize("matrices", [True, False])
def test_divergences_are_those_of_the_densities(matrices):
    """In one dimension, by quadrature."""
    rng = np.random.default_rng(0)
    m, v = rng.normal(size=4), rng.uniform(0.3, 2, size=4)
    shape = (4, 1, 1) if matrices else (4, 1)
    c = GaussianComponents(np.full(4, 0.25), m[:, None], v.reshape(shape))
    family = GAUSSIAN_FAMILIES["full" if matrices else "diag"](4)
    found = {cost: family.distance(c, c, cost) for cost in COSTS}
    overlaps = np.exp(family.log_overlaps(c, c))
    for i, j in product(range(4), repeat=2):
        f, g = norm(m[i], v[i] ** 0.5), norm(m[j], v[j] ** 0.5)
        x = np.linspace(-15, 15, 20_001)  # the trapezoidal rule is exact for such functions
        kl = trapezoid(f.pdf(x) * (f.logpdf(x) - g.logpdf(x)), x)
        cross, ff, gg = (trapezoid(a.pdf(x) * b.pdf(x), x) for a, b in ((f, g), (f, f), (g, g)))
        u = (np.arange(200_000) + 0.5) / 200_000
        w2 = np.mean((f.ppf(u) - g.ppf(u)) ** 2)
        assert found["kl"][i, j] == pytest.approx(kl, abs=1e-7)
        assert found["w2"][i, j] == pytest.approx(w2, abs=1e-4)
        assert found["cauchy-schwarz"][i, j] == pytest.approx(-np.log(cross / (ff * gg) ** 0.5))
        assert overlaps[i, j] == pytest.approx(cross)


def test_matrices_and_variances_give_the_same_divergences():
    flat = components(kind="diag")
    full = GaussianComponents(
        flat.weights, flat.means, np.stack([np.diag(v) for v in flat.covariances])
    )
    for cost in COSTS:
        a, b = (GAUSSIAN_FAMILIES[k](6).distance(c, c, cost) for k, c in
                (("diag", flat), ("full", full)))  # fmt: skip
        np.testing.assert_allclose(a, b, atol=1e-9)


def test_divergences_do_not_leave_the_range_of_numbers_in_high_dimension():
    d = 800
    c = GaussianComponents(np.ones(2) / 2, np.zeros((2, d)), np.stack([np.eye(d), 4 * np.eye(d)]))
    family = GAUSSIAN_FAMILIES["full"](2)
    logs = family.log_overlaps(c, c)
    assert logs[0, 0] == pytest.approx(-0.5 * d * np.log(4 * np.pi))
    assert np.exp(logs).max() == 0.0
    assert np.isfinite(log_distances(family, [c.pick([0]), c.pick([1])])[0, 1])


# ------------------------------------------------------------------ barycentres


@pytest.mark.parametrize("cost", COSTS)
def test_barycentres_are_nearest(covariance_type, cost):
    """No other parameters of the family are nearer to the components of a plan."""
    pooled = components(kind=covariance_type)
    family = family_of(covariance_type, pooled, 2)
    plan = np.zeros((6, 2))
    plan[:3, 0], plan[3:, 1] = pooled.weights[:3], pooled.weights[3:]

    def value(params):
        return (plan * family.distance(pooled, family.components(params), cost)).sum()

    params = family.barycentre(pooled, plan, cost)
    found = minimize(
        lambda x: value(family.params_of_coordinates(x, like=params)), family.coordinates(params),
        method="BFGS", options={"maxiter": 200},
    )  # fmt: skip
    assert value(params) <= found.fun + 1e-9
    np.testing.assert_allclose(params.weights, plan.sum(axis=0))


def test_the_kl_barycentre_has_the_moments_of_the_mixture():
    pooled = components()
    family = family_of("full", pooled, 1)
    params = family.barycentre(pooled, pooled.weights[:, None], "kl")
    moments = pooled.moments(1.0)
    np.testing.assert_allclose(params.means[0], moments.mean)
    np.testing.assert_allclose(params.covariances[0], moments.scatter)


# ------------------------------------------------------------------ reduction


@pytest.mark.parametrize("cost", COSTS)
def test_reduction_finds_the_best_of_all_plans(cost):
    pooled = components(6, 2, seed=3)
    family = family_of("full", pooled, 2)
    best = np.inf
    for assignment in product((0, 1), repeat=5):  # the first component is in group 0
        groups = np.array((0, *assignment))
        if groups.all() or not groups.any():
            continue
        plan = np.eye(2)[groups] * pooled.weights[:, None]
        params = family.barycentre(pooled, plan, cost)
        costs = family.distance(pooled, family.components(params), cost)
        best = min(best, float((plan * costs).sum()))
    starts = starts_for(alone, family, pooled, [], cost, np.random.RandomState(0))
    found = reduce_components(family, pooled, starts, cost)
    assert found.cost == pytest.approx(best, rel=1e-7)


@pytest.mark.parametrize("cost", COSTS)
def test_no_step_of_a_reduction_costs_more(covariance_type, cost, monkeypatch):
    import skdistmix._reduction as module

    values, original = [], module._cheapest

    def noted(*args):
        targets, value = original(*args)
        values.append(value)
        return targets, value

    monkeypatch.setattr(module, "_cheapest", noted)
    pooled = components(12, 3, covariance_type, seed=5)
    family = family_of(covariance_type, pooled, 3)
    start = family.barycentre(pooled, np.eye(3)[np.arange(12) % 3] * pooled.weights[:, None], cost)
    found = descend(family, pooled, start, cost)
    assert len(values) == found.n_iter > 1
    assert values[-1] < values[0]
    assert np.all(np.diff(values) <= 1e-10)
    assert found.cost == values[-1]


@pytest.mark.parametrize("aggregation", ["transport", "average", "medoid"])
def test_copies_of_a_model_give_that_model(covariance_type, aggregation):
    family, params = model_of(covariance_type)
    copies = [permuted(family, params, seed) for seed in range(5)]
    for cost in COSTS:
        found = aggregate(
            family, copies, np.array([0.1, 0.3, 0.2, 0.2, 0.2]), aggregation=aggregation,
            cost=cost, n_draws=100, map_reduce=alone, rng=np.random.RandomState(0),
        )  # fmt: skip
        assert_same_mixture(family, found, params, atol=1e-6)


def test_an_empty_target_takes_the_component_that_costs_most():
    pooled = components(6, 2, seed=1)
    family = family_of("full", pooled, 3)
    one = family.barycentre(pooled, np.tile(pooled.weights[:, None] / 3, 3), "kl")  # all the same
    found = descend(family, pooled, one, "kl")
    assert sorted(set(found.targets)) == [0, 1, 2]
    assert (found.params.weights > 0).all()


def test_too_few_different_components_are_refused():
    family, params = model_of("full", K=2)
    pooled = pooled_components(family, [params] * 3, np.ones(3))
    with pytest.raises(ValueError, match=r"only 2 different component.*n_components=3"):
        wanted = family_of("full", pooled, 3)
        starts = starts_for(alone, wanted, pooled, [], "kl", np.random.RandomState(0))
        reduce_components(wanted, pooled, starts, "kl")


def test_models_of_other_sizes_are_reduced_in_proportion():
    """Two components seen by one model, one by the other: all three come out, with their shares."""
    family = GAUSSIAN_FAMILIES["full"](3)
    eye = np.eye(2)
    two = family.params(np.array([0.25, 0.75]), np.array([[0.0, 0], [9, 0]]), np.stack([eye] * 2))
    one = family.params(np.ones(1), np.array([[0.0, 9]]), eye[None])
    family = implied_family(family, [two, one], np.array([0.8, 0.2]), 1.0)
    found = aggregate(
        family, [two, one], np.array([0.8, 0.2]), aggregation="transport", cost="kl", n_draws=10,
        map_reduce=alone, rng=np.random.RandomState(0),
    )  # fmt: skip
    np.testing.assert_allclose(np.sort(found.weights), [0.2, 0.2, 0.6])


def slow_greedy(weights, means, covariances, n_groups):
    """Runnalls' merging in plain loops."""
    parts = [([i], w, m, C) for i, (w, m, C) in enumerate(zip(weights, means, covariances))]

    def merged(a, b):
        w = a[1] + b[1]
        m = (a[1] * a[2] + b[1] * b[2]) / w
        C = sum(p[1] / w * (p[3] + np.outer(p[2] - m, p[2] - m)) for p in (a, b))
        return (a[0] + b[0], w, m, C)

    def cost(a, b):
        both = merged(a, b)
        return 0.5 * sum(
            sign * p[1] * np.linalg.slogdet(p[3])[1] for sign, p in ((1, both), (-1, a), (-1, b))
        )

    while len(parts) > n_groups:
        pairs = [(i, j) for i in range(len(parts)) for j in range(i + 1, len(parts))]
        i, j = min(pairs, key=lambda ij: cost(parts[ij[0]], parts[ij[1]]))
        both = merged(parts[i], parts[j])
        parts = [p for k, p in enumerate(parts) if k not in (i, j)] + [both]
    return {frozenset(p[0]) for p in parts}


def test_greedy_merging_is_that_of_plain_loops():
    c = components(9, 2, seed=2)
    groups = greedy_groups(c, 3)
    found = {frozenset(np.flatnonzero(groups == k).tolist()) for k in range(3)}
    assert found == slow_greedy(c.weights, c.means, c.covariances, 3)


# ------------------------------------------------------------------ matching and averages


def test_matching_is_the_best_of_all_permutations():
    costs = np.random.default_rng(0).uniform(size=(5, 5))
    best = min(permutations(range(5)), key=lambda p: sum(costs[i, j] for j, i in enumerate(p)))
    assert matching(costs).tolist() == list(best)


def test_the_distance_of_mixtures_is_that_of_the_cheapest_plan():
    one = GaussianComponents(np.array([0.5, 0.5]), np.array([[0.0], [4.0]]), np.ones((2, 1)))
    other = GaussianComponents(np.array([0.75, 0.25]), np.array([[4.0], [0.0]]), np.ones((2, 1)))
    assert transport_distance(one, other) == pytest.approx(0.25 * 4)
    wider = GaussianComponents(one.weights, one.means, 9 * one.covariances)
    assert transport_distance(one, wider) == pytest.approx(2.0)


def test_components_are_matched_before_they_are_averaged():
    family, params = model_of("full", K=3)
    models = [permuted(family, params, seed) for seed in range(4)]
    shares = np.full(4, 0.25)
    assert_same_mixture(family, aligned_average(family, models, shares), params)
    unaligned = aligned_average(family, models, shares, cost=None)
    assert transport_distance(family.components(unaligned), family.components(params)) > 0.5


def test_an_average_needs_models_of_one_size():
    family, params = model_of("full", K=3)
    _, smaller = model_of("full", K=2)
    with pytest.raises(ValueError, match=r"local models have \[2, 3\] and n_components=3"):
        aggregate(
            family, [params, smaller], np.ones(2) / 2, aggregation="average", cost="kl",
            n_draws=10, map_reduce=alone, rng=np.random.RandomState(0),
        )  # fmt: skip
    with pytest.raises(ValueError, match="none of them has n_components=3"):
        aggregate(
            family, [smaller, smaller], np.ones(2) / 2, aggregation="medoid", cost="kl",
            n_draws=10, map_reduce=alone, rng=np.random.RandomState(0),
        )  # fmt: skip


def test_weights_take_noise_from_averages_by_draws(monkeypatch):
    """One Gaussian: the average in the Kullback-Leibler divergence is known."""
    import skdistmix._averaging as module

    source = components(4, 2, seed=4)
    models = []
    for k in range(4):
        family = family_of("full", source, 1)
        models.append(family.params(np.ones(1), source.means[[k]], source.covariances[[k]]))
    shares = np.full(4, 0.25)
    family = implied_family(family, models, shares, 1.0)
    exact = family.barycentre(pooled_components(family, models, shares), np.full((4, 1), 0.25),
                              "kl")  # fmt: skip

    def error(seed):
        with Workers(1) as workers:
            found = module.kl_average(
                workers.map_reduce, family, models, shares, exact, 400, np.random.RandomState(seed)
            )
        return transport_distance(family.components(found), family.components(exact))

    weighted = np.mean([error(seed) for seed in range(4)])
    monkeypatch.setattr(module, "_log_density", lambda family, params, X: np.zeros(len(X)))
    plain = np.mean([error(seed) for seed in range(4)])
    assert weighted < 0.3 * plain


def test_the_medoid_is_in_the_middle():
    family = GAUSSIAN_FAMILIES["full"](1)
    models = [
        GaussianComponents(np.ones(1), np.array([[x]]), np.ones((1, 1, 1))) for x in (0, 0.3, 1)
    ]
    assert medoid(log_distances(family, models)) == 1


# ------------------------------------------------------------------ trust


def test_distances_are_those_of_the_densities():
    family, params = model_of("full", K=2, d=1, seed=0)
    _, other = model_of("full", K=3, d=1, seed=1)

    def density(p, x):
        sd = np.sqrt(p.covariances[:, 0, 0])
        return float((p.weights * norm.pdf(x, p.means[:, 0], sd)).sum())

    models = [family.components(params), family.components(other)]
    square = quad(lambda x: (density(params, x) - density(other, x)) ** 2, -15, 15)[0]
    distances = log_distances(family, models)
    assert distances[0, 1] == pytest.approx(0.5 * np.log(square), abs=1e-6)
    assert distances[0, 1] == distances[1, 0]
    assert (np.diag(distances) == -np.inf).all()
    assert log_distances(family, [models[0]] * 2)[0, 1] == -np.inf


def honest_models(n=15, K=3, d=4, noise=0.02, seed=0):
    rng = np.random.default_rng(seed)
    family, params = model_of("full", K, d)
    models = []
    for _ in range(n):
        A = rng.normal(size=(K, d, d)) * noise
        covariances = params.covariances + A @ A.transpose(0, 2, 1)
        weights = rng.dirichlet(params.weights * 2000)
        means = params.means + noise * rng.normal(size=(K, d))
        models.append(GaussianComponents(weights, means, covariances))
    return family, models


def shifted(model, by):
    return GaussianComponents(model.weights, model.means + by, model.covariances)


def test_wild_models_are_rejected_and_honest_ones_are_not():
    family, models = honest_models()
    rng = np.random.default_rng(1)
    for i in range(6):
        models[i] = GaussianComponents(
            models[i].weights, 100 * rng.normal(size=models[i].means.shape), models[i].covariances
        )
    selection = select_models(log_distances(family, models), np.ones(15))
    assert selection.kept.tolist() == [False] * 6 + [True] * 9
    assert selection.center >= 6


def test_absurd_models_do_not_hide_the_distances_of_others():
    """Squared densities of a model of almost no width are 1e300 times those of others."""
    family, models = honest_models(n=9)
    models[0] = GaussianComponents(
        models[0].weights, models[0].means, models[0].covariances * 1e-150
    )
    models[1] = GaussianComponents(
        models[1].weights, models[1].means * np.nan, models[1].covariances
    )
    models[2] = None
    distances = log_distances(family, models)
    assert np.isfinite(distances[np.ix_(range(3, 9), range(3, 9))][~np.eye(6, dtype=bool)]).all()
    kept = select_models(distances, np.ones(9)).kept
    assert kept.tolist() == [False] * 3 + [True] * 6


def test_honest_small_shards_are_kept():
    """Estimates of a tenth of the rows are three times as far off; that is no lie."""
    family, large = honest_models(n=10, d=8, noise=0.01)
    _, small = honest_models(n=3, d=8, noise=0.025, seed=1)
    models = large + [GaussianComponents(large[0].weights, m.means, m.covariances) for m in small]
    models = [GaussianComponents(large[0].weights, m.means, m.covariances) for m in models]
    distances = log_distances(family, models)
    shares = np.array([10.0] * 10 + [1.0] * 3)
    assert select_models(distances, shares).kept.all()
    assert not select_models(distances, np.ones(13)).kept.all()


def test_lies_about_wide_components_are_seen():
    """A component twice as wide in ten features has a thousandth of the squared density."""
    rng = np.random.default_rng(0)
    d, n = 10, 12
    family = GAUSSIAN_FAMILIES["full"](2)
    spread = np.stack([0.2 * np.eye(d), np.eye(d)])
    models = []
    for i in range(n):
        means = np.stack([np.zeros(d), np.full(d, 3.0)]) + 0.03 * rng.normal(size=(2, d))
        means[1] += 5.0 * (i < 4)
        models.append(GaussianComponents(np.array([0.5, 0.5]), means, spread))
    plain = select_models(log_distances(family, models), np.ones(n)).kept
    assert plain[:4].all()  # the density alone hardly changes
    scaled = log_distances(family, models, equal_components=True)
    assert select_models(scaled, np.ones(n)).kept.tolist() == [False] * 4 + [True] * 8


def test_copies_of_a_model_do_not_throw_out_the_others():
    family, models = honest_models(n=5, d=8)
    models = [models[0]] * 3 + models[1:]
    assert select_models(log_distances(family, models), np.ones(7)).kept.all()
    wild = [*models, shifted(models[0], 50.0)]
    kept = select_models(log_distances(family, wild), np.ones(8)).kept
    assert kept.tolist() == [True] * 7 + [False]


def test_what_liars_claim_of_their_size_does_not_help():
    family, models = honest_models(n=12)
    models[0] = shifted(models[0], 8.0)
    distances = log_distances(family, models)
    for claimed in (1e-9, 1.0, 1e9):
        sizes = np.r_[claimed, np.ones(11)]
        kept = select_models(distances, sizes).kept
        assert kept.tolist() == [False] + [True] * 11


def test_two_groups_are_not_decided_between():
    family, models = honest_models(n=10)
    for i in range(6, 10):
        models[i] = shifted(models[i], 3.0)
    distances = log_distances(family, models)
    assert select_models(distances, np.ones(10)).kept.sum() == 6  # 40 %, and not more
    with pytest.raises(ValueError, match=r"two groups .*\[6, 7, 8, 9\].*55% of the shards"):
        select_models(distances, np.array([1.5] * 6 + [2.75] * 4))


@pytest.mark.parametrize("n", [4, 6, 7, 10, 11])
def test_halves_that_differ_are_not_decided_between(n):
    family, models = honest_models(n=n)
    models = [shifted(m, 20.0 * (i % 2)) for i, m in enumerate(models)]
    with pytest.raises(ValueError, match="two groups"):
        select_models(log_distances(family, models), np.ones(n))


@pytest.mark.parametrize("n", [3, 4, 5, 6, 20])
def test_honest_models_are_kept_however_few(n):
    kept = []
    for seed in range(5):
        family, models = honest_models(n=n, d=2, seed=seed)
        kept.append(select_models(log_distances(family, models), np.ones(n)).kept.mean())
    assert np.mean(kept) > 0.85


def test_trust_needs_a_majority():
    family, models = honest_models(n=4)
    with pytest.raises(ValueError, match="at least 3 shards"):
        select_models(log_distances(family, models[:2]), np.ones(2))
    with pytest.raises(ValueError, match="less than half"):
        select_models(log_distances(family, [None] * 4 + models[:3]), np.ones(7))


def test_a_larger_radius_keeps_more():
    family, models = honest_models(n=12)
    models[0] = shifted(models[0], 0.08)
    distances = log_distances(family, models)
    kept = [select_models(distances, np.ones(12), e).kept.sum() for e in (0.1, 0.5, 2.0)]
    assert kept == sorted(kept) and kept[0] < kept[-1] == 12
