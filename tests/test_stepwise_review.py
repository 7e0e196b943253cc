"""partial_fit: what goes wrong where it meets other options."""

import numpy as np
import pytest
from conftest import make_blobs

from skdistmix import DistributedGMM
from skdistmix.families import ConjugatePrior


@pytest.fixture(scope="module")
def rows():
    return make_blobs(n_rows=900)[0]


@pytest.mark.parametrize(
    "init_params", ["k-means||", "k-means++", "random_from_data", "hierarchical", "random"]
)
@pytest.mark.parametrize("size", [30, 300])
def test_batches_of_tensors_give_what_arrays_give(rows, init_params, size):
    pytest.importorskip("array_api_compat")
    torch = pytest.importorskip("torch")
    ours = DistributedGMM(3, init_params=init_params, random_state=0)
    theirs = DistributedGMM(3, init_params=init_params, random_state=0)
    for batch in np.split(rows[: 3 * size], 3):
        ours.partial_fit(batch)
        theirs.partial_fit(torch.from_numpy(batch.copy()))
    np.testing.assert_allclose(theirs.means_, ours.means_, rtol=1e-9)
    np.testing.assert_allclose(theirs.covariances_, ours.covariances_, rtol=1e-9, atol=1e-12)


def test_means_given_for_batches_of_tensors(rows):
    pytest.importorskip("array_api_compat")
    torch = pytest.importorskip("torch")
    gmm = DistributedGMM(3, means_init=rows[:3]).partial_fit(torch.from_numpy(rows.copy()))
    again = DistributedGMM(3, means_init=rows[:3]).partial_fit(rows)
    np.testing.assert_allclose(gmm.means_, again.means_, rtol=1e-9)


def test_averaging_can_be_switched_off_and_on(rows):
    gmm = DistributedGMM(2, random_state=0, average=True)
    plain = DistributedGMM(2, random_state=0)
    for batch in np.split(rows, 9):
        gmm.partial_fit(batch)
        plain.partial_fit(batch)
    assert not np.allclose(gmm.means_, plain.means_)
    gmm.set_params(average=False).partial_fit(rows[:100])
    np.testing.assert_allclose(gmm.means_, plain.partial_fit(rows[:100]).means_)
    gmm.set_params(average=True).partial_fit(rows[100:200])  # the mean of what comes from here
    np.testing.assert_allclose(gmm.means_, plain.partial_fit(rows[100:200]).means_)


@pytest.mark.parametrize(("before", "after"), [("tied", "diag"), ("diag", "tied")])
def test_another_covariance_type_of_the_same_shape_is_refused(before, after):
    X, _ = make_blobs(n_rows=300)
    gmm = DistributedGMM(3, covariance_type=before, random_state=0).fit(X)
    gmm.set_params(covariance_type=after, warm_start=True)
    with pytest.raises(ValueError, match="set the previous n_components and covariance_type"):
        gmm.partial_fit(X)
    with pytest.raises(ValueError, match="set the previous n_components and covariance_type"):
        gmm.fit(X)


@pytest.mark.parametrize(
    "option",
    [
        {"reg_covar": 0.0},
        {"reg_covar": 0.5},
        {"covariance_penalty": 30.0, "reg_covar": 0.0},
        {"prior": ConjugatePrior(shrinkage=50, dof=200), "reg_covar": 0.0},
        {"prior": ConjugatePrior(shrinkage=0), "reg_covar": 0.1},
    ],
)
def test_a_prior_counts_once_when_batches_follow_a_fit(rows, covariance_type, option):
    gmm = DistributedGMM(
        3, covariance_type=covariance_type, tol=1e-12, max_iter=3000, random_state=0, **option
    ).fit(rows)
    score = gmm.score(rows[:9])
    gmm.partial_fit(rows[:9])
    assert gmm.lower_bound_ == pytest.approx(score, rel=1e-3)  # under the parameters of the fit
    if len(option) == 1:  # there are twice the rows then, for which a prior would count half
        means, covariances = gmm.fit(rows).means_, gmm.covariances_
        gmm.partial_fit(rows)  # nothing to learn
        np.testing.assert_allclose(gmm.means_, means, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(gmm.covariances_, covariances, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("option", [{"prior": ConjugatePrior(shrinkage=50, dof=200)}, {}])
def test_implied_statistics_give_back_parameters(rows, covariance_type, option):
    gmm = DistributedGMM(
        3, covariance_type=covariance_type, random_state=0, reg_covar=0.2, **option
    )
    gmm.fit(rows)
    family = gmm._family(3).prepare(gmm._moments)
    params = family.m_step(family.implied_statistics(gmm._fitted_params(), 900.0).scaled(900.0))
    for name in ("weights", "means", "covariances"):
        np.testing.assert_allclose(
            getattr(params, name), getattr(gmm, f"{name}_"), rtol=1e-9, atol=1e-12
        )


def test_a_stronger_prior_than_that_of_the_fit_is_no_error(rows, covariance_type):
    gmm = DistributedGMM(3, covariance_type=covariance_type, random_state=0).fit(rows)
    gmm.set_params(reg_covar=50.0, prior=ConjugatePrior(dof=1e6, shrinkage=1e4))
    gmm.partial_fit(rows)
    assert np.isfinite(gmm.score(rows))


def test_no_row_is_kept(rows):
    for gmm in (DistributedGMM(3, random_state=0).fit(rows), DistributedGMM(3, random_state=0)):
        for batch in np.split(rows, 3):
            gmm.partial_fit(batch)
        assert len(gmm._stream.moments.distinct) == 0
        assert gmm.n_samples_seen_ in (900, 1800)
