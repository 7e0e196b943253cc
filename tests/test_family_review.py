"""What strangers met when they wrote families of their own."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from poisson import PoissonFamily, make_counts
from sklearn.exceptions import ConvergenceWarning

from skdistmix import DistributedMixture


@pytest.fixture(scope="module")
def X():
    return make_counts(300)[0]


def fitted(X, family, n_components=3, **options):
    mixture = DistributedMixture(n_components, family=family, random_state=0, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(X)


# ------------------------------------------------------------------ rows


class Doubling(PoissonFamily):
    """A bug: rows are changed in place."""

    def log_density(self, X, params):
        X *= 2
        return super().log_density(X, params)


def test_a_family_cannot_change_the_rows_of_its_user(X):
    rows = X.copy()
    with pytest.raises(ValueError, match="read-only"):
        fitted(rows, Doubling())
    assert_array_equal(rows, X)


def test_streams_are_averaged_with_sums(X):
    mixture = DistributedMixture(3, family=PoissonFamily(), average=True, random_state=0)
    for batch in np.array_split(X, 3):
        mixture.partial_fit(batch)
    assert np.isfinite(mixture.score(X))


def test_later_batches_are_checked_as_the_first(X):
    mixture = DistributedMixture(3, family=PoissonFamily(), random_state=0).partial_fit(X)
    with pytest.raises(ValueError, match=r"Columns \[0, 1, 2\] have values below 0"):
        mixture.partial_fit(-X)
