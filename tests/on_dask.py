"""What the test modules about Dask share beside the cluster (a fixture of conftest.py)."""

import warnings

import pytest
from conftest import make_blobs
from sklearn.exceptions import ConvergenceWarning

from skdistmix import DistributedGMM

da = pytest.importorskip("dask.array")

# Older releases of distributed warn when the tests "without a client" run beside the cluster.
quiet = pytest.mark.filterwarnings("ignore:Running on a single-machine scheduler:UserWarning")

X, LABELS = make_blobs(n_rows=6000)


def fit(Z, sample_weight=None, **kwargs):
    """A seeded fit of a fixed number of iterations."""
    kwargs = {"random_state": 3, "max_iter": 6, **kwargs}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return DistributedGMM(3, tol=0, **kwargs).fit(Z, sample_weight=sample_weight)


def array(values=X, rows=1700):
    return da.from_array(values, chunks=(rows, *values.shape[1:]))
