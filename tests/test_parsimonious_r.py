"""The fourteen parsimonious covariance models against R's mclust."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from skdistmix import DistributedGMM
from skdistmix.families import gaussian_family

R = json.loads((Path(__file__).parent / "r_values" / "parsimonious.json").read_text())
MODELS = list(R["grid"]["em"])
ITERATIVE = {"VEI", "VEE", "VEV", "EVE", "VVE"}
STARTS = list(R["em"])


def digits(text):
    return np.array([int(digit) for digit in text])


def em(X, n_components, model, labels, max_iter=20_000, sample_weight=None, **options):
    """EM from labels to its end."""
    gmm = DistributedGMM(
        n_components, covariance_type=model, init_params=labels, reg_covar=0, tol=1e-13,
        max_iter=max_iter, **options,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return gmm.fit(X, sample_weight=sample_weight)


def matrices(gmm):
    """Covariances of any type as (n_components, n_features, n_features)."""
    family, params = gmm._family_and_params()
    covariances = family.components(params).covariances
    return covariances if covariances.ndim == 3 else covariances[:, :, None] * np.eye(4)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("model", [m for m in MODELS if m != "VVE"])  # mclust does not maximise it
def test_one_m_step_is_that_of_r(iris, model, start):
    case = R["em"][start]
    theirs = case["models"][model]
    labels = digits(case["labels"])
    gmm = em(iris, labels.max() + 1, model, labels, max_iter=0)
    rel = 1e-6 if model in ITERATIVE else 1e-9
    assert gmm.lower_bound_ * len(iris) == pytest.approx(theirs["m_step"], rel=rel)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("model", MODELS)
def test_em_ends_where_r_does(iris, model, start):
    case = R["em"][start]
    theirs, labels = case["models"][model], digits(case["labels"])
    gmm = em(iris, labels.max() + 1, model, labels)
    total = gmm.lower_bound_ * len(iris)
    assert gmm.n_parameters_ == theirs["df"]
    if model == "VVE":
        assert total > theirs["em"] - 1e-4
        assert total == pytest.approx(R["vve"][str(labels.max() + 1)], rel=1e-9)
        return
    assert total == pytest.approx(theirs["em"], rel=1e-9)
    for ours, name in ((gmm.weights_, "weights"), (gmm.means_, "means")):
        np.testing.assert_allclose(ours, theirs[name], atol=1e-4)
    np.testing.assert_allclose(matrices(gmm), theirs["covariances"], atol=1e-4)


@pytest.mark.parametrize("model", MODELS)
def test_weights_are_repeated_rows_of_r(iris, model):
    case = R["weighted"]
    weights, labels = digits(case["row_weights"]), digits(case["labels"])
    gmm = em(iris, 3, model, labels, sample_weight=weights)
    total, theirs = gmm.lower_bound_ * weights.sum(), case["models"][model]
    if model == "VVE":
        assert total > theirs["em"] - 1e-4
        return
    assert total == pytest.approx(theirs["em"], rel=1e-9)
    if "means" in theirs:
        np.testing.assert_allclose(gmm.means_, theirs["means"], atol=1e-4)


def test_criteria_choose_the_model_of_r(iris):
    """All models for 1 to 3 components; examples/benchmarks/parsimonious.py goes to 9."""
    grid, ours = R["grid"], {}
    for model in MODELS:
        for K in range(1, 4):
            labels = digits(grid["labels"][str(K)]) if K > 1 else np.zeros(len(iris), int)
            ours[model, K] = -em(iris, K, model, labels).bic_
            end = grid["em"][model][K - 1]
            if model == "VVE" and K > 1:  # mclust does not maximise
                continue
            end = grid["bic"][model][K - 1] if end is None else 2 * end - penalty(model, K)
            assert ours[model, K] == pytest.approx(end, abs=1e-3)
    assert max(ours, key=ours.get) == ("VEV", 2)
    assert ours["VEV", 2] == pytest.approx(grid["bic"]["VEV"][1], rel=1e-8)


def penalty(model, n_components):
    return gaussian_family(model)(n_components).n_parameters_of(4) * np.log(150)


@pytest.mark.parametrize("fit", R["univariate"]["fits"], ids=lambda f: f"{f['model']}{f['df']}")
def test_one_variable(fit):
    X = np.array(R["univariate"]["x"])[:, None]
    variances = np.broadcast_to(fit["variances"], len(fit["weights"]))
    gmm = DistributedGMM(
        len(fit["weights"]), covariance_type=fit["model"], reg_covar=0, tol=1e-12, max_iter=10_000,
        weights_init=fit["weights"], means_init=np.array(fit["means"])[:, None],
        precisions_init=1 / variances,
    ).fit(X)  # fmt: skip
    assert gmm.n_parameters_ == fit["df"]
    assert gmm.lower_bound_ * len(X) == pytest.approx(fit["em"], rel=1e-6)
    assert gmm.covariance_type_ == {"E": "EII", "V": "spherical"}[fit["model"]]
