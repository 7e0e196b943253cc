"""A function of rows, as it is mapped over them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["RowFunction"]


@dataclass(frozen=True)
class RowFunction:
    """A function from the rows of a block to one entry, or row, for each."""

    function: Callable  # of an array of shape (n_rows, n_features)
    n_features: int
    columns: tuple | None  # names seen in fit
    names: list[str]  # of what it gives
    empty: np.ndarray  # what it gives for no rows
    block_rows: int

    check = True  # for missing values

    def __call__(self, block):
        if block.X.shape[1] != self.n_features:
            raise ValueError(
                f"X has {block.X.shape[1]} features, but the model was fitted to "
                f"{self.n_features} features."
            )
        return self.function(block.X)
