"""Stepwise EM: statistics that forget, for rows that come in batches and do not stay.

Cappe and Moulines (2009): with the statistics s of a batch under the current parameters, the
running statistics become (1 - g) times themselves plus g times s, and parameters are computed from
them. The step g = (t + 2) ** -decay (Liang and Klein 2009) falls slowly enough to leave a poor
start and fast enough to converge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from .families import Family, Moments
from .families._checks import checked_m_step

__all__ = ["Stream", "begun", "continued"]


@dataclass(frozen=True)
class Stream:
    """What stepwise EM remembers; of constant size.

    Attributes
    ----------
    stats : object
        Running statistics of the family, for a total weight of one.
    moments : Moments
        Of all rows so far.
    n_steps : float
        Batches so far.
    average : object or None
        Mean of the running statistics since averaging began (Polyak and Juditsky 1992).
    n_averaged : int
    """

    stats: object
    moments: Moments
    n_steps: float
    average: object | None = None
    n_averaged: int = 0

    def params(self, family: Family, previous=None):
        """The parameters of the E-step."""
        return family.m_step(self.stats.scaled(self.moments.weight), previous)

    def estimate(self, family: Family, previous=None):
        """The parameters to report: of the averaged statistics where there are any."""
        stats = self.stats if self.average is None else self.average
        return checked_m_step(family, stats.scaled(self.moments.weight), previous)

    def averaged(self) -> Stream:
        """With the running statistics in the average."""
        if self.average is None:
            return replace(self, average=self.stats, n_averaged=1)
        n = self.n_averaged + 1
        anchors = getattr(self.stats, "anchors", None)  # not all sums are taken about points
        earlier = self.average.about(anchors).scaled(1 - 1 / n)
        return replace(self, average=earlier + self.stats.scaled(1 / n), n_averaged=n)


def begun(map_reduce: Callable, shards, family: Family, params) -> tuple[Stream, float]:
    """The stream of a first batch, which the family was prepared with, and its log-likelihood.

    The log-likelihood is the mean one under the parameters that the batch is learnt from.
    """
    stats = _statistics(map_reduce, shards, family, params, getattr(params, "means", None))
    stream = Stream(stats.scaled(1 / stats.weight), family.moments.without_rows(), 1.0)
    return stream, stats.log_likelihood / stats.weight


def continued(
    map_reduce: Callable, shards, family: Family, stream: Stream, moments, decay: float, previous
) -> tuple[Stream, float]:
    """The stream after another batch, and the batch's mean log-likelihood before it.

    Parameters
    ----------
    map_reduce : callable
    shards : Shards
        The batch.
    family : Family
        Prepared with the summary of all rows, these included.
    stream : Stream
    moments : Moments
        Of the batch.
    decay : float
    previous : object
        Parameters from which components that lost all rows are taken.
    """
    params = stream.params(family, previous)
    anchors = family.centers(stream.stats)
    stats = _statistics(map_reduce, shards, family, params, anchors)
    step = (stream.n_steps + 2) ** -decay
    blended = stream.stats.about(anchors).scaled(1 - step) + stats.scaled(step / stats.weight)
    after = replace(stream, stats=blended, moments=family.moments, n_steps=stream.n_steps + 1)
    return after, stats.log_likelihood / stats.weight


def _statistics(map_reduce, shards, family, params, anchors):
    kernel = family.kernel(params, anchors)
    stats = map_reduce(kernel.statistics, shards, kernel.block_rows)
    if not (hasattr(stats, "scaled") and hasattr(stats, "about")):
        raise NotImplementedError(
            f"The statistics of {type(family).__name__}, {type(stats).__name__}, cannot forget, as "
            "partial_fit needs: give them the methods scaled(factor) and about(anchors), or take "
            "Sums."
        )
    return stats
