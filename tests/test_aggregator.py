"""MixtureOfExpertsAggregator and reduce_mixtures."""

import pickle
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
from conftest import make_blobs
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdistmix import DistributedGMM, MixtureOfExpertsAggregator, as_shards, reduce_mixtures
from skdistmix._alignment import transport_distance
from skdistmix._experts import Experts
from skdistmix._stacking import OutOfFold, half_of
from skdistmix.mixture import _aggregator
from skdistmix.mixture._local import LocalFit
from skdistmix.model_selection import FullData

# One start is enough on separated rows, and makes the tests fast.
LOCAL = DistributedGMM(tol="likelihood", covariance_penalty="auto", max_iter=1000)
MODEL = ("weights_", "means_", "covariances_", "precisions_cholesky_")


@pytest.fixture(scope="module")
def sites():
    X, _ = make_blobs(n_rows=3600, n_features=2, spread=5.0, seed=2)
    return np.array_split(X, 6)


@pytest.fixture(scope="module")
def labels():
    _, y = make_blobs(n_rows=3600, n_features=2, spread=5.0, seed=2)
    return y


def aggregator(**kwargs):
    return MixtureOfExpertsAggregator(LOCAL, **{"n_components": 3, "random_state": 0, **kwargs})


def components(model):
    family, params = model._family_and_params()
    return family.components(params)


def distance(a, b):
    return transport_distance(components(a), components(b))


# ------------------------------------------------------------------ one mixture


@pytest.mark.parametrize("aggregation", ["transport", "average", "kl-average", "medoid"])
def test_one_mixture_is_near_that_of_all_rows(sites, labels, aggregation):
    model = aggregator(aggregation=aggregation).fit(sites)
    whole = DistributedGMM(3, tol="likelihood", max_iter=1000, random_state=0).fit(sites)
    assert distance(model, whole) < (0.5 if aggregation == "medoid" else 0.2)
    assert adjusted_rand_score(labels, np.concatenate(model.predict(sites))) > 0.95
    assert model.score(sites) == pytest.approx(model.lower_bound_)
    assert model.bic(sites) == pytest.approx(model.bic_)
    assert model.icl(sites) == pytest.approx(model.icl_)
    assert model.lower_bound_ <= whole.lower_bound_
    assert len(model.experts_) == 6 and model.n_rounds_ == 2
    np.testing.assert_allclose(model.shard_weights_, 1 / 6)
    assert model.rejected_shards_.tolist() == []
    for name in MODEL:
        assert getattr(model, name) is getattr(model.mixture_, name)
    X, z = model.sample(50)
    assert X.shape == (50, 2) and z.shape == (50,)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_every_covariance_type_is_aggregated(sites, covariance_type):
    local = clone(LOCAL).set_params(covariance_type=covariance_type)
    model = MixtureOfExpertsAggregator(local, 3, random_state=0).fit(sites)
    whole = clone(local).set_params(n_components=3, random_state=0).fit(sites)
    assert model.covariances_.shape == whole.covariances_.shape
    assert model.n_parameters_ == whole.n_parameters_
    assert whole.lower_bound_ - model.lower_bound_ < 5e-3


def test_refinement_is_exact_em():
    X, _ = make_blobs(n_rows=4800, n_features=2, spread=2.5, seed=1)
    sites = np.array_split(X, 6)
    whole = DistributedGMM(
        3, tol="likelihood", covariance_penalty="auto", max_iter=1000, random_state=0
    ).fit(sites)
    models = [aggregator(refine=k).fit(sites) for k in (0, 1, 3)]
    left = [distance(model, whole) for model in models]
    assert left[2] < left[1] < 0.9 * left[0]
    assert [model.n_rounds_ for model in models] == [2, 3, 5]
    for model in models:
        assert model.score(sites) == pytest.approx(model.lower_bound_)
    start = models[0]
    again = DistributedGMM(
        3, covariance_penalty="auto", weights_init=start.weights_, means_init=start.means_,
        precisions_init=start.precisions_, max_iter=3, tol=0,
    )  # fmt: skip
    with pytest.warns(ConvergenceWarning):
        again.fit(sites)
    for name in MODEL:
        np.testing.assert_allclose(getattr(models[2], name), getattr(again, name), rtol=1e-7)


def test_one_array_is_cut_and_100_rows_are_one_shard(sites):
    X = np.concatenate(sites)
    model = aggregator().fit(X)
    assert len(model.experts_) == 3
    assert model.predict(X).shape == (3600,)
    default = MixtureOfExpertsAggregator().fit(X[:100])
    assert len(default.experts_) == 1
    np.testing.assert_allclose(default.means_[0], X[:100].mean(axis=0))
    assert len(aggregator(n_shards=9).fit(X).experts_) == 9


def test_results_do_not_depend_on_workers_or_form(sites, tmp_path):
    paths = []
    for i, X in enumerate(sites):
        paths.append(str(tmp_path / f"{i}.npy"))
        np.save(paths[-1], X)
    one = aggregator(n_jobs=1, aggregation="stacking").fit(sites)
    found = [
        aggregator(n_jobs=3, aggregation="stacking").fit(sites),
        aggregator(aggregation="stacking").fit(paths),
        aggregator(aggregation="stacking").fit(as_shards(sites)),
    ]
    for backend in ("loky", "threading"):
        with joblib.parallel_config(backend, n_jobs=2):
            found.append(aggregator(aggregation="stacking").fit(sites))
    for model in found:
        for name in (*MODEL, "shard_weights_"):
            assert getattr(model, name).tobytes() == getattr(one, name).tobytes()
        assert (model.bic_, model.bytes_sent_) == (one.bic_, one.bytes_sent_)


def test_weights_count_rows(sites):
    """A shard of weight zero is absent, one of weight two counts twice."""
    weights = [np.full(len(X), w) for X, w in zip(sites, (1, 2, 1, 1, 1, 0))]
    with pytest.warns(UserWarning, match="1 of 6 shards are left out.*shard 5"):
        model = aggregator().fit(sites, sample_weight=weights)
    np.testing.assert_allclose(model.shard_weights_, np.array([1, 2, 1, 1, 1, 0]) / 6)
    assert model.n_samples_seen_ == 3600
    assert model.experts_[5] is None
    scored = model.score(sites, sample_weight=weights)
    assert scored == pytest.approx(model.lower_bound_)


def test_the_global_generator_and_the_input_are_left_alone(sites):
    before = np.random.get_state()[1].tobytes()  # noqa: NPY002
    kept = [X.copy() for X in sites]
    aggregator(aggregation="kl-average").fit(sites)
    assert np.random.get_state()[1].tobytes() == before  # noqa: NPY002
    for X, same in zip(sites, kept):
        np.testing.assert_array_equal(X, same)


# ------------------------------------------------------------------ different sites


def test_sites_that_see_some_of_the_clusters(labels):
    rng = np.random.default_rng(0)
    centers = 9 * np.array([[0, 0], [1, 0], [0, 1], [1, 1], [2, 1.0]])
    seen = [(0, 1), (1, 2, 3), (3, 4), (0, 4), (2, 3, 4), (0, 1, 2)]
    truth = [rng.choice(s, size=600) for s in seen]
    sites = [centers[z] + rng.normal(size=(600, 2)) for z in truth]
    model = aggregator(n_components=5, local_components=range(1, 6)).fit(sites)
    assert [len(expert.weights_) for expert in model.experts_] == [len(s) for s in seen]
    assert adjusted_rand_score(np.concatenate(truth), np.concatenate(model.predict(sites))) > 0.99
    np.testing.assert_allclose(np.sort(model.means_.sum(axis=1)), [0, 9, 9, 18, 27], atol=0.3)
    whole = DistributedGMM(5, random_state=0).fit(sites)
    assert adjusted_rand_score(
        np.concatenate(whole.predict(sites)), np.concatenate(model.predict(sites))
    ) >= 0.95  # fmt: skip
    for expert, names in zip(model.experts_, model.expert_labels_):
        near = ((expert.means_[:, None] - model.means_[None]) ** 2).sum(axis=2).argmin(axis=1)
        assert names.tolist() == near.tolist()


def test_small_shards(sites):
    shards = [*sites, sites[0][:25]]
    with pytest.warns(UserWarning, match=r"1 of 7 shards have fewer components.*shard 6"):
        lowered = aggregator().fit(shards)
    assert 1 <= len(lowered.experts_[6].weights_) < 3
    with pytest.warns(UserWarning, match=r"1 of 7 shards are left out.*shard 6"):
        skipped = aggregator(small_shards="skip").fit(shards)
    assert skipped.experts_[6] is None and skipped.shard_weights_[6] == 0
    assert skipped.expert_labels_[6] is None
    with pytest.raises(ValueError, match=r"shard 6 has no model of 3 component.*among its 25 row"):
        aggregator(small_shards="raise").fit(shards)
    with pytest.raises(ValueError, match="No shard has a model to send"):
        aggregator(min_component_size=1000).fit(sites)
    empty = aggregator().fit([*sites, np.empty((0, 2))])  # no rows, nothing to warn of
    assert empty.experts_[6] is None


def test_no_component_that_leaves_a_shard_stands_for_few_rows(sites):
    shards = [np.vstack([X, X[:6] + 100]) for X in sites]  # six rows far off
    with pytest.warns(UserWarning, match="fewer components than asked for"):
        model = MixtureOfExpertsAggregator(
            clone(LOCAL).set_params(n_init=4), 4, random_state=0, min_component_size=10
        ).fit(shards)
    for expert, X in zip(model.experts_, shards):
        assert expert.weights_.min() * len(X) >= 10 - 1e-6


def test_a_heavy_row_is_one_row(sites):
    """Weight is no crowd: a component of one row of weight 100 does not leave its shard."""
    shards, weights = [X.copy() for X in sites], [np.ones(len(X)) for X in sites]
    for X, w in zip(shards, weights):
        X[7], w[7] = 60.0, 100.0
    with pytest.warns(UserWarning, match="fewer components than asked for"):
        model = aggregator(n_components=3, local_components=4).fit(shards, sample_weight=weights)
    for expert in model.experts_:
        assert np.abs(expert.means_ - 60).max(axis=1).min() > 5


def test_what_a_site_sends(sites):
    """Sums about all rows, models that stand for enough rows, and no smallest or largest value."""
    site = LocalFit(LOCAL, (3,), "lower", 10, halves=True)(as_shards(sites)[:1], seed=0)
    assert np.isinf(site.moments.low).all() and np.isinf(site.moments.high).all()
    assert len(site.moments.distinct) == 0
    assert site.n_rows == 600 and site.moments.weight == 600
    few = np.vstack([sites[0], sites[0][:11] + 100])  # 11 rows: about half of them in each half
    site = LocalFit(LOCAL, (4,), "lower", 10, halves=True)(as_shards([few]), seed=0)
    for half in site.halves:
        np.testing.assert_array_equal(half.weights, site.params.weights)  # the whole stands in


def test_candidates_that_degenerate_are_passed_over(sites):
    local = DistributedGMM(reg_covar=0, max_iter=500, tol=1e-6)
    shards = [np.vstack([X, np.full((120, 2), 3.0)]) for X in sites]
    model = MixtureOfExpertsAggregator(
        local, 1, local_components=[1, 4], random_state=0
    ).fit(shards)  # fmt: skip
    assert {len(expert.weights_) for expert in model.experts_} <= {1, 4}


def test_local_fits_that_do_not_converge_are_named(sites):
    local = clone(LOCAL).set_params(max_iter=1)
    with pytest.warns(ConvergenceWarning, match=r"6 of 6 shards have fits.*shard 0.*and 1 more"):
        model = MixtureOfExpertsAggregator(local, 3, random_state=0).fit(sites)
    assert not model.converged_


# ------------------------------------------------------------------ shards that lie


def test_corrupt_shards_are_left_out(sites):
    honest = aggregator().fit(sites)
    shards = [*sites, sites[0] * 30, np.full((50, 2), 1e200) * np.arange(1, 51)[:, None]]
    with (
        pytest.warns(UserWarning, match=r"1 of 8 shards are rejected, their models.*shard 6"),
        pytest.warns(UserWarning, match=r"1 of 8 shards are rejected.*cannot be fitted.*shard 7"),
    ):
        model = aggregator(robust=True).fit(shards)
    assert model.rejected_shards_.tolist() == [6, 7]
    assert model.shard_weights_[6:].tolist() == [0, 0]
    assert distance(model, honest) < 0.05
    assert model.score(sites) == pytest.approx(model.lower_bound_)  # of those that take part
    plain = aggregator().fit(shards[:7])
    assert distance(plain, honest) > 5
    with pytest.raises(ValueError, match="shard 7"):
        aggregator().fit(shards)


def test_honest_shards_are_all_kept(sites):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = aggregator(robust=True).fit(sites)
    assert distance(model, aggregator().fit(sites)) < 1e-12


# ------------------------------------------------------------------ stacking and gates


def pooled_posterior(model, X):
    """Posterior and log-density of the experts side by side, in plain loops."""
    joint = np.zeros((len(X), len(model.weights_)))
    for m, expert in enumerate(model.experts_):
        if model.shard_weights_[m] == 0:
            continue
        density = np.exp(expert.score_samples(X)) * model.shard_weights_[m]
        resp = expert.predict_proba(X)
        for k, z in enumerate(model.expert_labels_[m]):
            joint[:, z] += density * resp[:, k]
    return joint / joint.sum(axis=1, keepdims=True), np.log(joint.sum(axis=1))


def test_stacking_is_a_mixture_of_the_experts(sites):
    model = aggregator(aggregation="stacking").fit(sites)
    X = sites[0][:200]
    resp, log_density = pooled_posterior(model, X)
    np.testing.assert_allclose(model.predict_proba(X), resp, atol=1e-10)
    np.testing.assert_allclose(model.score_samples(X), log_density, atol=1e-10)
    np.testing.assert_array_equal(model.predict(X), resp.argmax(axis=1))
    assert model.shard_weights_.sum() == pytest.approx(1)
    p = sum(e.n_parameters_ for e, w in zip(model.experts_, model.shard_weights_) if w)
    assert model.n_parameters_ == p + (model.shard_weights_ > 0).sum() - 1
    drawn, z = model.sample(4000)
    assert adjusted_rand_score(model.predict(drawn), z) > 0.9
    assert model.score(drawn) == pytest.approx(model.lower_bound_, abs=0.1)


def test_stacking_gives_a_bad_shard_little_weight(sites):
    rng = np.random.default_rng(0)
    shards = [*sites, rng.uniform(-40, 40, size=(600, 2))]
    model = aggregator(aggregation="stacking").fit(shards)
    # Its own rows need it, and are a seventh of all; nothing more than these.
    assert model.shard_weights_[6] == pytest.approx(1 / 7, abs=0.02)
    assert model.score(shards) > aggregator().fit(sites).score(shards)


def test_weights_of_stacking_solve_the_problem_of_textbooks():
    """Expectation-maximisation on a table of densities, to its end."""
    from skdistmix._stacking import _newton, _sums, stacking_weights

    rng = np.random.default_rng(0)
    table = rng.gamma(0.5, size=(5, 2000))  # densities of the experts
    weights = np.full(5, 0.2)
    for _ in range(20_000):
        weights = weights * (table / (weights @ table)).mean(axis=1)

    class Scores:
        class experts:
            first = np.zeros(5)

            class kernel:
                block_rows = 500

        def __call__(self, block):
            return np.log(table[:, block.rows])

    class Block:
        weight = None

        def __init__(self, rows):
            self.rows = rows

    def map_reduce(function, shards, block_rows):
        return function([Block(np.arange(i, i + 500)) for i in range(0, 2000, 500)])

    found = stacking_weights(map_reduce, None, Scores())
    np.testing.assert_allclose(found, weights, atol=1e-3)
    sums = _sums([Block(np.arange(2000))], Scores(), found)
    assert sums.gradient.max() / sums.weight < 1 + 1e-5
    assert _newton(sums.gradient / 2000, sums.hessian / 2000).min() >= 0


def test_rows_are_scored_by_models_that_never_saw_them(sites):
    """Stacking: other shards' models, and for own rows the model of the other half."""
    shards = as_shards(sites[:3])
    seeds = [11, 12, 13]
    local = LocalFit(LOCAL, (3,), "lower", 10, halves=True)
    found = [local(shards[i : i + 1], seed) for i, seed in enumerate(seeds)]
    family = LOCAL._family(2)
    models = [family.components(site.params) for site in found]
    halves = [
        tuple(family.components_kernel(family.components(h)) for h in site.halves) for site in found
    ]
    experts = Experts.of(family, models, np.zeros(9, dtype=int))
    scores = OutOfFold(experts, halves, seeds, shards.offsets)

    class Rows:
        X = np.concatenate(sites[:3])
        rows = np.arange(1800)

    table = scores(Rows)
    for m in range(3):
        whole = DistributedGMM(3).fit(sites[0])
        for shard in range(3):
            rows = slice(600 * shard, 600 * (shard + 1))
            if shard != m:
                whole._set_params(family.prepare(models[m].moments(1.0)), found[m].params)
                expected = whole.score_samples(sites[shard])
                np.testing.assert_allclose(table[m, rows], expected, atol=1e-9)
                continue
            for half in (0, 1):
                mine = half_of(shards[m : m + 1], seeds[m], half)[0].weight.read(0, 600) > 0
                other = half_of(shards[m : m + 1], seeds[m], 1 - half)
                fitted = clone(LOCAL).set_params(
                    n_components=3, weights_init=found[m].params.weights,
                    means_init=found[m].params.means,
                    precisions_init=family.precisions(found[m].params),
                ).fit(other)  # fmt: skip
                expected = fitted.score_samples(sites[m][mine])
                np.testing.assert_allclose(table[m, rows][mine], expected, atol=1e-6)


def test_shards_that_are_left_out_shift_nothing(sites):
    """Seeds and contexts stay with their shards when one before them has no model."""
    seen = {}
    original = _aggregator.stacked_shares

    def noted(map_reduce, shards, family, chosen, seeds):
        seen["sizes"], seen["seeds"] = shards.sizes, seeds
        return original(map_reduce, shards, family, chosen, seeds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_aggregator, "stacked_shares", noted)
        aggregator(aggregation="stacking").fit([np.empty((0, 2)), *sites])
    drawn = np.random.RandomState(0).randint(np.iinfo(np.int32).max, size=7)
    assert seen["seeds"] == drawn[1:].tolist() and seen["sizes"] == [600] * 6

    contexts = [np.full(len(X), float(i)) for i, X in enumerate(sites)]
    model = aggregator(gate="context").fit(
        [np.empty((0, 2)), *sites], context=[np.empty(0), *contexts]
    )
    same = aggregator(gate="context", random_state=0).fit(sites, context=contexts)
    assert model.lower_bound_ == pytest.approx(same.lower_bound_, abs=1e-3)
    shares = np.exp(model.gate_.log_shares(np.array([[0.0], [5.0]])))
    assert shares[0, 0] > shares[5, 0] and shares[5, 1] > shares[0, 1]


def integral(model, context=None):
    x = np.linspace(-40, 40, 8001)[:, None]
    given = {} if context is None else {"context": np.full((len(x), 1), context)}
    return np.exp(model.score_samples(x, **given)).sum() * (x[1, 0] - x[0, 0])


@pytest.fixture(scope="module")
def line():
    """Shards in one dimension that differ, and side information that tells them apart."""
    rng = np.random.default_rng(3)
    sites = [np.r_[rng.normal(-4, 1, 400), rng.normal(4 + i, 1, 200 + 50 * i)] for i in range(4)]
    contexts = [np.full((len(x), 1), float(i // 2)) for i, x in enumerate(sites)]
    return [x[:, None] for x in sites], contexts


@pytest.mark.parametrize("aggregation", ["transport", "average", "kl-average", "stacking"])
def test_what_is_called_a_density_integrates_to_one(line, aggregation):
    sites, contexts = line
    model = aggregator(n_components=2, aggregation=aggregation).fit(sites)
    assert integral(model) == pytest.approx(1, abs=1e-6)
    gated = aggregator(n_components=2, aggregation=aggregation, gate="context")
    gated.fit(sites, context=contexts)
    for u in (0.0, 1.0, 0.3):
        assert integral(gated, u) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("gate", ["softmax", "gaussian"])
def test_gates_on_x_give_probabilities_and_no_density(line, gate):
    sites, _ = line
    model = aggregator(n_components=2, gate=gate).fit(sites)
    X = np.linspace(-10, 12, 500)[:, None]
    resp = model.predict_proba(X)
    np.testing.assert_allclose(resp.sum(axis=1), 1)
    exact, _ = pooled_posterior(model, X)
    assert np.abs(resp - exact).mean() < 0.1  # they approximate Bayes' rule
    np.testing.assert_array_equal(model.predict(X), resp.argmax(axis=1))
    for method in (model.score_samples, model.score, model.bic, model.sample):
        with pytest.raises(ValueError, match=r"do not integrate to one"):
            method(5 if method == model.sample else X)
    assert not hasattr(model, "bic_")
    # Why: what would be the density is none.
    shares = np.exp(model.gate_.log_shares(X))
    np.testing.assert_allclose(shares.sum(axis=0), 1)
    densities = np.exp([e.score_samples(X) for e in model.experts_])
    assert abs((shares * densities).sum() * (X[1, 0] - X[0, 0]) - 1) > 1e-3


def test_a_context_tells_sites_apart(line):
    sites, contexts = line
    model = aggregator(n_components=2, gate="context").fit(sites, context=contexts)
    shares = np.exp(model.gate_.log_shares(np.array([[0.0], [1.0]])))
    assert shares[:2, 0].sum() > 0.9 and shares[2:, 1].sum() > 0.9
    blind = aggregator(n_components=2, aggregation="stacking").fit(sites)
    assert model.lower_bound_ > blind.lower_bound_ + 0.1
    assert model.score(sites, context=contexts) == pytest.approx(model.lower_bound_)
    one = np.concatenate(sites), np.concatenate(contexts)
    np.testing.assert_array_equal(
        model.predict(one[0], context=one[1]),
        np.concatenate(model.predict(sites, context=contexts)),
    )
    assert model.n_context_columns_ == 1
    assert np.abs(model.gate_.coef).max() < 20  # the ridge: sites are told apart without error
    with pytest.raises(ValueError, match="nothing to draw from"):
        model.sample(3)


def test_rows_of_weight_zero_do_not_move_the_gate(line):
    sites, contexts = line
    weights = [np.ones(len(x)) for x in sites]
    model = aggregator(n_components=2, gate="context").fit(
        sites, sample_weight=weights, context=contexts
    )
    more = [np.vstack([x, [[0.0]]]) for x in sites]
    same = aggregator(n_components=2, gate="context").fit(
        more,
        sample_weight=[np.append(w, 0.0) for w in weights],
        context=[np.vstack([u, [[1e6]]]) for u in contexts],
    )
    np.testing.assert_allclose(same.gate_.scale, model.gate_.scale)
    assert same.lower_bound_ == pytest.approx(model.lower_bound_, rel=1e-6)


def test_the_gradient_of_a_gate_is_that_of_its_likelihood(line):
    from skdistmix._experts import Experts
    from skdistmix._gates import ConstantGate, SoftmaxGate, _gate_sums

    sites, _ = line
    model = aggregator(n_components=2).fit(sites)
    family, _ = model._family_and_params()
    experts = Experts.of(family, *model._experts())
    rng = np.random.default_rng(0)
    block = next(iter(as_shards(sites[0])[0].blocks(0, 100, 100)))
    for on_context, X in (
        (False, block.X),
        (True, np.hstack([block.X, rng.normal(size=(100, 2))])),
    ):
        width = 2 if on_context else 1
        start = rng.normal(size=(4, 1 + width))

        class Rows:
            weight = None

        Rows.X = X

        def sums(table, rows=Rows, width=width, on_context=on_context):
            gate = SoftmaxGate(table[:, 0], table[:, 1:], np.ones(width), np.full(width, 2.0))
            return _gate_sums([rows], gate, experts, ConstantGate(np.full(4, 0.25)), 1, on_context)

        for i, j in np.ndindex(start.shape):
            step = np.zeros_like(start)
            step[i, j] = 1e-5
            slope = (sums(start + step).value - sums(start - step).value) / 2e-5
            assert sums(start).gradient[i, j] == pytest.approx(slope, rel=1e-5, abs=1e-6)


# ------------------------------------------------------------------ bad input


def test_parameters_that_do_not_go_together(line):
    sites, contexts = line
    with pytest.raises(ValueError, match="none was given"):
        aggregator(gate="context").fit(sites)
    with pytest.raises(ValueError, match="one was given"):
        aggregator().fit(sites, context=contexts)
    with pytest.raises(ValueError, match="refine=1 improves the one mixture"):
        aggregator(refine=1, aggregation="stacking").fit(sites)
    with pytest.raises(ValueError, match="refine=1"):
        aggregator(refine=1, gate="softmax").fit(sites)
    with pytest.raises(ValueError, match="local_components must be"):
        aggregator(local_components=[1.5, 2]).fit(sites)
    with pytest.raises(ValueError, match="'estimator' parameter"):
        MixtureOfExpertsAggregator(GaussianMixture()).fit(sites)
    with pytest.raises(ValueError, match="at least 3 shards"):
        aggregator(n_components=2, robust=True).fit(sites[:2])
    with pytest.raises(ValueError, match="say so by local_components=7"):
        MixtureOfExpertsAggregator(DistributedGMM(7), 2).fit(sites)
    with pytest.raises(ValueError, match="covariance_type='banana' is not known"):
        MixtureOfExpertsAggregator(DistributedGMM(covariance_type="banana"), 2).fit(sites)
    with pytest.raises(ValueError, match="use device=None"):
        MixtureOfExpertsAggregator(DistributedGMM(device="cuda"), 2).fit(sites)
    with pytest.raises(ValueError, match="only 2 different component"):
        aggregator(n_components=9, local_components=1).fit([sites[0], sites[0] + 5])


def test_a_context_that_does_not_fit(line):
    sites, contexts = line
    with pytest.raises(ValueError, match="context has 3 arrays, X has 4 shards"):
        aggregator(gate="context").fit(sites, context=contexts[:3])
    with pytest.raises(ValueError, match=r"context contains NaN or infinity: shard 1.*row 5"):
        bad = [c.copy() for c in contexts]
        bad[1][5] = np.nan
        aggregator(gate="context").fit(sites, context=bad)
    with pytest.raises(ValueError, match="context must hold real numbers"):
        aggregator(gate="context").fit(sites, context=[["a"] * len(x) for x in sites])
    model = aggregator(n_components=2, gate="context").fit(sites, context=contexts)
    with pytest.raises(ValueError, match="none was given: call with context=U"):
        model.predict(sites)
    with pytest.raises(ValueError, match=r"context has \[2\] columns, expected 1 as in fit"):
        model.score(sites, context=[np.zeros((len(x), 2)) for x in sites])
    frames = [pd.DataFrame({"site": c[:, 0], "zero": 0.0}) for c in contexts]
    named = aggregator(n_components=2, gate="context").fit(sites, context=frames)
    named.predict(sites, context=frames)
    with pytest.raises(ValueError, match=r"context has the columns \['zero', 'site'\], in fit"):
        named.predict(sites, context=[f[["zero", "site"]] for f in frames])
    with pytest.raises(ValueError, match=r"context has \[0\] columns"):
        aggregator(gate="context").fit(sites, context=[np.empty((len(x), 0)) for x in sites])
    with pytest.raises(ValueError, match="the gate is 'bayes'"):
        aggregator(n_components=2).fit(sites).predict(sites, context=contexts)


def test_rows_that_cannot_be_used_name_their_shard(sites):
    bad = [X.copy() for X in sites]
    bad[3][7, 1] = np.inf
    with pytest.raises(ValueError, match=r"contains infinity: shard 3.*row 7"):
        aggregator().fit(bad)
    with pytest.warns(UserWarning, match=r"cannot be fitted .*contains infinity: shard 3, row 7"):
        model = aggregator(robust=True).fit(bad)
    assert model.rejected_shards_.tolist() == [3]
    with pytest.raises(ValueError, match="features"):
        aggregator().fit(sites).predict(np.zeros((3, 5)))
    with pytest.raises(NotFittedError):
        aggregator().predict(sites)


# ------------------------------------------------------------------ at home in scikit-learn


def test_searches_and_pipelines(sites):
    X = np.concatenate(sites)
    pipe = make_pipeline(StandardScaler(), aggregator(n_shards=4)).fit(X)
    assert pipe.predict(X).shape == (3600,)
    search = GridSearchCV(
        aggregator(), {"n_components": [2, 3], "estimator__covariance_type": ["full", "diag"]},
        cv=FullData(), scoring=lambda est, X, y=None: -est.bic(X),
    ).fit(sites)  # fmt: skip
    assert search.best_params_["n_components"] == 3
    held_out = GridSearchCV(aggregator(), {"n_components": [2, 3]}, cv=3).fit(sites)
    assert held_out.best_params_["n_components"] == 3


def test_fitted_state_survives_pickles_and_is_cleared(line):
    sites, contexts = line
    model = aggregator(n_components=2, gate="context").fit(sites, context=contexts)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(
        again.predict_proba(sites[0], context=contexts[0]),
        model.predict_proba(sites[0], context=contexts[0]),
    )
    assert clone(model).get_params()["gate"] == "context"
    model.set_params(gate="softmax").fit(sites)
    assert not hasattr(model, "bic_") and not hasattr(model, "n_context_columns_")
    model.set_params(gate="bayes")  # what predicts is the fit, not what is set afterwards
    with pytest.raises(ValueError, match="gate='softmax'"):
        model.score(sites)


def test_a_fit_that_fails_leaves_the_fitted_model_alone(sites):
    model = aggregator(robust=True).fit(sites)
    before = {name: value for name, value in vars(model).items() if name.endswith("_")}
    with pytest.raises(ValueError, match="two groups"):
        model.fit([*sites[:3], *(X + 30 for X in sites[3:])])
    after = {name: value for name, value in vars(model).items() if name.endswith("_")}
    assert before.keys() == after.keys()
    assert all(after[name] is before[name] for name in after)


def test_constant_columns_are_named_once(sites):
    shards = [np.column_stack([X, np.zeros(len(X))]) for X in sites]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        aggregator().fit(shards)
    said = [str(w.message) for w in caught if w.category is UserWarning]
    assert len(said) == 1 and "6 of 6 shards have constant columns" in said[0]


def test_verbose_says_what_is_done(sites, capsys):
    aggregator(verbose=1, aggregation="stacking").fit(sites)
    said = capsys.readouterr().out
    for text in ("Local fits at 6 shard(s)", "shard 5", "Stacking weights", "Combination"):
        assert text in said


def test_bytes_are_those_of_the_numbers(sites):
    """A model, its mean and scatter, eight numbers of the fit; then four sums of a score."""
    model = aggregator().fit(sites)
    K, d = 3, 2
    params, moments = K + K * d + 2 * K * d * d, 2 + d + d * d + 2 * d + 1
    assert model.bytes_sent_ == 6 * 8 * (params + moments + 7) + 6 * 8 * 3


# ------------------------------------------------------------------ reduce_mixtures


def test_models_are_reduced_without_their_data(sites):
    experts = [
        clone(LOCAL).set_params(n_components=3, random_state=s).fit(X) for s, X in enumerate(sites)
    ]
    one = reduce_mixtures(experts, random_state=0)
    assert isinstance(one, DistributedGMM)
    whole = DistributedGMM(3, tol="likelihood", max_iter=1000, random_state=0).fit(sites)
    assert distance(one, whole) < 0.2
    assert one.predict(sites[0]).shape == (600,)
    assert one.to_sklearn().predict(sites[0]).tolist() == one.predict(sites[0]).tolist()
    theirs = reduce_mixtures([e.to_sklearn() for e in experts], [600] * 6, random_state=0)
    assert distance(one, theirs) < 1e-10
    assert theirs.transport_cost_ == pytest.approx(one.transport_cost_)
    fewer = reduce_mixtures(experts, n_components=2, random_state=0)
    assert len(fewer.weights_) == 2 and fewer.transport_cost_ > one.transport_cost_
    assert [len(names) for names in fewer.model_labels_] == [3] * 6


def test_reductions_of_reductions_remember_rows():
    rng = np.random.default_rng(0)
    near = [DistributedGMM(1).fit(rng.normal(0, 1, size=(3000, 1))) for _ in range(10)]
    far = [DistributedGMM(1).fit(rng.normal(10, 1, size=(100, 1)))]
    both = [reduce_mixtures(models) for models in (near, far)]
    assert [model.n_samples_seen_ for model in both] == [30_000, 100]
    one = reduce_mixtures(both, n_components=1)
    assert one.means_[0, 0] == pytest.approx(10 * 100 / 30_100, abs=0.02)
    theirs = far[0].to_sklearn()
    with pytest.warns(UserWarning, match="others do not, so that all count the same"):
        equal = reduce_mixtures([near[0], theirs], n_components=1)
    assert not hasattr(equal, "n_samples_seen_")
    assert equal.means_[0, 0] == pytest.approx(5, abs=0.2)
    one.partial_fit(np.full((100, 1), 3.0) + rng.normal(size=(100, 1)))
    assert one.means_[0, 0] < 0.2  # a hundred rows against thirty thousand


def test_models_that_lie_are_rejected(sites):
    models = [GaussianMixture(3, random_state=0).fit(X) for X in sites]
    honest = reduce_mixtures(models, random_state=0)
    models[1].means_ = models[1].means_ + 1000.0
    models[4].means_ = models[4].means_ * np.nan
    with pytest.raises(ValueError, match="Model 4: means_ of the model contains NaN"):
        reduce_mixtures(models)
    with pytest.warns(UserWarning, match=r"Model\(s\) \[1, 4\] are rejected"):
        one = reduce_mixtures(models, robust=True, random_state=0)
    assert one.rejected_models_.tolist() == [1, 4]
    assert one.model_labels_[1] is None
    assert distance(one, honest) < 0.5


def test_models_that_cannot_be_combined(sites):
    model = GaussianMixture(2, random_state=0).fit(sites[0])
    ours = DistributedGMM(2, random_state=0).fit(sites[0])
    with pytest.raises(ValueError, match="models is empty"):
        reduce_mixtures([])
    with pytest.raises(TypeError, match="Model 1 is a value of type KMeans"):
        from sklearn.cluster import KMeans

        reduce_mixtures([model, KMeans()])
    with pytest.raises(TypeError, match="Model 0 is the class GaussianMixture"):
        reduce_mixtures([GaussianMixture])
    with pytest.raises(NotFittedError, match="Model 1"):
        reduce_mixtures([model, GaussianMixture()])
    with pytest.raises(NotFittedError, match="Model 1"):
        reduce_mixtures([ours, DistributedGMM()])
    broken = DistributedGMM(2, random_state=0).fit(sites[0])
    broken.means_ = broken.means_[:, :1]
    with pytest.raises(ValueError, match=r"Model 1: .*covariances_ of the model has shape"):
        reduce_mixtures([ours, broken])
    broken.means_ = ours.means_
    broken.covariances_ = ours.covariances_ + np.array([[0, 0.1], [0, 0]])
    with pytest.raises(ValueError, match="Model 1: covariances_ of the model are not symmetric"):
        reduce_mixtures([ours, broken])
    with pytest.raises(ValueError, match="Model 1 has covariance_type 'diag'"):
        reduce_mixtures([model, GaussianMixture(2, covariance_type="diag").fit(sites[0])])
    with pytest.raises(ValueError, match="Model 1 has number of features 1"):
        reduce_mixtures([model, GaussianMixture(2).fit(sites[0][:, :1])])
    with pytest.raises(ValueError, match="give one a model"):
        reduce_mixtures([model, model], weights=[1])
    with pytest.raises(ValueError, match="weights must be finite"):
        reduce_mixtures([model, model], weights=[1, -1])
    with pytest.raises(ValueError, match=r"stands for .* fewer than min_component_size=1000"):
        reduce_mixtures([ours], min_component_size=1000)
    with pytest.raises(ValueError, match="cannot be checked for model 0"):
        reduce_mixtures([model], min_component_size=5)
    with pytest.raises(ValueError, match="only 2 different component"):
        reduce_mixtures([model, model], n_components=5)
