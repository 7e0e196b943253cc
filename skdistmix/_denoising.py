"""Linear denoising layers in closed form: sums over rows, the solution, the coding of rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

__all__ = ["Encoder", "Layer", "SecondMoments", "denoising_layer", "second_moments"]


@dataclass(frozen=True)
class Layer:
    """One layer: tanh of a linear map of the rows."""

    coef: np.ndarray  # (n_features, n_features), from column i to column j
    intercept: np.ndarray  # (n_features,)

    def __call__(self, X: np.ndarray) -> np.ndarray:
        Z = X @ self.coef
        Z += self.intercept
        return np.tanh(Z, out=Z)


@dataclass(frozen=True)
class SecondMoments:
    """Sums of z z' over rows, z being a row with a one at its end; adding two gives those of all.

    Attributes
    ----------
    weight : float
        Sum of row weights.
    products : ndarray of shape (n_features + 1, n_features + 1)
    """

    weight: float
    products: np.ndarray

    def __add__(self, other: SecondMoments) -> SecondMoments:
        return SecondMoments(self.weight + other.weight, self.products + other.products)


def second_moments(blocks: Iterable, layers: tuple[Layer, ...]) -> SecondMoments | None:
    """Sums over the rows of blocks, as they are after some layers."""
    total = None
    for block in blocks:
        Z = block.X.astype(np.float64, copy=False)
        for layer in layers:
            Z = layer(Z)
        Z = np.column_stack([Z, np.ones(len(Z))])
        weight = float(len(Z))
        if block.weight is not None:
            weight = float(block.weight.sum())
            Z *= np.sqrt(block.weight)[:, None]
        with np.errstate(over="ignore", invalid="ignore"):  # denoising_layer says what is wrong
            part = SecondMoments(weight, Z.T @ Z)  # half the work: BLAS sees the symmetry
        total = part if total is None else total + part
    return total


def denoising_layer(moments: SecondMoments, corruption: float, reg: float) -> Layer:
    """The linear map that best restores rows of which each number was erased with a probability.

    Minimises the expected squared error over all corruptions at once: W = E[P] E[Q]^-1 (Chen et
    al. 2012, equation 5).

    Parameters
    ----------
    moments : SecondMoments
    corruption : float
        Probability that a number is set to zero; the one at the end of a row never is.
    reg : float
        Ridge, as a share of the mean square of each column.

    Raises
    ------
    ValueError
        If squares of the values leave the range of floating-point numbers.
    """
    S = moments.products / moments.weight
    if not np.isfinite(S).all():
        raise ValueError(
            "Squares of the values of X leave the range of floating-point numbers. Scale the "
            "columns first, for example with Shardwise(MaxAbsScaler())."
        )
    # In units of the columns the system is well conditioned: its eigenvalues are at least
    # corruption * (1 - corruption), but for the constant.
    scale = np.sqrt(np.diag(S))
    empty = scale == 0
    scale[empty] = 1.0
    S = S / scale / scale[:, None]
    kept = np.full(len(S), 1 - corruption)
    kept[-1] = 1.0
    P = S[:-1] * kept  # (n_features, n_features + 1)
    Q = S * np.outer(kept, kept)
    diagonal = np.diag(S) * kept
    diagonal[:-1] += reg
    diagonal[empty] = 1.0  # columns of zeros: they give nothing and are given nothing
    np.fill_diagonal(Q, diagonal)
    W = cho_solve(cho_factor(Q, overwrite_a=True), P.T, overwrite_b=False)
    W *= scale[:-1] / scale[:, None]  # (n_features + 1, n_features)
    return Layer(W[:-1].copy(), W[-1].copy())


@dataclass(frozen=True)
class Encoder:
    """Layers one after the other, as a function of rows.

    Attributes
    ----------
    layers : tuple of Layer
    every : bool
        Whether the outputs of all layers are given, side by side, or those of the last one.
    """

    layers: tuple[Layer, ...]
    every: bool

    def __call__(self, block) -> np.ndarray:
        return self.encode(block.X)

    def encode(self, X: np.ndarray) -> np.ndarray:
        """The output for rows, of their floating-point type."""
        dtype = X.dtype if X.dtype in (np.float32, np.float64) else np.dtype(np.float64)
        Z, outputs = X.astype(np.float64, copy=False), []
        if not np.isfinite(Z).all():  # tanh makes one of infinity
            raise ValueError("X contains NaN or infinity; drop or impute such rows.")
        for layer in self.layers:
            Z = layer(Z)
            if self.every:
                outputs.append(Z.astype(dtype, copy=False))
        return np.concatenate(outputs, axis=1) if self.every else Z.astype(dtype, copy=False)
