"""What families have by default: sums over rows, and the kernel of a log-density."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .._arrays import to_host
from ._checks import FamilyError, check_sums

__all__ = ["IMPOSSIBLE", "LOG_OF_ZERO", "DensityKernel", "Sums", "logsumexp0", "posteriors0"]

LOG_OF_ZERO = -1e300  # an infinity would meet zeros in products, and infinities in differences
IMPOSSIBLE = 0.5 * LOG_OF_ZERO  # a row of less log-density has density zero in all components
EMPTY = 10 * np.finfo(float).eps  # share of all weight below which a component has no rows


def logsumexp0(a: np.ndarray) -> np.ndarray:
    """``log(sum(exp(a), axis=0))`` for a of shape (n_components, n_rows), safe for large values."""
    top = a.max(axis=0)
    top = np.where(np.isfinite(top), top, 0.0)
    return top + np.log(np.exp(a - top).sum(axis=0))


def posteriors0(log_joint: np.ndarray) -> np.ndarray:
    """Posterior probabilities of shape (n_components, n_rows)."""
    norm = logsumexp0(log_joint)
    shares = np.exp(log_joint - norm)
    shares[:, norm < IMPOSSIBLE] = 1 / len(log_joint)  # all are as bad
    return shares


@dataclass(frozen=True)
class Sums:
    """Sums over rows, weighted by responsibilities; adding two gives those of all rows.

    Attributes
    ----------
    weight : float
        Sum of row weights.
    log_likelihood : float
    counts : ndarray of shape (n_components,)
        Sums of responsibilities.
    sums : ndarray of shape (n_components, n_values)
        Sums of what :meth:`Family.summands` gives for the rows.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistmix.families import Sums
    >>> stats = Sums(3.0, 0.0, np.array([2.0, 1.0]), np.array([[8.0], [1.0]]))
    >>> (stats + stats).averages
    array([[4.],
           [1.]])
    """

    weight: float
    log_likelihood: float
    counts: np.ndarray
    sums: np.ndarray

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.weight + other.weight,
            self.log_likelihood + other.log_likelihood,
            self.counts + other.counts,
            self.sums + other.sums,
        )

    def scaled(self, factor: float) -> Sums:
        """The sums of rows whose weights are all multiplied by a factor."""
        return Sums(
            self.weight * factor,
            self.log_likelihood * factor,
            self.counts * factor,
            self.sums * factor,
        )

    def about(self, anchors) -> Sums:
        """The same sums, which are taken about no points."""
        return self

    @property
    def weights(self) -> np.ndarray:
        """Shares of the components in all rows, shape (n_components,): their mixing weights."""
        return self.counts / self.counts.sum()

    @property
    def averages(self) -> np.ndarray:
        """Mean summands of each component, shape (n_components, n_values).

        A component that lost all rows has those of all rows.
        """
        present = (self.counts > EMPTY * self.counts.sum())[:, None]
        overall = self.sums.sum(axis=0) / self.counts.sum()
        return np.where(present, self.sums / np.where(present, self.counts[:, None], 1.0), overall)


@dataclass(frozen=True)
class DensityKernel:
    """Parameters of a family and what they say of rows; this is what travels to the data.

    Parameters
    ----------
    family : Family
    params : object
    anchors : ndarray of shape (n_components, n_features) or None
    block_rows : int
        Rows that are worked on at once.
    """

    family: Any
    params: Any
    anchors: np.ndarray | None
    block_rows: int

    def log_joint(self, X) -> np.ndarray:
        """log(weight) + log-density, shape (n_components, n_rows).

        Raises
        ------
        FamilyError
            If the log-densities have another shape or are not numbers.
        """
        X = _float64(X)
        values = np.asarray(self.family.log_density(X, self.params))
        name, wanted = type(self.family).__name__, (len(self.params.weights), len(X))
        if values.shape != wanted:
            raise FamilyError(
                f"{name}.log_density gave an array of shape {values.shape}: expected (n_components,"
                f" n_rows), here {wanted}, so that rows run along the last axis."
            )
        wrong = np.flatnonzero(~(values < np.inf).all(axis=0))
        if len(wrong):
            raise FamilyError(
                f"{name}.log_density gave {values[:, wrong[0]]} for the row {X[wrong[0]]}: "
                "expected numbers, or minus infinity where the density is zero. Often 0 * log(0), "
                "or parameters at the rim of what is possible: keep m_step away from it; or a row "
                "that the family is not for: refuse it in check_moments."
            )
        log_weights = np.full(wanted[0], LOG_OF_ZERO)
        np.log(self.params.weights, out=log_weights, where=self.params.weights > 0)
        return np.maximum(values + log_weights[:, None], LOG_OF_ZERO)

    def statistics(self, blocks: Iterable):
        """The family's statistics of all rows under the parameters, with their log-likelihood.

        Raises
        ------
        FamilyError
            If a row has density zero, or the statistics break the contract of the family.
        """
        total = None
        for block in blocks:
            X = _float64(block.X)
            log_joint = self.log_joint(X)
            norm = logsumexp0(log_joint)
            impossible = np.flatnonzero(norm < IMPOSSIBLE)
            if len(impossible):
                row = impossible[0]
                raise FamilyError(
                    f"Row {block.rows[row]} of X, {X[row]}, has density zero under all components "
                    f"of {type(self.family).__name__}: refuse such rows in check_moments, or keep "
                    "m_step away from parameters that exclude rows."
                )
            resp = np.exp(log_joint - norm)
            weight = None if block.weight is None else _read_only(block.weight)
            part = self.family.statistics(X, weight, resp, self.anchors)
            check_sums(self.family, part)
            value = norm.sum() if block.weight is None else norm @ block.weight
            part = replace(part, log_likelihood=float(value))
            total = part if total is None else total + part
        return total


def _float64(X) -> np.ndarray:
    return _read_only(np.asarray(to_host(X), dtype=np.float64))


def _read_only(array: np.ndarray) -> np.ndarray:
    """A view that a family cannot write to: blocks are views of what users gave."""
    view = array.view()
    view.flags.writeable = False
    return view
