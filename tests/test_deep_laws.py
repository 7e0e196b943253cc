"""The laws of the package for estimators with a network."""

import pickle
from multiprocessing.pool import ThreadPool

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone

torch = pytest.importorskip("torch")
pytest.importorskip("skorch")

from conftest import CutIn, make_blobs  # noqa: E402

from skdistmix.deep import Autoencoder, DeepEmbeddedClustering, ImageAugmentation  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

X, _ = make_blobs(150, 6, 3, spread=5.0)
AUTOENCODER = Autoencoder(hidden=[16], n_components=2, max_epochs=2, random_state=0)
ESTIMATORS = [
    AUTOENCODER,
    Autoencoder(
        hidden=[16], pretraining="layerwise", corruption=0.2, early_stopping=True, max_epochs=5,
        random_state=0,
    ),
    Autoencoder(image_shape=(2, 3), augmentation="affine", max_epochs=2, random_state=0),
    *(
        DeepEmbeddedClustering(
            3, autoencoder=AUTOENCODER, objective=objective, max_epochs=2, tol=0, random_state=0
        )
        for objective in ("idec", "dec", "dcn", "dekm")
    ),
]  # fmt: skip
IDS = ["plain", "layers", "images", "idec", "dec", "dcn", "dekm"]

each = pytest.mark.parametrize("estimator", ESTIMATORS, ids=IDS)


@each
def test_any_split_gives_the_same_bits(estimator):
    """Rows in memory are one sequence, whatever shards they came in."""
    codes = clone(estimator).fit(X).transform(X)
    for way in CutIn.ways:
        pieces = CutIn.cut(X, way)
        model = clone(estimator).fit(pieces)
        assert_array_equal(model.transform(X), codes, err_msg=way)
        parts = model.transform(pieces)
        assert [len(part) for part in parts] == [len(piece) for piece in pieces]
        assert_array_equal(np.concatenate(parts), codes, err_msg=way)


@each
def test_global_state_is_left_alone(estimator):
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    generator, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    n_threads, grad = torch.get_num_threads(), torch.is_grad_enabled()
    model = clone(estimator).fit(X)
    model.transform(X)
    assert bool((torch.get_rng_state() == generator).all())
    assert_array_equal(np.random.get_state()[1], legacy)  # noqa: NPY002
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == (n_threads, grad)
    torch.manual_seed(4)
    np.random.seed(4)  # noqa: NPY002
    assert_array_equal(clone(estimator).fit(X).transform(X), model.transform(X))


@each
def test_fits_in_threads_are_those_of_one_after_the_other(estimator):
    seeds = range(4)
    models = [clone(estimator).set_params(random_state=seed) for seed in seeds]
    expected = [clone(model).fit(X).transform(X) for model in models]
    with ThreadPool(4) as pool:
        fitted = pool.map(lambda model: model.fit(X), models)
    for model, codes in zip(fitted, expected, strict=True):
        assert_array_equal(model.transform(X), codes)
    with ThreadPool(1) as pool:  # a thread that has not fitted anything
        assert_array_equal(pool.apply(fitted[0].transform, (X,)), expected[0])


@each
def test_fitting_again_forgets(estimator):
    model = clone(estimator).fit(X[:, ::-1] + 3).fit(X)
    assert_array_equal(model.transform(X), clone(estimator).fit(X).transform(X))


@each
def test_pickles_and_parameters(estimator):
    model = clone(estimator).fit(X)
    back = pickle.loads(pickle.dumps(model))
    assert_array_equal(back.transform(X), model.transform(X))
    again = clone(back).fit(X)
    assert_array_equal(again.transform(X), model.transform(X))
    assert clone(model).get_params().keys() == estimator.get_params().keys()


@each
def test_rows_stay_as_they_are(estimator):
    rows = X.copy()
    rows.flags.writeable = False
    clone(estimator).fit(rows).transform(rows)
    assert_array_equal(rows, X)


def test_parameters_of_augmentation():
    augmentation = ImageAugmentation(rotation=5.0)
    assert clone(augmentation).get_params() == {"rotation": 5.0, "shift": 0.1}
    model = Autoencoder(image_shape=(2, 3), augmentation=augmentation)
    assert clone(model).fit(X[:20]).n_components_ == 6
