"""AssignmentDynamics against sums over all epochs, and the map of it."""

import builtins
import pickle
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from skdistmix import BLBMixture, DistributedGMM, as_shards
from skdistmix.inspection import AssignmentDynamics, AssignmentMapDisplay
from skdistmix.inspection import _dynamics as module

mpl = pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def no_windows():
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")


def epochs_of(n_rows=200, n_clusters=4, n_epochs=9, seed=0):
    """Probabilities of rows of which some waver; shape (n_epochs, n_rows, n_clusters)."""
    rng = np.random.default_rng(seed)
    strength = rng.gamma(1.0, 3.0, size=(n_rows, 1))
    logits = rng.normal(size=(n_epochs, n_rows, n_clusters))
    logits += strength * rng.multinomial(1, np.full(n_clusters, 1 / n_clusters), size=n_rows)
    q = np.exp(logits)
    return q / q.sum(axis=2, keepdims=True)


def collected(epochs, reference=None):
    dynamics = AssignmentDynamics(reference)
    for q in epochs:
        dynamics.update(q)
    return dynamics


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    return rng.normal(rng.choice([-2.0, 2.0], size=(900, 1)), 1.0, size=(900, 2))


# --------------------------------------------------------------------------- the numbers


def test_numbers_are_those_of_all_epochs():
    epochs = epochs_of()
    dynamics = collected(epochs)
    labels = epochs.argmax(axis=2)
    before = np.vstack([labels[:1], labels[:-1]])
    followed = np.take_along_axis(epochs, before[:, :, None], axis=2)[:, :, 0]
    assert_allclose(dynamics.confidence_, followed.mean(axis=0), rtol=1e-12)
    assert_allclose(dynamics.variability_, followed.std(axis=0), rtol=1e-9)
    changed = labels[1:] != labels[:-1]
    assert_array_equal(dynamics.switches_, changed.sum(axis=0))
    assert_allclose(dynamics.switch_share_, changed.mean(axis=0))
    assert_allclose(dynamics.changes_, changed.mean(axis=1))
    assert_array_equal(dynamics.labels_, labels[-1])
    assert dynamics.n_updates_ == 9
    assert repr(dynamics) == "AssignmentDynamics(9 updates, 200 rows)"


def test_a_reference_is_followed():
    epochs = epochs_of()
    reference = np.random.default_rng(1).integers(0, 4, 200)
    dynamics = collected(epochs, reference)
    followed = epochs[:, np.arange(200), reference]
    assert_allclose(dynamics.confidence_, followed.mean(axis=0), rtol=1e-12)
    assert_allclose(dynamics.variability_, followed.std(axis=0), rtol=1e-9)
    assert_array_equal(dynamics.labels_, epochs[-1].argmax(axis=1))
    # Settled rows are followed at their final label in any case.
    settled = collected(epochs).switches_ == 0
    final = collected(epochs, epochs[-1].argmax(axis=1))
    assert settled.sum() > 20
    assert_allclose(collected(epochs).confidence_[settled], final.confidence_[settled])


def test_a_row_thrown_about_with_certainty_is_not_easy():
    dynamics = collected([[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]] * 4)
    assert dynamics.switches_.tolist() == [0, 7]
    assert_allclose(dynamics.confidence_, [1, 1 / 8])
    assert_allclose(dynamics.switch_share_, [0, 1])


@pytest.mark.parametrize("cut", [[50], [0, 50], [1, 2, 199]])
def test_shards_and_blocks_change_nothing(cut, monkeypatch):
    epochs = epochs_of()
    whole = collected(epochs)
    monkeypatch.setattr(module, "BLOCK_ELEMENTS", 28)
    for form in (list, tuple, iter):
        pieces = collected([form(np.split(q, cut)) for q in epochs])
        for name in ("confidence_", "variability_", "switches_", "labels_"):
            assert_array_equal(getattr(pieces, name), getattr(whole, name))
        assert pieces.changes_ == whole.changes_


def test_other_numbers_and_lists():
    epochs = epochs_of()
    whole = collected(epochs)
    for dtype, atol in ((np.float32, 1e-6), (np.float16, 1e-3)):
        assert_allclose(collected(epochs.astype(dtype)).confidence_, whole.confidence_, atol=atol)
    assert_array_equal(collected([q.tolist() for q in epochs]).confidence_, whole.confidence_)
    assert collected([np.eye(3, dtype=int)]).confidence_.tolist() == [1, 1, 1]


def test_tensors():
    torch = pytest.importorskip("torch")
    pytest.importorskip("array_api_compat")
    epochs = epochs_of(n_epochs=2)
    dynamics = AssignmentDynamics()
    for q in epochs:
        dynamics.update(torch.from_numpy(q).requires_grad_())
    assert_array_equal(dynamics.confidence_, collected(epochs).confidence_)


def test_nothing_of_what_is_given_is_kept_or_changed():
    q = epochs_of(n_epochs=1)[0]
    before = q.copy()
    dynamics = collected([q])
    confidence = dynamics.confidence_.copy()
    assert_array_equal(q, before)
    q[:] = 0.25
    assert_array_equal(dynamics.confidence_, confidence)
    back = pickle.loads(pickle.dumps(dynamics))
    back.update(q)
    assert back.n_updates_ == 2 and dynamics.n_updates_ == 1
    memory = sum(v.nbytes for v in vars(dynamics).values() if isinstance(v, np.ndarray))
    assert memory <= 24 * len(q)


def test_errors_change_nothing():
    epochs = epochs_of(n_epochs=2)
    dynamics = AssignmentDynamics()
    for name in ("variability_", "switch_share_"):
        with pytest.raises(NotFittedError, match="call update"):
            getattr(dynamics, name)
    assert not hasattr(dynamics, "labels_") and repr(dynamics) == "AssignmentDynamics(0 updates)"
    dynamics.update(epochs[0])
    state = pickle.dumps(vars(dynamics))
    bad = epochs[1].copy()
    bad[7] *= 2
    for q, message in (
        (epochs[1][:, 0], r"shape \(200,\)"),
        (epochs[1][:, :3] / epochs[1][:, :3].sum(axis=1, keepdims=True), "of 3 clusters, expected"),
        (epochs[1][:150], "have 150 rows, expected 200, as in the epochs before"),
        ([epochs[1], epochs[1][:3]], "have 203 rows, expected 200"),
        (bad, "Row 7 of probabilities sums to 2"),
        ([epochs[1][:150], bad[:50]], "Row 157 of probabilities"),
        (np.where(bad > 1, np.nan, bad), "Row 7 of probabilities"),
        (np.log(epochs[1]), "not logarithms"),
        (np.empty((0, 4)), "have 0 rows"),
    ):
        with pytest.raises(ValueError, match=message):
            dynamics.update(q)
        assert pickle.dumps(vars(dynamics)) == state


def test_errors_of_a_reference():
    for reference in ([0.5, 1], [[0, 1]], [-1, 0]):
        with pytest.raises(ValueError, match="reference has shape"):
            AssignmentDynamics(reference)
    with pytest.raises(ValueError, match="2 rows, expected 3, as in reference"):
        AssignmentDynamics([0, 1, 1]).update([[0.5, 0.5], [1, 0]])
    with pytest.raises(ValueError, match="reference has the label 2, but there are 2 clusters"):
        AssignmentDynamics([0, 2]).update([[0.5, 0.5], [1, 0]])


# --------------------------------------------------------------------------- EM


def test_iterations_of_em_are_those_of_fit(X):
    gmm = DistributedGMM(2, random_state=0, tol=1e-9)
    dynamics = AssignmentDynamics.of_em(gmm, X)
    assert not hasattr(gmm, "weights_")
    fitted = DistributedGMM(2, random_state=0, tol=1e-9).fit(X)
    assert_allclose(dynamics.estimator_.means_, fitted.means_)
    assert dynamics.n_updates_ == fitted.n_iter_ > 4
    assert_array_equal(dynamics.labels_, fitted.predict(X))
    epochs = []
    for i in range(fitted.n_iter_):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            one = DistributedGMM(2, random_state=0, tol=0, max_iter=i + 1).fit(X)
        epochs.append(one.predict_proba(X))
    followed = np.array(epochs)[:, np.arange(len(X)), fitted.predict(X)]
    assert_allclose(dynamics.confidence_, followed.mean(axis=0), atol=1e-6)
    assert_allclose(dynamics.variability_, followed.std(axis=0), atol=1e-6)


def test_em_over_shards_and_with_weights(X, tmp_path):
    gmm = DistributedGMM(2, random_state=0)
    whole = AssignmentDynamics.of_em(gmm, X)
    np.save(tmp_path / "part-0.npy", X[:400])
    np.save(tmp_path / "part-1.npy", X[400:])
    for form in ([X[:400], X[400:]], as_shards([X[:400], X[400:]]), str(tmp_path / "*.npy")):
        dynamics = AssignmentDynamics.of_em(gmm, form)
        assert_allclose(dynamics.confidence_, whole.confidence_, atol=1e-8)
    weights = np.arange(900) % 3
    weighted = AssignmentDynamics.of_em(gmm, X, sample_weight=weights)
    fitted = DistributedGMM(2, random_state=0).fit(X, sample_weight=weights)
    assert_allclose(weighted.estimator_.means_, fitted.means_)
    assert len(weighted.confidence_) == 900


def test_em_from_any_generator_and_from_where_it_is(X):
    rng = np.random.RandomState(0)
    dynamics = AssignmentDynamics.of_em(DistributedGMM(2, random_state=rng), X)
    assert_allclose(dynamics.labels_, dynamics.estimator_.predict(X))
    gmm = DistributedGMM(2, random_state=0, tol=1e-2).fit(X)
    means = gmm.means_.copy()
    further = AssignmentDynamics.of_em(gmm.set_params(warm_start=True, tol=1e-7), X)
    assert_array_equal(gmm.means_, means)
    again = DistributedGMM(
        2, tol=1e-7, weights_init=gmm.weights_, means_init=means, precisions_init=gmm.precisions_
    ).fit(X)
    assert further.n_updates_ == again.n_iter_
    assert_allclose(further.estimator_.means_, again.means_, atol=1e-8)


def test_em_against_known_classes(X):
    classes = (X[:, 0] > 0).astype(int)
    dynamics = AssignmentDynamics.of_em(DistributedGMM(2, random_state=0), X, reference=classes)
    share = dynamics.confidence_.mean()
    assert max(share, 1 - share) > 0.95


def test_what_em_cannot_be_followed(X):
    with pytest.raises(TypeError, match="got a value of type BLBMixture"):
        AssignmentDynamics.of_em(BLBMixture(), X)
    with pytest.raises(ValueError, match="max_iter=0"):
        AssignmentDynamics.of_em(DistributedGMM(2, max_iter=0), X)
    with pytest.warns(ConvergenceWarning, match="in 3 iterations") as record:
        dynamics = AssignmentDynamics.of_em(DistributedGMM(2, tol=0, max_iter=3), X)
    assert dynamics.n_updates_ == 3 and len(record) == 1


# --------------------------------------------------------------------------- the map


@pytest.fixture
def dynamics():
    return collected(epochs_of(500))


def test_regions(dynamics):
    display = AssignmentMapDisplay(
        confidence=[0.9, 0.9, 0.3, 0.74, 0.1], variability=[0.1, 0.3, 0.1, 0.2, 0.3]
    )
    assert display.regions.tolist() == [0, 1, 2, 2, 1]
    assert display.shares == {"easy": 0.2, "ambiguous": 0.4, "hard": 0.4}
    assert display.rows_of("ambiguous").tolist() == [4, 1]
    assert display.rows_of("hard").tolist() == [2, 3]
    other = AssignmentMapDisplay.from_dynamics(dynamics, min_confidence=0.5, max_variability=0.1)
    steady = dynamics.variability_ <= 0.1
    assert_array_equal(other.rows_of("easy").size, (steady & (dynamics.confidence_ >= 0.5)).sum())
    assert sum(other.shares.values()) == pytest.approx(1)
    with pytest.raises(ValueError, match=r"region='soft' must be one of"):
        display.rows_of("soft")


def test_what_is_drawn(dynamics):
    display = AssignmentMapDisplay.from_dynamics(dynamics)
    assert len(display.rows_) == 500
    drawn = display.artist_
    order = np.argsort(dynamics.switch_share_, kind="stable")
    assert_array_equal(drawn.get_offsets()[:, 0], dynamics.variability_[order])
    assert_array_equal(drawn.get_offsets()[:, 1], dynamics.confidence_[order])
    assert_array_equal(drawn.get_array(), dynamics.switch_share_[order])
    assert drawn.get_clim() == (0, 1)
    words = [text.get_text() for text in display.text_]
    assert [word.split("\n")[0] for word in words] == ["easy", "ambiguous", "hard"]
    assert len(display.figure_.axes) == 2
    assert display.ax_.get_xlim() == (0, 0.52)
    bare = AssignmentMapDisplay.from_dynamics(dynamics, colorbar=False, artist_kw={"s": 50})
    assert len(bare.figure_.axes) == 1 and bare.artist_.get_sizes().tolist() == [50]


def test_many_rows_are_drawn_in_hexagons(dynamics):
    display = AssignmentMapDisplay.from_dynamics(dynamics, max_points=100)
    shares = display.artist_.get_array()
    assert 10 < len(shares) < 500 and shares.max() <= 1
    counts = display.plot(color_by="count").artist_.get_array()
    assert counts.sum() == 500
    display.figure_.canvas.draw()


def test_labels_as_colors(dynamics):
    display = AssignmentMapDisplay.from_dynamics(dynamics, color_by="labels", max_points=200)
    assert sorted(display.artist_) == [0, 1, 2, 3]
    assert sum(len(points.get_offsets()) for points in display.artist_.values()) == 200
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == list("0123")
    again = AssignmentMapDisplay.from_dynamics(dynamics, color_by="labels", max_points=200)
    other = again.rows_
    assert_array_equal(display.rows_, other)
    assert not np.array_equal(again.plot(max_points=200, random_state=1, color_by="labels").rows_,
                              other)  # fmt: skip
    many = AssignmentMapDisplay.from_dynamics(dynamics, labels=np.arange(500) % 20 - 1)
    many.plot(color_by="labels")
    assert many.ax_.get_legend() is None and sorted(many.artist_)[0] == -1
    many.figure_.canvas.draw()


def test_axes_of_the_user(no_windows, dynamics):
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    with mpl.rc_context({"axes.grid": True}):
        before = dict(mpl.rcParams)
        display = AssignmentMapDisplay.from_dynamics(dynamics, ax=ax)
        assert dict(mpl.rcParams) == before
    assert display.figure_ is ax.figure and display.ax_ is ax
    assert no_windows.get_fignums() == []


def test_errors_of_the_map(dynamics):
    with pytest.raises(TypeError, match="got a value of type ndarray"):
        AssignmentMapDisplay.from_dynamics(np.ones(3))
    with pytest.raises(ValueError, match="There were 1 updates"):
        AssignmentMapDisplay.from_dynamics(collected(epochs_of(n_epochs=1)))
    good = {"confidence": [0.5, 1], "variability": [0.5, 0]}
    for changed, message in (
        ({"confidence": [[1]]}, r"confidence has shape \(1, 1\), expected \(n_samples,\)"),
        ({"variability": [0.1]}, r"variability has shape \(1,\), expected \(2,\)"),
        ({"variability": [0.1, 0.6]}, "variability must lie between 0 and 0.5"),
        ({"confidence": [0.1, np.nan]}, "confidence must lie between 0 and 1"),
        ({"switch_share": [2, 0]}, "switch_share must lie"),
        ({"labels": [0.5, 1]}, "labels have shape"),
        ({"min_confidence": 1.5}, "min_confidence=1.5 must lie between"),
    ):
        with pytest.raises(ValueError, match=message):
            AssignmentMapDisplay(**{**good, **changed})
    display = AssignmentMapDisplay(**good)
    assert not hasattr(display, "figure_")
    with pytest.raises(ValueError, match="color_by='switches' needs switch_share"):
        display.plot()
    with pytest.raises(ValueError, match="color_by='labels' needs labels"):
        display.plot(color_by="labels")
    with pytest.raises(ValueError, match="color_by='rows' must be one of"):
        display.plot(color_by="rows")
    with pytest.raises(ValueError, match="max_points must be"):
        display.plot(color_by="count", max_points=0)
    assert display.plot(color_by="count") is display


def test_without_matplotlib(monkeypatch, dynamics):
    true_import = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "matplotlib":
            raise ImportError(f"No module named {name!r}")
        return true_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"AssignmentMapDisplay needs matplotlib: pip install"):
        AssignmentMapDisplay.from_dynamics(dynamics)
