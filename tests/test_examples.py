"""Examples run without a warning; the sessions in the documentation print what they say."""

import doctest
import runpy
from pathlib import Path

import pytest
from numpy.testing import assert_allclose

TOP = Path(__file__).resolve().parent.parent
PAGES = sorted(p.name for p in (TOP / "doc").glob("*.rst") if ">>>" in p.read_text("utf-8"))


@pytest.fixture
def no_windows(monkeypatch):
    pytest.importorskip("matplotlib").use("Agg")
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, "show", lambda: None)
    yield
    plt.close("all")


def test_choose_k(no_windows):
    found = runpy.run_path(str(TOP / "examples" / "plot_choose_k.py"))
    assert found["candidates"][found["bic"].argmin()] == 5
    assert found["candidates"][found["icl"].argmin()] == 4


def test_choose_model(no_windows):
    found = runpy.run_path(str(TOP / "examples" / "plot_choose_model.py"))
    assert found["search"].best_params_ == {"n_components": 4, "covariance_type": "tied"}
    assert found["stopped"].sum() >= 10


def test_new_family(no_windows):
    found = runpy.run_path(str(TOP / "examples" / "plot_new_family.py"))
    assert found["gains"].min() > -1e-9
    assert found["mixture"].converged_


def test_parquet_folder(no_windows):
    pytest.importorskip("pyarrow")
    found = runpy.run_path(str(TOP / "examples" / "plot_parquet_folder.py"))
    assert found["shards"].sizes[9] > 7000
    tours = found["shares"][:, 2]
    assert tours[[5, 6]].min() > 0.2 > 0.06 > tours[[0, 11]].max()


def test_noise(no_windows):
    found = runpy.run_path(str(TOP / "examples" / "plot_noise.py"))
    fits = found["fits"]
    assert min(fits, key=lambda name: fits[name].bic_) == "3 components and noise"
    assert abs(fits["3 components and noise"].noise_weight_ - 0.5) < 0.05


@pytest.mark.slow
def test_federated_sites(no_windows):
    found = runpy.run_path(str(TOP / "examples" / "plot_federated_sites.py"))
    robust, plain, new = found["robust"], found["plain"], found["new"]
    assert robust.rejected_shards_.tolist() == [5]
    assert found["one"].rejected_models_.tolist() == [5]
    assert robust.score(new) > found["truth"] - 0.005
    assert plain.score(new) < found["truth"] - 0.2
    finds = [expert.n_components for expert in found["union"].experts_]
    assert finds == [len(which) for which in found["treated"].values()]
    assert found["nearest"].min(axis=0).max() < 0.2
    assert sorted(found["nearest"].argmin(axis=1)) == [0, 1, 2, 3, 4]


@pytest.mark.slow
def test_how_sure(no_windows):
    found = runpy.run_path(str(TOP / "examples" / "plot_how_sure.py"))
    model, small, errors = found["model"], found["small"], found["errors"]
    assert model.alignment_failures_ == 0
    for name in ("weights", "means", "covariances"):
        assert_allclose(model.standard_errors_[name], errors[name], rtol=0.25)
        assert (small.standard_errors_[name] > 2 * model.standard_errors_[name]).all()
    low, high = model.confidence_interval(found["gap"])
    assert 75 < low < high < 76.5


@pytest.fixture
def deep():
    """skdistmix.deep, with one thread: those of torch wait for each other on a busy machine."""
    needs = 'skdistmix.deep needs PyTorch and skorch: pip install "skdistmix[deep]"'
    torch = pytest.importorskip("torch", reason=needs)
    pytest.importorskip("skorch", reason=needs)
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.mark.slow
def test_deep_digits(no_windows, deep):
    found = runpy.run_path(str(TOP / "examples" / "plot_deep_digits.py"))
    digits, waver, names = found["digits"], found["waver"], found["names"]
    right = {
        key: (found["matching"](run)[run] == digits).mean() for key, run in found["found"].items()
    }
    assert min(right.values()) > 0.65
    assert (names[waver] != digits[waver]).mean() > (names != digits).mean()  # the map finds them
    history = found["model"].history_["reconstruction_loss"]
    assert history[-1] < 1.5 * found["past"][-1]


@pytest.mark.slow
def test_electricity_curves(no_windows, deep):
    found = runpy.run_path(str(TOP / "examples" / "plot_electricity_curves.py"))
    assert found["K"] == 4
    errors = {name: values.mean() for name, values in found["errors"].items()}
    straight = errors.pop("4 principal components")
    constant = errors.pop("mean curve")
    for bent in errors.values():
        assert 1.5 * straight < bent < constant


@pytest.mark.parametrize("page", PAGES)
def test_page(page, request):
    if "skdistmix.deep" in (TOP / "doc" / page).read_text("utf-8"):
        request.getfixturevalue("deep")
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, tried = doctest.testfile(
        str(TOP / "doc" / page), module_relative=False, optionflags=flags, encoding="utf-8"
    )
    assert tried > 0
    assert failed == 0
