"""From what a user gives to shards: arrays, frames, lists, paths and globs."""

from __future__ import annotations

import glob
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
from sklearn.utils.validation import check_array

from ._shard import ArrayShard, FrameShard, NpyShard, Shard, Shards

__all__ = ["as_shards", "cut_rows", "is_frame", "is_sharded", "refuse_unusable"]


def as_shards(X, n_shards: int | None = None) -> Shards:
    """See data as a sequence of shards, without copying or reading rows.

    Parameters
    ----------
    X : array-like, DataFrame, str, path, list or tuple of these, or Shards
        A 2-D array, memmap or DataFrame is cut into row ranges. In a list or tuple whose elements
        are 2-D arrays, DataFrames, paths of ``.npy`` files or shards, each element is one shard.
        A path or a glob pattern (``"data/part-*.npy"``) gives one shard a file, in natural order
        of the names. Nested plain lists are ordinary array-like input.
    n_shards : int, optional
        Number of row ranges an array is cut into; by default one per 1,000 rows, at least 1 and
        at most 8. Data that come in pieces are not cut again.

    Returns
    -------
    Shards

    Raises
    ------
    ValueError
        If nothing matches a path, a file is truncated or not a 2-D array, shards differ in their
        columns, or `n_shards` contradicts data in pieces.
    TypeError
        If an element is of no known kind.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistmix import as_shards
    >>> as_shards(np.zeros((5000, 3)))
    Shards(5 shards, 5000 rows, 3 features)
    >>> as_shards([np.zeros((10, 2)), np.zeros((7, 2))]).sizes
    [10, 7]
    """
    if n_shards is not None and (not isinstance(n_shards, (int, np.integer)) or n_shards < 1):
        raise ValueError(
            f"n_shards must be None or a whole number of at least 1, got {n_shards!r}."
        )
    refuse_unusable(X)
    if is_sharded(X):
        shards = X if isinstance(X, Shards) else _from_pieces(X)
        if n_shards is not None and n_shards != len(shards):
            raise ValueError(
                f"n_shards={n_shards}, but X comes in {len(shards)} pieces, which are not cut "
                "again. Leave n_shards=None for data in pieces."
            )
        return shards
    if not is_frame(X):
        X = check_array(X, dtype="numeric", ensure_all_finite=False)
    n_rows = X.shape[0]
    if n_shards is None:
        n_shards = max(1, min(8, n_rows // 1000))
    return cut_rows(X, n_shards)


def cut_rows(X, n_shards: int) -> Shards:
    """An array or DataFrame as `n_shards` contiguous row ranges of nearly equal size (views)."""
    bounds = np.linspace(0, X.shape[0], n_shards + 1).astype(int)
    if n_shards == 1:
        return Shards([_one_shard(X, "the data")])
    pieces = X.iloc if hasattr(X, "iloc") else X
    return Shards(
        [
            _one_shard(pieces[a:b], f"shard {i} (rows {a} to {b - 1})")
            for i, (a, b) in enumerate(pairwise(bounds))
        ]
    )


def is_sharded(X) -> bool:
    """Whether X comes in pieces: Shards, a path or glob, or a list of 2-D arrays, frames, paths."""
    if isinstance(X, (Shards, Shard, str, os.PathLike)):
        return True
    if not isinstance(X, (list, tuple)) or len(X) == 0:
        return False
    return any(isinstance(x, (Shard, str, os.PathLike)) or _is_2d(x) for x in X)


def is_frame(X) -> bool:
    """Whether X is a DataFrame of pandas, polars or the like, held in memory."""
    if not all(hasattr(X, name) for name in ("__getitem__", "shape", "iloc")):
        return type(X).__name__ == "DataFrame" and hasattr(X, "columns") and hasattr(X, "shape")
    return hasattr(X, "columns")


def refuse_unusable(X) -> None:
    """One clear error for what is neither an array nor a sequence of shards."""
    once = isinstance(X, (dict, set, bytes, bytearray, Iterator)) and not hasattr(X, "shape")
    if once or type(X).__name__ == "LazyFrame":
        raise TypeError(
            f"X is a {type(X).__name__}, which has no rows or can be read only once. Give an "
            "array, a DataFrame, a path or glob of .npy files, or a list of these (one element a "
            "shard); for a generator list(X), for a LazyFrame X.collect()."
        )


def _is_2d(x) -> bool:
    return is_frame(x) or (hasattr(x, "dtype") and getattr(x, "ndim", 0) == 2)


def _from_pieces(X) -> Shards:
    pieces = [X] if isinstance(X, (Shard, str, os.PathLike)) else list(X)
    expanded = []
    for piece in pieces:
        expanded.extend(_expand(piece) if isinstance(piece, (str, os.PathLike)) else [piece])
    # A shard that a search has picked keeps the name it had, so messages stay true.
    shards = [
        piece if isinstance(piece, Shard) else _one_shard(piece, f"shard {i}")
        for i, piece in enumerate(expanded)
    ]
    return Shards(_agree(shards))


def _expand(path) -> list[str]:
    """The files a path or glob stands for, in natural order (part-2 before part-10)."""
    path = os.fspath(path)
    if not glob.has_magic(path) or os.path.exists(path):
        return [path]
    found = [p for p in glob.glob(path, recursive=True) if os.path.isfile(p)]
    if not found:
        raise ValueError(
            f"No file matches {path!r} (working directory {os.getcwd()!r}). "
            "Check the pattern, or give a list of paths."
        )
    return sorted(
        found, key=lambda p: [int(t) if t.isdigit() else t for t in re.split(r"(\d+)", p)]
    )


def _one_shard(piece, name: str) -> Shard:
    if isinstance(piece, str):
        return _npy_shard(piece, f"{name} ({piece})")
    if is_frame(piece):
        columns = tuple(piece.columns)
        return FrameShard(piece.shape[0], piece.shape[1], name, columns, frame=piece)
    if not _is_2d(piece):
        shape = getattr(piece, "shape", "")
        raise ValueError(
            f"{name} is a {type(piece).__name__} {shape}: each element of a list of shards must be "
            "a 2-D array, a DataFrame, a path of a .npy file or a shard."
        )
    if hasattr(piece, "toarray") or np.asarray(piece).dtype.kind not in "fiub":
        try:
            piece = check_array(
                piece, dtype="numeric", ensure_all_finite=False, ensure_min_samples=0
            )
        except (ValueError, TypeError) as error:
            raise type(error)(f"{name}: {error}") from error
    array = np.asarray(piece)
    if array.shape[1] == 0:
        raise ValueError(f"{name} has 0 feature(s) (shape={array.shape}): at least 1 is required.")
    return ArrayShard(array.shape[0], array.shape[1], name, None, array=array)


def _npy_shard(path: str, name: str) -> Shard:
    if not path.endswith(".npy"):
        what = "is a folder" if os.path.isdir(path) else "does not end in .npy"
        raise ValueError(
            f"{name}: the path {what}. Give .npy files or a pattern such as 'folder/*.npy'."
        )
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise ValueError(
            f"{name}: there is no such file (working directory {os.getcwd()!r})."
        ) from None
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(
            f"{name} cannot be read as a .npy file: {error}. It may be truncated or hold Python "
            "objects; write it again with numpy.save from a numeric array."
        ) from error
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        raise ValueError(
            f"{name} holds an array of shape {array.shape} and dtype {array.dtype}: expected a 2-D "
            "numeric array (rows, features)."
        )
    return NpyShard(array.shape[0], array.shape[1], name, None, path=os.path.abspath(path))


def _agree(shards: list[Shard]) -> list[Shard]:
    """Check that shards have the same columns, and bring frames to the first one's order."""
    if not shards:
        raise ValueError("X is an empty list: at least one shard is required.")
    first = shards[0]
    named = next((shard for shard in shards if shard.columns is not None), None)
    reordered = []
    for i, shard in enumerate(shards):
        if shard.columns is not None:
            if set(shard.columns) != set(named.columns):
                missing = sorted(map(str, set(named.columns) - set(shard.columns)))
                extra = sorted(map(str, set(shard.columns) - set(named.columns)))
                raise ValueError(
                    f"{shard.name} has other columns than {named.name}: missing {missing}, "
                    f"unexpected {extra}. All shards must have the same columns."
                )
            if shard.columns != named.columns:
                shards[i] = replace(shard, columns=named.columns)
                reordered.append(shard.name)
        if shard.n_features != first.n_features:
            raise ValueError(
                f"{shard.name} has {shard.n_features} features, {first.name} has "
                f"{first.n_features}: all shards must have the same number of columns."
            )
    if reordered:
        more = f" and {len(reordered) - 3} more" if len(reordered) > 3 else ""
        warnings.warn(
            f"The columns of {', '.join(reordered[:3])}{more} are in another order than those of "
            f"{named.name}; they are read in the order of {named.name}.",
            UserWarning,
            stacklevel=4,
        )
    return shards
