"""Good optima of mixtures of neighbouring sizes: each is a start for the other.

A mixture with a component split in two is a start of one with a component more, and with two
merged one of a mixture with a component less (Ueda, Nakano, Ghahramani and Hinton 2000). Many
starts race: after short runs the best go on (Biernacki, Celeux and Govaert 2003).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ._em import EMFit, EMRun, attempted, em_together, first_of_the_best
from ._reduction import greedy_groups
from .families import DegenerateComponentError, Family

__all__ = ["best_fit", "merged_start", "split_starts"]

DIRECTIONS = 4  # in which each component is split, at most
RACE_ITER = 20
KEPT = 2  # starts that run to their end
APART = 0.7  # standard deviations that the halves of a component lie from its mean


def split_starts(small: Family, params, large: Family, seed: int) -> list:
    """Parameters with one component more, in each start another one is split.

    Directions are random in coordinates in which the component is round: two groups that one
    component stands for may lie along any of its axes.
    """
    rng, components = np.random.default_rng(seed), small.components(params)
    starts = []
    n_directions = min(DIRECTIONS, 2 * components.n_features - 1)  # on a line there is but one
    for k in np.repeat(np.arange(len(components)), n_directions):
        direction = rng.standard_normal(components.n_features)
        halves = components.split(k, direction * (APART / np.linalg.norm(direction)))
        starts.append(attempted(large.barycentre, halves, np.diag(halves.weights), "kl"))
    return starts


def merged_start(large: Family, params, small: Family):
    """Parameters with one component less: the two merged whose merging loses least."""
    components = large.components(params)
    groups = greedy_groups(components, small.n_components)
    plan = np.zeros((len(components), small.n_components))
    plan[np.arange(len(groups)), groups] = components.weights
    return attempted(small.barycentre, components, plan, "kl")


def best_fit(
    map_reduce: Callable, shards, family: Family, starts: list, max_iter: int, acceleration
) -> EMFit:
    """The best optimum that EM finds from several starts, to ``tol="likelihood"``.

    Raises
    ------
    DegenerateComponentError
        If a component degenerates from all starts.
    """
    if len(starts) > KEPT:
        runs = [EMRun(family, start, "likelihood", RACE_ITER) for start in starts]
        fits = [fit for fit in em_together(map_reduce, shards, runs) if isinstance(fit, EMFit)]
        fits.sort(key=lambda fit: fit.objectives[-1], reverse=True)
        starts = [fit.params for fit in fits]
    while True:
        ahead, starts = starts[:KEPT], starts[KEPT:]
        runs = [EMRun(family, start, "likelihood", max_iter, None, acceleration) for start in ahead]
        try:
            fits = em_together(map_reduce, shards, runs, give_up=True)
        except DegenerateComponentError:  # who soars early may well do so on the way to a spike
            if not starts:
                raise
            continue
        return first_of_the_best([fit for fit in fits if isinstance(fit, EMFit)])
