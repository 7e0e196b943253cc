"""What estimators do first with their input: see it as shards, note or check its features."""

from __future__ import annotations

import sys

import numpy as np
from sklearn.utils.validation import validate_data

from ._arrays import is_foreign
from ._shards import (
    FrameShard,
    Shards,
    as_shards,
    cut_rows,
    default_n_shards,
    is_array,
    is_collection,
    is_frame,
    is_sharded,
    is_zarr,
    refuse_unusable,
)

__all__ = ["described", "validated_columns", "validated_shards"]


def validated_shards(
    estimator, X, *, reset: bool, n_shards: int | None = None, min_rows=1, cut=False, on_host=False
) -> Shards:
    """X as shards, with the number (and names) of features noted or checked on the estimator.

    Rows are not read here; they are checked as they are read. One array is one shard if no number
    is asked for, or with `cut` as many as :func:`as_shards` makes of it. With `on_host` blocks are
    arrays of NumPy whatever `device` the estimator has.
    """
    refuse_unusable(X)
    if is_sharded(X):
        shards = as_shards(X, n_shards)
        validate_data(estimator, _one_row_of(shards), reset=reset, skip_check_array=True)
    elif is_zarr(X) or is_foreign(X):
        shards = cut_rows(X, n_shards or (default_n_shards(X.shape[0]) if cut else 1))
        validate_data(estimator, _one_row_of(shards), reset=reset, skip_check_array=True)
    elif is_frame(X):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        shards = cut_rows(X, n_shards or (default_n_shards(X.shape[0]) if cut else 1))
    else:
        X = validate_data(
            estimator,
            X,
            reset=reset,
            dtype="numeric",
            ensure_all_finite=False,
            ensure_min_samples=min_rows,
        )
        shards = cut_rows(X, n_shards or (default_n_shards(X.shape[0]) if cut else 1))
    if on_host or not hasattr(estimator, "device"):
        shards = shards.on_host()  # what it does with rows, it does in NumPy
    elif estimator.device is not None and (reset or shards[0].library != "numpy"):
        shards = shards.computed_on(estimator.device)
    if shards.n_rows < min_rows:
        raise ValueError(
            f"Found array with {shards.n_rows} sample(s) in {len(shards)} shard(s) while a minimum "
            f"of {min_rows} is required by {type(estimator).__name__}."
        )
    return shards


def validated_columns(estimator, X) -> None:
    """Check the columns of a Dask collection without reading a row; see :func:`lazy_rows`."""
    if not is_collection(X):
        return  # a delayed value shows its columns only where it is computed
    if X.ndim != 2:
        raise ValueError(f"Expected 2D array, got {X.ndim}D Dask {type(X).__name__} instead.")
    described = np.empty((1, X.shape[1])) if is_array(X) else X._meta
    validate_data(estimator, described, reset=False, skip_check_array=True)


def described(value) -> str:
    """What something is, in a message that expected something else."""
    if isinstance(value, str):
        return f"the string {value[:50]!r}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return f"a value of type {type(value).__name__}"


def _one_row_of(shards: Shards):
    """Something with the columns of the shards, in the order they are read, and few rows."""
    frame = next((shard for shard in shards if isinstance(shard, FrameShard)), None)
    if frame is not None:
        same = tuple(frame.frame.columns) == frame.columns
        return frame.frame if same else frame.frame[list(frame.columns)]
    if shards.columns is not None and all(isinstance(c, str) for c in shards.columns):
        # Whatever gave the shards their names has brought one of these.
        if pyarrow := sys.modules.get("pyarrow"):
            return pyarrow.table({c: pyarrow.array([0.0]) for c in shards.columns})
        if pandas := sys.modules.get("pandas"):
            return pandas.DataFrame({c: [0.0] for c in shards.columns})
    return np.empty((1, shards.n_features))
