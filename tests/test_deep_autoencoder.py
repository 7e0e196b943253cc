"""Autoencoder: its networks, how they learn, and what scikit-learn may expect of it."""

import io
import pickle
from copy import deepcopy

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

torch = pytest.importorskip("torch")
skorch = pytest.importorskip("skorch")

from torch import nn  # noqa: E402

from skdistmix import DistributedGMM  # noqa: E402
from skdistmix.deep import Autoencoder, AutoencoderNet, _rows  # noqa: E402
from skdistmix.preprocessing import Shardwise  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def rows_of(n_rows=200, n_features=6, seed=0):
    """Rows near a plane, of three groups."""
    rng = np.random.default_rng(seed)
    plane = rng.normal(size=(2, n_features))
    places = rng.normal(0, 3, (3, 2))[rng.integers(0, 3, n_rows)] + rng.normal(size=(n_rows, 2))
    return places @ plane + 0.05 * rng.normal(size=(n_rows, n_features))


X = rows_of()


def small(**options):
    return Autoencoder(**{"hidden": [16], "n_components": 2, "max_epochs": 3, "random_state": 0,
                          **options})  # fmt: skip


@pytest.fixture(scope="module")
def fitted():
    return small(max_epochs=60).fit(X)


class OwnModule(nn.Module):
    def __init__(self, n_features=6, n_components=2):
        super().__init__()
        self.inward, self.outward = (
            nn.Linear(n_features, n_components),
            nn.Linear(n_components, n_features),
        )

    def encode(self, X):
        return self.inward(X)

    def decode(self, code):
        return self.outward(code)

    def forward(self, X):
        return self.decode(self.encode(X))


class OwnNet(skorch.NeuralNet):
    def get_loss(self, y_pred, y_true, X=None, training=False):
        return (y_pred - y_true).abs().mean()


# --------------------------------------------------------------------------- learning


def test_it_learns(fitted):
    assert fitted.n_epochs_ == 60 and fitted.history_["train_loss"].shape == (60,)
    assert fitted.history_["train_loss"][-1] < 0.3 * fitted.history_["train_loss"][0]
    rebuilt = fitted.inverse_transform(fitted.transform(X))
    assert_allclose(fitted.score(X), -((rebuilt - X) ** 2).mean(), rtol=1e-4)
    assert fitted.score(X) > -0.5 * X.var()


def test_scale(fitted):
    assert fitted.shift_ == X.min() and fitted.scale_ == X.max() - X.min()
    last = fitted.history_["train_loss"][-1]
    assert_allclose(last * fitted.scale_**2, -fitted.score(X), rtol=0.1)
    module = fitted.to_torch()
    scaled = torch.tensor((X - fitted.shift_) / fitted.scale_, dtype=torch.float32)
    with torch.no_grad():
        assert_allclose(module.encode(scaled), fitted.transform(X), rtol=1e-4, atol=1e-6)
    raw = small(rescale=False).fit(X)
    assert (raw.shift_, raw.scale_) == (0.0, 1.0)
    far = small().fit(X + 1e6)
    assert_allclose(far.transform(X + 1e6), small().fit(X).transform(X), atol=1e-4)


@pytest.mark.parametrize("kind", [np.float32, int, bool])
def test_types(kind):
    rows = (X > 0) if kind is bool else X.astype(kind)
    codes = small().fit(rows).transform(rows)
    assert codes.dtype == np.float32 and np.isfinite(codes).all()


@pytest.mark.parametrize("rows", [np.ones((20, 3)), X[:, :1], X[:1], np.repeat(X[:2], 9, axis=0)])
def test_few_values(rows):
    model = Autoencoder(max_epochs=2, random_state=0).fit(rows)
    assert model.n_components_ == rows.shape[1] and np.isfinite(model.score(rows))


def test_early_stopping_keeps_the_best_weights(monkeypatch):
    model = small(early_stopping=True, n_iter_no_change=3, max_epochs=60, learning_rate=0.1,
                  schedule="constant")  # fmt: skip
    model.fit(X)
    losses = model.history_["valid_loss"]
    best = losses.argmin()
    assert best < len(losses) - 1, "this test needs a loss that rises"
    assert len(losses) == model.n_epochs_ == len(model.history_["train_loss"])
    assert model.n_epochs_ == best + 4 or model.n_epochs_ == 60
    shorter = clone(model).set_params(max_epochs=int(best) + 1).fit(X)
    assert_array_equal(shorter.transform(X), model.transform(X))


def test_rows_that_are_held_out(monkeypatch):
    """They are the same however rows come, and no step sees them."""
    seen = []
    monkeypatch.setattr(
        OwnNet, "train_step", lambda self, batch, **k: (seen.append(batch[0].numpy()),
        super(OwnNet, self).train_step(batch, **k))[1])  # fmt: skip
    net = OwnNet(OwnModule(), criterion=nn.MSELoss, max_epochs=1, lr=0.01)
    options = {"net": net, "early_stopping": True, "validation_fraction": 0.25}
    for rows in (X, np.array_split(X, 3)):
        small(**options).fit(rows)
    first, second = np.concatenate(seen[: len(seen) // 2]), np.concatenate(seen[len(seen) // 2 :])
    assert len(first) == 150 and len(np.unique(first, axis=0)) == 150
    assert_array_equal(first, second)
    with pytest.raises(ValueError, match="early_stopping holds out 1 of 1 rows"):
        small(early_stopping=True).fit(X[:1])


def test_layers_learn_one_by_one(monkeypatch):
    from skdistmix.deep import _pretraining

    trained = []

    def noted(net, rows, n_epochs, after, what):
        before = deepcopy(net.module_.state_dict())
        done = train(net, rows, n_epochs, after, what)
        after = net.module_.state_dict()
        losses = net.history[:, "train_loss"]
        trained.append((what, n_epochs, losses[0], losses[-1]))
        assert all((before[name] != after[name]).any() for name in before)
        return done

    train = _pretraining.train
    monkeypatch.setattr(_pretraining, "train", noted)
    options = {"hidden": [12, 10], "max_epochs": 40, "corruption": 0.1}
    model = small(pretraining="layerwise", **options).fit(X)
    assert [what[-7:] for what, *_ in trained] == ["layer 1", "layer 2", "layer 3", "encoder"]
    assert [n for _, n, *_ in trained] == [8, 8, 8, 40]
    assert all(last < first for _, _, first, last in trained)
    plain = small(**options).fit(X)
    assert model.history_["train_loss"][0] < plain.history_["train_loss"][0]


def test_corruption():
    """Some numbers are zero, what they are rebuilt to is whole."""
    from skdistmix.deep._pretraining import _changed

    torch.manual_seed(0)
    rows = torch.rand(1000, 20) + 1
    corrupted, target = _changed(rows, None, 0.3, None)
    assert target is rows
    assert_allclose((corrupted == 0).float().mean(), 0.3, atol=0.01)
    kept = corrupted != 0
    assert_allclose(corrupted[kept], (rows / 0.7)[kept], rtol=1e-5)
    corrupted, target = _changed(rows, None, 0.0, lambda rows: rows + 1)
    assert corrupted is target and bool((target == rows + 1).all())


def test_the_rate_falls_along_a_cosine():
    rates = []

    class Note(skorch.callbacks.Callback):
        def on_epoch_end(self, net, **kwargs):
            rates.append(net.optimizer_.param_groups[0]["lr"])

    net = AutoencoderNet(callbacks=[Note()])
    small(net=net, max_epochs=10, learning_rate=0.01, schedule="cosine").fit(X)
    assert_allclose(rates[-1], 0.01 / 50, rtol=1e-6)
    expected = 2e-4 + (0.01 - 2e-4) * (1 + np.cos(np.pi * np.arange(1, 11) / 10)) / 2
    assert_allclose(rates, expected, rtol=1e-6)
    rates.clear()
    small(net=net, max_epochs=2, schedule="constant").fit(X)
    small(net=net, max_epochs=2).fit(X)  # "auto", which falls with augmentation only
    assert rates == [1e-3] * 4
    rates.clear()
    small(net=net, max_epochs=2, augmentation=lambda rows, image_shape: rows).fit(X)
    assert_allclose(rates[-1], 2e-5, rtol=1e-6)


# --------------------------------------------------------------------------- nets


def test_a_module_of_ones_own():
    module = OwnModule()
    before = deepcopy(module.state_dict())
    model = small(network=module).fit(X)
    assert_array_equal(model.transform(X), small(network=module).fit(X).transform(X))
    assert all((module.state_dict()[name] == before[name]).all() for name in before)
    trained = model.to_torch().state_dict()
    assert all((trained[name] != before[name]).any() for name in before)


@pytest.mark.parametrize(
    "net, n_components, n_epochs",
    [
        (AutoencoderNet(), 2, 3),
        (AutoencoderNet(callbacks="disable"), 2, 3),
        (AutoencoderNet(callbacks__print_log=None, optimizer__weight_decay=0.1), 2, 3),
        (AutoencoderNet(OwnModule, module__n_components=3), 3, 3),
        (AutoencoderNet(OwnModule, module__n_components=3, max_epochs=2,
                        optimizer__betas=(0.8, 0.9)), 3, 2),
        (OwnNet(OwnModule(), criterion=nn.MSELoss, max_epochs=2), 2, 2),
        (OwnNet(OwnModule, module__n_components=4, criterion=nn.MSELoss, max_epochs=2,
                optimizer=torch.optim.Adam, batch_size=-1), 4, 2),
    ],
)  # fmt: skip
def test_nets(net, n_components, n_epochs):
    model = small(net=net).fit(X)
    assert (model.n_components_, model.n_epochs_) == (n_components, n_epochs)
    again = clone(model).fit(X)
    assert_array_equal(again.transform(X), model.transform(X))
    assert not net.initialized_
    assert_array_equal(pickle.loads(pickle.dumps(model)).transform(X), model.transform(X))


def test_settings_of_a_net_come_first():
    found = {}

    class Note(skorch.callbacks.Callback):
        def on_train_begin(self, net, **kwargs):
            group = net.optimizer_.param_groups[0]
            found.update(lr=group["lr"], decay=group["weight_decay"], size=net.batch_size)

    options = {"schedule": "constant", "batch_size": 32, "learning_rate": 0.5, "optimizer": "sgd"}
    small(net=AutoencoderNet(lr=0.01, optimizer__weight_decay=0.2, callbacks=[Note()]),
          **options).fit(X)  # fmt: skip
    assert found == {"lr": 0.01, "decay": 0.2, "size": 32}
    small(net=AutoencoderNet(batch_size=50, callbacks=[Note()]), **options).fit(X)
    assert found == {"lr": 0.5, "decay": 0, "size": 50}


def test_a_callback_that_stops_training():
    stop = skorch.callbacks.EarlyStopping("train_loss", patience=1, threshold=10.0)
    model = small(net=AutoencoderNet(callbacks=[stop]), max_epochs=9).fit(X)
    assert model.n_epochs_ == 2 and len(model.history_["train_loss"]) == 2


def test_interruptions_reach_the_user():
    class Press(skorch.callbacks.Callback):
        def on_batch_end(self, net, **kwargs):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small(net=AutoencoderNet(callbacks=[Press()])).fit(X)


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"image_shape": (2, 2)}, ValueError, r"image_shape=\(2, 2\) has 4 numbers, but X has 6"),
        ({"image_shape": (2, 3, 1, 1)}, ValueError, r"must be \(height, width\)"),
        ({"network": "conv"}, ValueError, "network='conv' needs image_shape"),
        ({"augmentation": "affine"}, ValueError, "augmentation='affine' needs image_shape"),
        ({"image_shape": (2, 3), "pretraining": "layerwise"}, ValueError, "network='dense'"),
        ({"hidden": [3, 0.5]}, ValueError, "hidden must hold positive integers"),
        ({"device": "no such"}, ValueError, "device='no such' cannot be used .* Devices here: cpu"),
        ({"network": nn.Linear(6, 2)}, TypeError, r"Linear must have methods encode\(X\)"),
        ({"network": OwnModule(5)}, ValueError, "OwnModule cannot encode rows of 6 columns"),
        ({"corruption": 1.0}, ValueError, "The 'corruption' parameter"),
        ({"net": "adam"}, ValueError, "The 'net' parameter"),
    ],
)
def test_errors(options, error, message):
    with pytest.raises(error, match=message):
        small(**options).fit(X)


def test_a_gpu_that_is_not_there():
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ValueError, match=r"device='cuda' cannot be used .* Devices here: cpu"):
        small(device="cuda").fit(X)


def test_madgrad_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "madgrad", None)
    with pytest.raises(ImportError, match="pip install madgrad"):
        small(optimizer="madgrad").fit(X)


def test_more_errors(fitted):
    with pytest.raises(NotFittedError):
        small().transform(X)
    with pytest.raises(ValueError, match="X has 3 columns, but codes have 2"):
        fitted.inverse_transform(np.ones((4, 3)))
    bad = X.copy()
    bad[7, 1] = np.nan
    for method in (small().fit, fitted.transform, fitted.score):
        with pytest.raises(ValueError, match="NaN: shard 1, row 7"):
            method([X, bad])


def test_a_loss_that_is_no_number():
    with pytest.raises(ValueError, match=r"stopped in epoch 1, .* learning rate of 1e\+06\. Use"):
        small(learning_rate=1e6, max_epochs=9).fit(X)
    # the last step of an epoch can end it all, unseen by its loss
    with pytest.raises(ValueError, match="stopped in epoch 2"):
        small(learning_rate=1e30, batch_size=1000).fit(X)

    class Break(skorch.callbacks.Callback):
        def on_epoch_begin(self, net, **kwargs):
            if len(net.history) == 3:
                with torch.no_grad():
                    net.module_.encoder[0].weight.fill_(torch.nan)

    net = AutoencoderNet(callbacks=[Break()])
    with pytest.warns(ConvergenceWarning, match="in epoch 3, .*weights of epoch 2 are kept"):
        model = small(net=net, max_epochs=9, schedule="constant").fit(X)
    assert model.n_epochs_ == 2 and len(model.history_["train_loss"]) == 2
    expected = small(max_epochs=2, schedule="constant").fit(X)
    assert_array_equal(model.transform(X), expected.transform(X))


# --------------------------------------------------------------------------- with scikit-learn


def test_seeds():
    first = small().fit(X).transform(X)
    assert_array_equal(small().fit(X).transform(X), first)
    assert (small(random_state=1).fit(X).transform(X) != first).any()
    assert (small(random_state=None).fit(X).transform(X) != first).any()


@pytest.mark.parametrize("options", [{}, {"image_shape": (2, 3)}])
def test_one_row_is_encoded_as_among_others(options):
    model = small(max_epochs=1, **options).fit(X)
    codes = model.transform(X)
    for i in (0, 7, 63, 199):
        assert_array_equal(model.transform(X[i : i + 1])[0], codes[i])
    order = np.random.default_rng(0).permutation(len(X))
    assert_array_equal(model.transform(X[order]), codes[order])


def test_copies(fitted):
    codes = fitted.transform(X)
    file = io.BytesIO()
    joblib.dump(fitted, file)
    file.seek(0)
    for copy in (deepcopy(fitted), pickle.loads(pickle.dumps(fitted)), joblib.load(file)):
        assert_array_equal(copy.transform(X), codes)
    copy.set_params(hidden=[3], n_components=5, rescale=False, max_epochs=1)
    assert_array_equal(copy.transform(X), codes)
    assert all(value.device.type == "cpu" for value in fitted.state_dict_.values())


def test_lists(fitted):
    codes = fitted.transform(np.array_split(X, 3))
    assert_array_equal(np.concatenate(codes), fitted.transform(X))
    rows = fitted.inverse_transform(codes)
    assert [len(part) for part in rows] == [67, 67, 66]
    assert_array_equal(np.concatenate(rows), fitted.inverse_transform(fitted.transform(X)))


def test_in_pipelines():
    pieces = np.array_split(X, 3)
    pipe = make_pipeline(Shardwise(StandardScaler()), small(), DistributedGMM(3, random_state=0))
    labels = pipe.fit(pieces).predict(pieces)
    assert [len(part) for part in labels] == [67, 67, 66]
    whole = make_pipeline(StandardScaler(), small(), DistributedGMM(3, random_state=0))
    assert whole.fit_predict(X).shape == (200,)
    assert list(whole[:-1].get_feature_names_out()) == ["autoencoder0", "autoencoder1"]


def test_searches():
    search = GridSearchCV(small(), {"learning_rate": [1e-4, 1e-2]}, cv=2).fit(X)
    assert search.best_params_ == {"learning_rate": 1e-2}
    model = small(net=AutoencoderNet())
    assert GridSearchCV(model, {"net__lr": [1e-4, 1e-2]}, cv=2).fit(X).best_params_ == {
        "net__lr": 1e-2
    }


def test_lines_of_epochs(capsys):
    small(verbose=1).fit(X)
    printed = capsys.readouterr().out
    assert "train_loss" in printed and len(printed.splitlines()) == 5
    small().fit(X)
    assert capsys.readouterr().out == ""


def test_streamed_rows_learn_as_well(monkeypatch):
    held = small(max_epochs=20).fit(X)
    monkeypatch.setattr(_rows, "IN_MEMORY", 0)
    monkeypatch.setattr(_rows, "CHUNK", 8 * 6 * 17)
    streamed = small(max_epochs=20).fit(X)
    assert_allclose(streamed.score(X), held.score(X), rtol=0.3)
    stopped = small(early_stopping=True).fit(np.array_split(X, 3))
    assert np.isfinite(stopped.history_["valid_loss"]).all()


def test_precision():
    model = small(precision="bfloat16", max_epochs=20).fit(X)
    assert {value.dtype for value in model.state_dict_.values()} == {torch.float32}
    assert_allclose(model.score(X), small(precision="float32", max_epochs=20).fit(X).score(X),
                    rtol=0.2)  # fmt: skip
