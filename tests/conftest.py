"""Data, starts and a Dask cluster that several test modules share."""

import contextlib

import numpy as np
import pytest
from sklearn.datasets import load_iris

COVARIANCE_TYPES = ["full", "tied", "diag", "spherical"]
DIAGONAL_TYPES = ["EEI", "VEI", "EVI"]
MATRIX_TYPES = ["VEE", "EVE", "VVE", "EEV", "VEV", "EVV"]
PARSIMONIOUS_TYPES = ["EII", *DIAGONAL_TYPES, *MATRIX_TYPES]


@pytest.fixture(params=COVARIANCE_TYPES)
def covariance_type(request):
    return request.param


@pytest.fixture(params=COVARIANCE_TYPES + PARSIMONIOUS_TYPES)
def any_type(request):
    """The covariance types of scikit-learn, and the others."""
    return request.param


@pytest.fixture(scope="session")
def iris():
    return load_iris().data


def make_blobs(n_rows=3000, n_features=3, n_components=3, spread=3.0, seed=0):
    """Rows of a Gaussian mixture with full covariances, shuffled, and their labels."""
    rng = np.random.default_rng(seed)
    means = rng.normal(0, spread, (n_components, n_features))
    shapes = np.eye(n_features) + rng.normal(size=(n_components, n_features, n_features)) / np.sqrt(
        n_features
    )
    labels = rng.integers(0, n_components, n_rows)
    X = np.einsum("nij,nj->ni", shapes[labels], rng.normal(size=(n_rows, n_features)))
    return X + means[labels], labels


@pytest.fixture(scope="session")
def blobs():
    return make_blobs()


def start_of(X, n_components, covariance_type, seed=0):
    """Explicit starting parameters, the same for scikit-learn (if it has the type) and for us."""
    rng = np.random.default_rng(seed)
    covariance = np.cov(X.T, bias=True).reshape(X.shape[1], X.shape[1])
    precision = np.linalg.inv(covariance)
    if covariance_type == "tied":
        precisions = precision
    elif covariance_type in ("diag", *DIAGONAL_TYPES):
        precisions = np.tile(1 / np.diag(covariance), (n_components, 1))
    elif covariance_type in ("spherical", "EII"):
        precisions = np.full(n_components, len(covariance) / np.trace(covariance))
    else:
        precisions = np.stack([precision] * n_components)
    return {
        "weights_init": np.full(n_components, 1 / n_components),
        "means_init": X[rng.choice(len(X), n_components, replace=False)],
        "precisions_init": precisions,
    }


class CutIn:
    """Ways of cutting rows into shards; picklable, so ids and loky both like it."""

    ways = ("one", "two", "seven", "ragged", "with an empty one")

    @staticmethod
    def cut(X, way):
        n = len(X)
        bounds = {
            "one": [],
            "two": [n // 2],
            "seven": [n * i // 7 for i in range(1, 7)],
            "ragged": [3, 4, n // 3, n - 1],
            "with an empty one": [n // 2, n // 2],
        }[way]
        return np.split(X, bounds)


# ------------------------------------------------------------------ Dask


@pytest.fixture(scope="session")
def cluster():
    """Two processes of Dask, which all modules share: they take seconds to start."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    ) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def client(cluster):
    distributed = pytest.importorskip("distributed")
    with distributed.Client(cluster) as client:
        yield client


@pytest.fixture(params=["without a client", "on a cluster"])
def somewhere(request):
    """Runs a test in this process, then on the cluster."""
    client = request.getfixturevalue("client") if request.param == "on a cluster" else None
    # The module's client is the default of the whole process once it is there.
    with client.as_current() if client else no_client():
        yield request.param


@contextlib.contextmanager
def no_client():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skdistmix._shards._dask._found_client", lambda X: None)
        yield


# ------------------------------------------------------------------ torch


@pytest.fixture
def one_thread():
    """Networks of the tests are so small that threads would only wait for each other."""
    torch = pytest.importorskip("torch")
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)
