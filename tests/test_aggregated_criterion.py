"""Criteria from local results, and of all rows in one round."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

from skdistmix import DistributedGMM, MixtureOfExpertsAggregator, as_shards, reduce_mixtures
from skdistmix.model_selection import (
    SlopeHeuristic,
    aggregated_criterion,
    exact_criterion,
    local_results,
)

OPTIONS = {"tol": "likelihood", "acceleration": "squarem", "max_iter": 2000, "random_state": 0}


@pytest.fixture(scope="module")
def shards():
    """Pieces of unequal size of three groups."""
    rng = np.random.default_rng(0)
    X = rng.normal(rng.choice([-6.0, 0.0, 6.0], size=(1500, 1)), 1.0)
    return [X[:300], X[300:1000], X[1000:]]


@pytest.fixture(scope="module")
def fits(shards):
    return [{K: DistributedGMM(K, **OPTIONS).fit(X) for K in (1, 2, 3, 4, 5)} for X in shards]


# Two shards of 100 and 300 rows, three candidates of 2, 5 and 8 parameters.
BY_HAND = [
    {"a": (-500.0, 100, 2, 0.0), "b": (-480.0, 100, 5, 10.0), "c": (-474.0, 100, 8, 30.0)},
    {"a": (-1500.0, 300, 2, 0.0), "b": (-1490.0, 300, 5, 20.0), "c": (-1470.0, 300, 8, 60.0)},
]


def test_by_hand():
    log = np.log
    deviance = np.array([4000.0, 3940.0, 3888.0])
    p = np.array([2, 5, 8])
    expected = {
        "sum": deviance + p * (log(100) + log(300)),  # 4020.6, 3991.5, 3970.5
        "corrected": deviance + p * (1 + log(400)),
        "pooled": deviance + p * log(400),
    }
    for method, values in expected.items():
        result = aggregated_criterion(BY_HAND, method=method)
        assert_allclose(result.criteria, values)
        assert result.best == result.candidates[np.argmin(values)] == "c"
    # ICL: 60 more for b and 180 more for c
    result = aggregated_criterion(BY_HAND, criterion="icl")
    assert_allclose(result.criteria, expected["sum"] + [0, 60, 180])
    assert result.best == "a"
    assert_array_equal(result.table["log_likelihood"], -deviance / 2)
    assert_array_equal(result.table["entropy"], [0, 30, 90])
    assert_array_equal(result.table["n_parameters"], p)
    assert_array_equal(result.table["n_shards"], 2)
    assert result.n_samples == 400


def test_votes_by_hand():
    # BIC of the first shard: 1009.2, 983.0, 984.8; of the second: 3011.4, 3008.5, 2985.6
    result = aggregated_criterion(BY_HAND, method="vote")
    assert result.candidates == ["a", "b", "c"]
    assert_allclose(result.criteria, [0, -0.25, -0.75])
    assert result.best == "c"
    # ICL: 1009.2, 1003.0, 1044.8 and 3011.4, 3048.5, 3105.6
    result = aggregated_criterion(BY_HAND, method="vote", criterion="icl")
    assert_allclose(result.criteria, [-0.75, -0.25, 0])
    # ties go to the smaller model
    same = [{1: (-10.0, 5, 2), 2: (-9.5, 5, 4)}, {1: (-10.0, 5, 2), 2: (-5.0, 5, 4)}]
    assert_allclose(aggregated_criterion(same, method="vote").criteria, [-0.5, -0.5])
    assert aggregated_criterion(same, method="vote").best == 1


def test_slope_is_that_of_the_sums():
    rng = np.random.default_rng(0)
    p = np.arange(2, 50, 3)
    gains = 100 * np.minimum(p, 11) + 0.7 * p  # the fourth candidate is right
    shards = [
        {k: (gain + rng.normal(0, 0.1), 100, n) for k, (gain, n) in enumerate(zip(gains, p))}
        for _ in range(4)
    ]
    result = aggregated_criterion(shards, method="slope")
    assert result.best == 3
    total = result.table["log_likelihood"]
    slope = SlopeHeuristic().fit(p, -total).slope_
    assert_allclose(slope, 4 * 0.7, rtol=0.05)
    assert_allclose(result.criteria, -2 * total + 4 * slope * p)


def test_more_components_with_less_penalty():
    """Choices of penalties that grow are nested, whatever the numbers are."""
    rng = np.random.default_rng(0)
    n_different = 0
    for _ in range(50):
        shards = [
            {k: (v, 50, 3 * k) for k, v in enumerate(np.sort(rng.normal(0, 15, 8)), start=1)}
            for _ in range(5)
        ]
        best = {m: aggregated_criterion(shards, method=m).best for m in ("sum", "pooled")}
        corrected = aggregated_criterion(shards, method="corrected")
        assert best["sum"] <= corrected.best <= best["pooled"]
        assert corrected.bracket == (best["sum"], best["pooled"])
        n_different += best["sum"] < best["pooled"]
    assert n_different > 5


def test_the_sum_is_bic_of_parameters_of_their_own(shards, fits):
    results = local_results(fits)
    result = aggregated_criterion(results)
    own = [sum(fit[K].bic_ for fit in fits) for K in (1, 2, 3, 4, 5)]
    assert_allclose(result.criteria, own, rtol=1e-12)
    own = [sum(fit[K].icl_ for fit in fits) for K in (1, 2, 3, 4, 5)]
    assert_allclose(aggregated_criterion(results, criterion="icl").criteria, own, rtol=1e-12)


@pytest.mark.parametrize("method", ["sum", "vote", "slope"])
def test_three_groups_are_found(fits, method):
    result = aggregated_criterion(local_results(fits), method=method)
    assert result.best == 3
    assert result.candidates == [1, 2, 3, 4, 5]


def test_one_shard_is_bic_of_it(shards, fits):
    one = local_results(fits[:1])
    for method in ("sum", "corrected", "pooled"):
        result = aggregated_criterion(one, method=method)
        assert_allclose(result.criteria, [fits[0][K].bic_ for K in (1, 2, 3, 4, 5)], rtol=1e-12)
    assert result.bracket == (3, 3)


def test_local_results_from_attributes_and_from_rows(shards, fits):
    known, read = local_results(fits), local_results(fits, shards)
    theirs = [{K: fit.to_sklearn() for K, fit in own.items()} for own in fits]
    for other in (read, local_results(theirs, as_shards(shards))):
        for ours, found in zip(known, other):
            assert list(ours) == list(found)
            for K in ours:
                assert_allclose(ours[K], found[K], rtol=1e-8, atol=1e-7)
    assert [own[1].n_samples for own in known] == [300, 700, 500]
    assert known[0][2].n_parameters == 5
    with pytest.raises(ValueError, match=r"Candidate 1 of shard 0 does not know.*give the rows"):
        local_results(theirs)


def test_weights_of_local_fits(shards):
    X = shards[0]
    weight = np.random.default_rng(0).integers(0, 3, size=len(X))
    weighted = DistributedGMM(2, **OPTIONS).fit(X, sample_weight=weight)
    rows = np.repeat(X, weight, axis=0)
    (own,), (repeated,) = local_results([{2: weighted}]), local_results([{2: weighted}], [rows])
    assert own[2].n_samples == weight.sum()
    assert_allclose(own[2], repeated[2], rtol=1e-8)


def test_candidates_that_were_not_fitted_everywhere(fits):
    broken = [dict(own) for own in fits]
    broken[1][3] = None
    del broken[2][5]
    result = aggregated_criterion(local_results(broken))
    assert_array_equal(result.table["n_shards"], [3, 3, 2, 3, 2])
    assert_array_equal(np.isinf(result.criteria), [False, False, True, False, True])
    assert result.best == 4
    votes = aggregated_criterion(local_results(broken), method="vote")
    assert votes.best == 3  # of 800 of the 1,500 rows
    nothing = [*local_results(fits), {}]  # a shard without any fit has nothing to say
    assert_allclose(
        aggregated_criterion(nothing).criteria, aggregated_criterion(local_results(fits)).criteria
    )


# ------------------------------------------------------------------ one round


def test_exact_criterion_is_that_of_all_rows(shards, fits):
    models = {K: reduce_mixtures([own[K] for own in fits], random_state=0) for K in (1, 2, 3, 4)}
    result = exact_criterion(models, shards)
    X = np.concatenate(shards)
    for i, (K, model) in enumerate(models.items()):
        assert_allclose(result.table["log_likelihood"][i], 1500 * model.score(X), rtol=1e-10)
        for criterion in ("bic", "icl", "aic"):
            expected = getattr(model, criterion)(X)
            assert_allclose(result.table[criterion][i], expected, rtol=1e-10)
            other = exact_criterion({K: model}, shards, criterion=criterion)
            assert_allclose(other.criteria, expected, rtol=1e-10)
    assert result.best == 3 and result.candidates == [1, 2, 3, 4]
    assert_array_equal(result.criteria, result.table["bic"])
    assert result.n_samples == 1500
    listed = exact_criterion(list(models.values()), X, n_jobs=2)
    assert listed.best == 2 and listed.candidates == [0, 1, 2, 3]
    assert_allclose(listed.criteria, result.criteria, rtol=1e-12)


def test_exact_criterion_reads_rows_once(shards, fits, monkeypatch):
    from skdistmix._compute import Workers

    passes = []
    whole = Workers.map_reduce

    def counted(self, *args, **kwargs):
        passes.append(args)
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(Workers, "map_reduce", counted)
    exact_criterion(fits[0], shards)
    assert len(passes) == 1


def test_exact_criterion_with_weights(shards, fits):
    X = np.concatenate(shards)
    weight = np.random.default_rng(0).integers(0, 3, size=len(X))
    weighted = exact_criterion(fits[0], X, sample_weight=weight)
    repeated = exact_criterion(fits[0], np.repeat(X, weight, axis=0))
    assert weighted.n_samples == repeated.n_samples == weight.sum()
    assert_allclose(weighted.criteria, repeated.criteria, rtol=1e-10)


def test_aggregators_are_candidates(shards):
    models = {
        K: MixtureOfExpertsAggregator(n_components=K, refine=1, random_state=0).fit(shards)
        for K in (1, 3)
    }
    result = exact_criterion(models, shards)
    assert result.best == 3
    assert_allclose(result.criteria, [model.bic_ for model in models.values()], rtol=1e-10)


# ------------------------------------------------------------------ manners


def test_nothing_is_changed(shards, fits):
    results = local_results(fits)
    before = [dict(own) for own in results]
    for method in ("sum", "vote", "slope"):
        aggregated_criterion(results, method=method)
    assert results == before


def test_bad_local_results():
    with pytest.raises(TypeError, match=r"must be a sequence of dicts.*type dict"):
        aggregated_criterion(BY_HAND[0])
    with pytest.raises(TypeError, match=r"local_results\[0\] must be a dict"):
        aggregated_criterion([[1, 2]])
    with pytest.raises(ValueError, match="is empty"):
        aggregated_criterion([])
    with pytest.raises(ValueError, match="no candidate at any shard"):
        aggregated_criterion([{}, {}])
    with pytest.raises(TypeError, match=r"Candidate 2 of shard 0 must be the numbers"):
        aggregated_criterion([{2: (1.0, 2)}])
    with pytest.raises(TypeError, match=r"Candidate 2 of shard 0 must be the numbers"):
        aggregated_criterion([{2: 5.0}])
    for bad in ((np.nan, 5, 2), (-1.0, 0, 2), (-1.0, 5, -2), (-1.0, 5, 2.5), (-1.0, 5, 2, np.inf)):
        with pytest.raises(ValueError, match=r"Candidate 1 of shard 0 has the numbers.*finite"):
            aggregated_criterion([{1: bad}])
    with pytest.raises(ValueError, match="Candidates of shard 0 were fitted to 5 to 6 rows"):
        aggregated_criterion([{1: (-1.0, 5, 2), 2: (-1.0, 6, 4)}])
    with pytest.raises(ValueError, match="Candidate 1 has 3 parameters at shard 1, 2 at"):
        aggregated_criterion([{1: (-1.0, 5, 2)}, {1: (-1.0, 5, 3)}])
    with pytest.raises(ValueError, match="No candidate was fitted at all shards"):
        aggregated_criterion([{1: (-1.0, 5, 2)}, {2: (-1.0, 5, 4)}])
    with pytest.raises(ValueError, match="Candidate 1 of shard 0 has no entropy"):
        aggregated_criterion([{1: (-1.0, 5, 2)}], criterion="icl")
    with pytest.raises(ValueError, match="'method' parameter"):
        aggregated_criterion(BY_HAND, method="mean")
    with pytest.raises(ValueError, match="at least 3 models"):
        aggregated_criterion([{1: (-1.0, 5, 2), 2: (-1.0, 5, 4)}], method="slope")


def test_bad_fits(shards, fits):
    with pytest.raises(TypeError, match=r"fits\[0\] must be a dict"):
        local_results([fits[0][1]])
    with pytest.raises(ValueError, match="X has 2 shards, but there are fits of 3"):
        local_results(fits, shards[:2])
    with pytest.raises(TypeError, match="Candidate 1 of shard 0 must be a fitted mixture"):
        local_results([{1: "gmm"}])
    with pytest.raises(NotFittedError):
        local_results([{1: DistributedGMM()}])
    with pytest.raises(TypeError, match=r"models must be a dict or sequence.*\[model\]"):
        exact_criterion(fits[0][1], shards)
    with pytest.raises(ValueError, match="no models"):
        exact_criterion({}, shards)
    with pytest.raises(TypeError, match="Candidate 2 must be a fitted mixture"):
        exact_criterion({1: fits[0][1], 2: None}, shards)
    with pytest.raises(TypeError, match="Candidate 2 of shard 0 must be a fitted mixture"):
        local_results([{1: fits[0][1], 2: 3.0}], [shards[0]])
    with pytest.raises(ValueError, match="features"):
        exact_criterion(fits[0], np.hstack([shards[0], shards[0]]))
    gated = MixtureOfExpertsAggregator(n_components=2, gate="softmax", random_state=0).fit(shards)
    with pytest.raises(ValueError, match="needs a density"):
        exact_criterion([gated], shards)
