"""DeepEmbeddedClustering: what fit does, and what scikit-learn may expect of it."""

import pickle
from copy import deepcopy

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClusterMixin, clone
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.datasets import make_blobs
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

torch = pytest.importorskip("torch")
skorch = pytest.importorskip("skorch")

from skdistmix import DistributedGMM  # noqa: E402
from skdistmix.deep import (  # noqa: E402
    Autoencoder,
    AutoencoderNet,
    DeepEmbeddedClustering,
    _starts,
)
from skdistmix.deep import _autoencoder as autoencoder_module  # noqa: E402
from skdistmix.deep._joint import Progress  # noqa: E402
from skdistmix.inspection import AssignmentDynamics  # noqa: E402
from skdistmix.preprocessing import Shardwise  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

OBJECTIVES = ["idec", "dec", "dcn", "dekm"]
X, GROUPS = make_blobs(300, 6, centers=3, random_state=0)


def small(**options):
    ours = {"hidden": [16], "n_components": 2, "max_epochs": 20, "learning_rate": 0.01}
    return Autoencoder(**{**ours, "random_state": 0, **options})


@pytest.fixture(scope="module")
def frozen():
    return FrozenEstimator(small().fit(X))


@pytest.fixture
def model(frozen):
    return DeepEmbeddedClustering(
        3, autoencoder=frozen, update_interval="epoch", max_epochs=3, tol=0, random_state=0
    )


@pytest.fixture(scope="module", params=OBJECTIVES)
def fitted(request, frozen):
    model = DeepEmbeddedClustering(
        3, autoencoder=frozen, objective=request.param, max_epochs=3, tol=0, random_state=0
    )
    return model.fit(X)


# --------------------------------------------------------------------------- what fit gives


def test_groups_are_found(fitted):
    assert adjusted_rand_score(fitted.labels_, GROUPS) > 0.9
    assert fitted.n_epochs_ == 3 and not fitted.converged_ and fitted.n_reseeded_ == 0
    names = ["train_loss", "reconstruction_loss", "clustering_loss", "changed"]
    assert list(fitted.history_) == names
    assert all(values.shape == (3,) for values in fitted.history_.values())
    assert fitted.start_labels_.shape == (300,)


def test_predictions(fitted):
    assert_array_equal(fitted.predict(X), fitted.labels_)
    probabilities = fitted.predict_proba(X)
    assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
    assert_array_equal(probabilities.argmax(axis=1), fitted.labels_)
    codes = fitted.transform(X).astype(float)
    squared = ((codes[:, None] - fitted.cluster_centers_) ** 2).sum(axis=2)
    q = 1 / (1 + squared)
    assert_allclose(probabilities, q / q.sum(axis=1, keepdims=True), rtol=1e-4)
    assert_array_equal(squared.argmin(axis=1), fitted.labels_)
    assert_allclose(fitted.score(X), -squared.min(axis=1).mean(), rtol=1e-4)
    assert_array_equal(fitted.autoencoder_.transform(X), fitted.transform(X))


def test_one_row_is_treated_as_among_others(fitted):
    for method in (fitted.predict, fitted.predict_proba, fitted.transform):
        whole = method(X)
        for i in (0, 7, 255, 256, 299):
            assert_array_equal(method(X[i : i + 1])[0], whole[i])


def test_losses_are_weighed(fitted):
    """By gamma, the reconstruction being a mean over columns as in the authors' code."""
    history = fitted.history_
    gamma = {"idec": 0.1, "dcn": 0.01, "dec": 1.0, "dekm": 1.0}[fitted.objective]
    total = history["reconstruction_loss"] + gamma * history["clustering_loss"]
    assert_allclose(history["train_loss"], total, rtol=1e-5)
    if fitted.objective in ("dec", "dekm"):
        assert_array_equal(history["reconstruction_loss"], 0)
    else:
        mean = -fitted.autoencoder_.score(X) / fitted.autoencoder_.scale_**2
        assert_allclose(history["reconstruction_loss"][-1], mean, rtol=0.05)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_no_epochs(model, frozen, objective):
    """Centres are means of the start's clusters, of codes that are only brought to one unit."""
    model.set_params(objective=objective, max_epochs=0).fit(X)
    assert model.n_epochs_ == 0 and model.history_["train_loss"].shape == (0,)
    codes = frozen.transform(X)
    codes = codes / codes.std()
    assert_allclose(model.transform(X), codes, rtol=1e-4, atol=1e-6)
    rebuilt = frozen.estimator.inverse_transform(frozen.transform(X))
    assert_allclose(model.autoencoder_.inverse_transform(codes), rebuilt, rtol=1e-4, atol=1e-4)
    means = [codes[model.start_labels_ == k].mean(axis=0) for k in range(3)]
    assert_allclose(model.cluster_centers_, means, rtol=1e-4)


def test_centres_after_dekm_are_means(model):
    model.set_params(objective="dekm").fit(X)
    codes = model.transform(X)
    means = [codes[model.labels_ == k].mean(axis=0) for k in range(3)]
    assert_allclose(model.cluster_centers_, means, rtol=1e-4, atol=1e-6)


def test_each_step_of_dec_goes_downhill(model):
    """With the same targets: one refresh, then many steps."""
    model.set_params(objective="dec", update_interval=10_000, max_epochs=8, learning_rate=1e-3)
    losses = model.fit(X).history_["clustering_loss"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("epochs", [0, 2])
def test_probabilities_of_gaussians(model, epochs):
    """With the spread of codes around their centres, in whatever units codes are."""
    model.set_params(assignment="gaussian", max_epochs=epochs).fit(X)
    codes = model.transform(X).astype(float)
    squared = ((codes[:, None] - model.cluster_centers_) ** 2).sum(axis=2)
    spread = squared.min(axis=1).mean() / codes.shape[1]
    expected = softmax(-squared / (2 * spread), axis=1)
    assert_allclose(model.predict_proba(X), expected, rtol=1e-3, atol=1e-6)
    assert (model.history_["clustering_loss"] < 1).all()


def test_alpha_counts(model):
    q = model.set_params(alpha=7.0, max_epochs=0).fit(X).predict_proba(X)
    squared = ((model.transform(X)[:, None] - model.cluster_centers_) ** 2).sum(axis=2)
    expected = (1 + squared / 7) ** -4.0
    assert_allclose(q, expected / expected.sum(axis=1, keepdims=True), rtol=1e-4)


@pytest.mark.parametrize(("augmentation", "alpha"), [(None, 1.0), ("affine", 3.0)])
def test_alpha_by_default(augmentation, alpha):
    """One less than the columns of codes for rows that are changed."""
    net = Autoencoder(n_components=4, image_shape=(2, 3), max_epochs=1, random_state=0)
    model = DeepEmbeddedClustering(
        3, autoencoder=net, image_shape=(2, 3), augmentation=augmentation, max_epochs=0,
        random_state=0,
    )  # fmt: skip
    by_default = model.fit(X).predict_proba(X)
    assert_array_equal(model.set_params(alpha=alpha).fit(X).predict_proba(X), by_default)
    other = model.set_params(alpha=4 * alpha).fit(X).predict_proba(X)
    assert np.abs(other - by_default).max() > 1e-3


# --------------------------------------------------------------------------- options


@pytest.mark.parametrize("target", ["global", "batch"])
@pytest.mark.parametrize("assignment", ["student_t", "gaussian"])
@pytest.mark.parametrize("update_interval", [1, 3, "epoch"])
def test_targets_and_refreshes(model, target, assignment, update_interval):
    looks = []
    model.set_params(target=target, assignment=assignment, update_interval=update_interval,
                     batch_size=60, monitor=lambda q: looks.append(q))  # fmt: skip
    model.fit(X)
    steps = 3 * 5
    assert len(looks) == (3 if update_interval == "epoch" else -(-steps // update_interval))
    for q in looks:
        assert q.shape == (300, 3)
        assert_allclose(q.sum(axis=1), 1, rtol=1e-5)
    assert adjusted_rand_score(model.labels_, GROUPS) > 0.9


@pytest.mark.parametrize("objective, apart", [("idec", 20), ("dekm", 40)])
def test_looks_are_not_a_few_steps_apart(model, objective, apart):
    looks = []
    model.set_params(objective=objective, update_interval="auto", batch_size=60, max_epochs=21,
                     monitor=looks.append)  # fmt: skip
    model.fit(X)  # five steps an epoch
    assert len(looks) == -(-5 * 21 // apart)
    model.set_params(objective="idec", batch_size=10, max_epochs=2).fit(X)  # 30 steps an epoch
    assert len(looks) == -(-5 * 21 // apart) + 2


def test_monitor_of_assignments(model):
    dynamics = AssignmentDynamics()
    model.set_params(monitor=dynamics.update).fit(X)
    assert dynamics.n_updates_ == 3 and dynamics.labels_.shape == (300,)


@pytest.mark.parametrize(
    "init",
    ["auto", "kmeans", "landmark_spectral", KMeans(n_init=2), GaussianMixture(), DistributedGMM(),
     AgglomerativeClustering()],
)  # fmt: skip
def test_starts(model, init):
    before = init if isinstance(init, str) else init.get_params()
    model.set_params(init=init, max_epochs=0).fit(X)
    assert adjusted_rand_score(model.start_labels_, GROUPS) > 0.9
    assert set(model.start_labels_) == {0, 1, 2}
    assert before == (init if isinstance(init, str) else init.get_params())


def test_training_ends_when_labels_settle(model):
    model.set_params(tol=0.5, max_epochs=20).fit(X)
    assert model.converged_ and model.n_epochs_ == 1
    assert not clone(model).set_params(max_epochs=1).fit(X).converged_


def test_the_start_is_no_look():
    """After the epochs that draw codes to it, training does not end because they are there."""
    looks = []
    net = Autoencoder(image_shape=(2, 3), max_epochs=5)
    model = DeepEmbeddedClustering(2, autoencoder=net, image_shape=(2, 3), augmentation="affine",
                                   max_epochs=7, tol=0.99, random_state=0, update_interval="epoch",
                                   monitor=lambda q: looks.append(q))  # fmt: skip
    model.fit(X[:60])
    assert model.n_epochs_ == 6 and model.converged_ and len(looks) == 2
    assert np.isnan(model.history_["changed"][:5]).all()


def test_empty_clusters_get_rows(model, monkeypatch):
    """A centre that a step has thrown far away comes back."""
    begin = Progress.begin_epoch

    def thrown(self, net):
        if self.n_epochs == 1:
            with torch.no_grad():
                net.module_.head.centers[1] = 1e3
        begin(self, net)

    monkeypatch.setattr(Progress, "begin_epoch", thrown)
    model.fit(X)
    assert model.n_reseeded_ == 1
    assert (np.bincount(model.labels_, minlength=3) > 0).all()
    assert np.abs(model.cluster_centers_).max() < 100


def test_callbacks(model):
    seen = []

    class Note(skorch.callbacks.Callback):
        def on_epoch_end(self, net, **kwargs):
            seen.append(net.history[-1]["clustering_loss"])

    model.set_params(callbacks=[Note()]).fit(X)
    assert_allclose(seen, model.history_["clustering_loss"])
    stop = skorch.callbacks.EarlyStopping("train_loss", patience=1, threshold=10.0)
    model.set_params(callbacks=[stop], max_epochs=9).fit(X)
    assert model.n_epochs_ == 2 and len(model.history_["train_loss"]) == 2


def test_interruptions_reach_the_user(model):
    def press(q):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.set_params(monitor=press).fit(X)


def test_lines_of_epochs(model, capsys):
    model.set_params(verbose=1).fit(X)
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("clustering_loss", "reconstruction_loss", "changed"))
    model.set_params(verbose=0).fit(X)
    assert capsys.readouterr().out == ""


def test_images():
    model = DeepEmbeddedClustering(
        3, image_shape=(2, 3), max_epochs=1, random_state=0, batch_size=100,
        autoencoder=Autoencoder(image_shape=(2, 3), max_epochs=1),
    )  # fmt: skip
    assert model.fit_predict(X).shape == (300,)
    assert type(model.autoencoder_.to_torch()).__name__ == "ConvAutoencoder"


# --------------------------------------------------------------------------- the autoencoder


def test_a_frozen_autoencoder_is_shared_and_left_alone(frozen):
    codes, weights = frozen.transform(X), pickle.dumps(frozen.estimator.state_dict_)
    for objective in ("idec", "dekm"):
        model = DeepEmbeddedClustering(3, autoencoder=frozen, objective=objective, max_epochs=3,
                                       random_state=0).fit(X)  # fmt: skip
        assert (model.transform(X) != codes).any()
        assert model.autoencoder is frozen and model.autoencoder_ is not frozen.estimator
    assert_array_equal(frozen.transform(X), codes)
    assert pickle.dumps(frozen.estimator.state_dict_) == weights


def test_an_autoencoder_is_cloned():
    autoencoder = small(max_epochs=2, random_state=None)
    model = DeepEmbeddedClustering(3, autoencoder=autoencoder, max_epochs=1, random_state=0).fit(X)
    assert not hasattr(autoencoder, "state_dict_") and autoencoder.random_state is None
    assert_array_equal(clone(model).fit(X).transform(X), model.transform(X))


class OwnModule(torch.nn.Module):
    def __init__(self, n_components=2):
        super().__init__()
        self.encoder = torch.nn.Sequential(torch.nn.Linear(6, n_components),
                                           torch.nn.BatchNorm1d(n_components))  # fmt: skip
        self.decode = torch.nn.Linear(n_components, 6, bias=False)

    def encode(self, X):
        return self.encoder(X)

    def forward(self, X):
        return self.decode(self.encode(X))


@pytest.mark.parametrize(
    "autoencoder",
    [
        small(max_epochs=2),
        small(max_epochs=2, network=OwnModule()),
        small(max_epochs=2, net=AutoencoderNet(OwnModule, module__n_components=3)),
        small(max_epochs=2, net=AutoencoderNet(OwnModule(), lr=0.01)),
    ],
)
def test_memory(autoencoder, tmp_path, monkeypatch):
    trained = []
    pretrained = autoencoder_module.pretrained
    monkeypatch.setattr(
        autoencoder_module, "pretrained", lambda *a: (trained.append(1), pretrained(*a))[1]
    )
    options = {"autoencoder": autoencoder, "max_epochs": 1, "random_state": 0}
    model = DeepEmbeddedClustering(3, memory=str(tmp_path), **options)
    codes = model.fit(X).transform(X)
    assert_array_equal(clone(model).fit(X.copy()).transform(X), codes)
    assert_array_equal(DeepEmbeddedClustering(3, **options).fit(X).transform(X), codes)
    assert len(trained) == 2  # the last has no memory
    clone(model).set_params(objective="dcn", n_clusters=2).fit(X)
    assert len(trained) == 2
    clone(model).fit(X[1:])
    clone(model).set_params(random_state=1).fit(X)
    assert len(trained) == (3 if autoencoder.random_state is not None else 4)
    clone(model).set_params(autoencoder__learning_rate=0.02).fit(X)
    assert len(trained) == 4
    if isinstance(autoencoder.network, torch.nn.Module):
        clone(model).set_params(autoencoder__network=OwnModule()).fit(X)
        assert len(trained) == 5


# --------------------------------------------------------------------------- unusual data


@pytest.mark.parametrize("kind", [np.float32, int, bool])
def test_types(kind):
    rows = (X > 0) if kind is bool else X.astype(kind)
    model = DeepEmbeddedClustering(2, autoencoder=small(max_epochs=2), max_epochs=1, random_state=0)
    assert set(model.fit_predict(rows)) == {0, 1}


def test_few_clusters_and_rows():
    model = DeepEmbeddedClustering(1, autoencoder=small(max_epochs=2), max_epochs=2, random_state=0)
    assert_array_equal(model.fit_predict(X), 0)
    assert_array_equal(model.predict_proba(X), 1)
    assert sorted(model.set_params(n_clusters=5).fit_predict(X[:5])) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="n_samples=4 should be >= n_clusters=5"):
        model.fit(X[:4])
    model.set_params(n_clusters=2).fit(X[:, :1])
    assert model.n_features_in_ == 1


@pytest.mark.parametrize(
    "rows, n_found", [(np.ones((30, 6)), 1), (np.repeat(X[:3], 10, axis=0), 3)]
)
def test_fewer_different_rows_than_clusters(rows, n_found):
    model = DeepEmbeddedClustering(5, autoencoder=small(max_epochs=1), max_epochs=1, random_state=0)
    with (
        pytest.warns(ConvergenceWarning, match="distinct clusters"),
        pytest.raises(ValueError, match=f"finds {n_found} clusters of the codes, and n_clusters=5"),
    ):
        model.fit(rows)


def test_far_from_zero():
    model = DeepEmbeddedClustering(3, autoencoder=small(), max_epochs=2, random_state=0)
    labels = clone(model).fit_predict(X + 1e6)
    assert_array_equal(labels, model.fit_predict(X))


# --------------------------------------------------------------------------- errors


def test_missing_values(model):
    bad = X.copy()
    bad[7, 1] = np.nan
    for autoencoder in (model.autoencoder, small(max_epochs=1)):
        with pytest.raises(ValueError, match="NaN: shard 1, row 7"):
            clone(model).set_params(autoencoder=autoencoder).fit([X, bad])
    model.fit(X)
    with pytest.raises(ValueError, match="NaN: shard 1, row 7"):
        model.predict([X, bad])


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"image_shape": (3, 3)}, ValueError, r"image_shape=\(3, 3\) has 9 numbers, but X has 6"),
        ({"augmentation": "affine"}, ValueError, "augmentation='affine' needs image_shape"),
        (
            {"device": "no such"},
            ValueError,
            r"device='no such' cannot be used .* Devices here: cpu",
        ),
        ({"optimizer": "madgrad"}, ImportError, "pip install madgrad"),
        ({"n_clusters": 0}, ValueError, "The 'n_clusters' parameter"),
        ({"tol": 1.5}, ValueError, "The 'tol' parameter"),
        ({"callbacks": "disable"}, ValueError, "The 'callbacks' parameter"),
    ],
)
def test_errors_come_before_the_autoencoder_is_trained(options, error, message, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "madgrad", None)
    monkeypatch.setattr(Autoencoder, "fit", lambda *a: pytest.fail("too late"))
    with pytest.raises(error, match=message):
        DeepEmbeddedClustering(**{"n_clusters": 3, "autoencoder": small(), **options}).fit(X)


def test_more_errors(model):
    with pytest.raises(NotFittedError):
        model.predict(X)
    with pytest.raises(NotFittedError):
        clone(model).set_params(autoencoder=FrozenEstimator(small())).fit(X)
    with pytest.raises(TypeError, match="holds a value of type KMeans"):
        clone(model).set_params(autoencoder=FrozenEstimator(KMeans())).fit(X)
    with pytest.raises(ValueError, match="5 features"):
        clone(model).fit(X[:, :5])
    with pytest.raises(ValueError, match="5 features"):
        model.fit(X).predict(X[:, :5])


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_loss_that_is_no_number(model, objective):
    model.set_params(objective=objective, learning_rate=1e30, optimizer="sgd", batch_size=300)
    with pytest.raises(
        ValueError, match=r"clusters stopped in epoch 2, .* learning rate of 1e\+30"
    ):
        model.fit(X)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_weights_before_it_are_kept(model, objective):
    class Break(skorch.callbacks.Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 2:
                with torch.no_grad():
                    net.module_.network.encoder[0].weight.fill_(torch.nan)

    shorter = clone(model).set_params(objective=objective, max_epochs=1).fit(X)
    model.set_params(objective=objective, callbacks=[Break()])
    with pytest.warns(ConvergenceWarning, match=r"weights of epoch 1 are kept"):
        model.fit(X)
    assert model.n_epochs_ == 1 and len(model.history_["train_loss"]) == 1
    assert_array_equal(model.transform(X), shorter.transform(X))


# --------------------------------------------------------------------------- with scikit-learn


def test_copies(fitted):
    expected = fitted.predict_proba(X)
    for copy in (deepcopy(fitted), pickle.loads(pickle.dumps(fitted))):
        assert_array_equal(copy.predict_proba(X), expected)
    copy.set_params(n_clusters=5, assignment="gaussian", alpha=9.0, autoencoder=None,
                    image_shape=(1, 6), objective="dcn", gamma=3.0)  # fmt: skip
    assert_array_equal(copy.predict_proba(X), expected)
    assert_array_equal(copy.predict(X), fitted.labels_)


def test_a_model_from_another_device(model, monkeypatch):
    """Its own `device` says where it predicts, not that of the autoencoder it was given."""
    model.fit(X)
    model.autoencoder_.set_params(device="cuda:7")
    assert_array_equal(model.predict(X), model.labels_)


def test_seeds():
    model = DeepEmbeddedClustering(3, autoencoder=small(random_state=None, max_epochs=2),
                                   max_epochs=1, random_state=0)  # fmt: skip
    codes = model.fit(X).transform(X)
    assert_array_equal(clone(model).fit(X).transform(X), codes)
    assert (clone(model).set_params(random_state=1).fit(X).transform(X) != codes).any()


def test_in_pipelines(model):
    model.set_params(autoencoder=small(max_epochs=5))
    pieces = np.array_split(X, 3)
    labels = make_pipeline(Shardwise(StandardScaler()), model).fit_predict(pieces)
    assert [len(part) for part in labels] == [100, 100, 100]
    assert make_pipeline(StandardScaler(), model).fit_predict(X).shape == (300,)


def test_searches(model):
    model.set_params(autoencoder=small(max_epochs=2), max_epochs=1)
    search = GridSearchCV(model, {"autoencoder__learning_rate": [1e-4, 1e-2]}, cv=2).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    model.set_params(autoencoder__net=AutoencoderNet())
    search = GridSearchCV(model, {"autoencoder__net__lr": [1e-4, 1e-2]}, cv=2).fit(X)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all() and scores[0] != scores[1]


def test_rows_that_a_start_leaves_out_get_the_nearest_cluster(monkeypatch):
    class Noisy(ClusterMixin, BaseEstimator):
        """Two clusters by the sign, and every fifth row noise."""

        def fit_predict(self, X, y=None):
            labels = np.where(X[:, 0] > 0, 7, 3)
            labels[::5] = -1
            return labels

    codes = np.random.default_rng(0).normal(np.repeat([-9, 9], 50)[:, None], 1.0, size=(100, 2))
    truth = np.repeat([0, 1], 50)
    rng = np.random.RandomState(0)
    assert_array_equal(_starts.start_labels(Noisy(), codes, 2, rng), truth)
    monkeypatch.setattr(_starts, "MOST_WITHOUT_PREDICT", 30)
    assert_array_equal(_starts.start_labels(Noisy(), codes, 2, rng), truth)


def test_noise_among_rows_that_a_start_predicts_gets_the_nearest_cluster(monkeypatch):
    truth = np.repeat([0, 1], 100)
    codes = np.random.default_rng(0).normal(np.repeat([9, -9], 100)[:, None], 1.0, size=(200, 2))
    codes[::10] += 0.4 * codes[::10]  # on the outer side
    mixture = DistributedGMM(noise="auto", random_state=0)
    monkeypatch.setattr(_starts, "MOST_ROWS", 150)
    labels = _starts.start_labels(mixture, codes, 2, np.random.RandomState(0))
    assert adjusted_rand_score(labels, truth) == 1.0
