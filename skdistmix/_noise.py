"""Where noise may lie, and rows that are no noise, for a start of EM."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from sklearn.neighbors import NearestNeighbors

from ._em import EMFit, EMRun, attempted, em_together, first_of_the_best, first_pass
from ._sampling import all_rows, bounded_sample
from ._shards import cut_rows
from .families import DegenerateComponentError
from .families._noise import Box, NoiseFamily, Ranges

__all__ = ["better_start", "box_of_rows", "likely_noise", "places", "prepared"]

# Rows of the sample that is cleaned, at least and at most, and a component; up to twice as many are
# taken as they are. Work grows with their square.
CLEANED_ROWS, MAX_CLEANED_ROWS, ROWS_PER_COMPONENT = 5_000, 20_000, 50
TREE_COLUMNS = 3  # up to which a tree finds neighbours sooner than all distances do
NEIGHBOURS = 12  # whose distances tell noise from clusters; of 5 to 20 all did in simulations
CLEANING_ITER = 100
TRIAL_ITER = 30  # of EM on the sample, to choose between starts
TRIAL_TOL = 1e-5
MAX_LOG_VOLUME = 700.0  # exp() of more leaves the range of numbers
FLAT = 1e-12  # smallest eigenvalue of the correlations of columns that do not determine each other


def prepared(map_reduce: Callable, shards, family, moments):
    """The family, knowing the first-pass summary, and where noise may lie if that is asked for."""
    family = family.prepare(moments)
    if isinstance(family, NoiseFamily) and family.log_volume is None:
        return family.within(box_of_rows(map_reduce, shards, moments))
    return family


def box_of_rows(map_reduce: Callable, shards, moments) -> Box:
    """The smaller of two boxes that hold all rows, as R's mclust takes it for noise.

    One has its sides along the columns, the other along the principal axes of the rows, which takes
    a pass over them.

    Raises
    ------
    ValueError
        If the rows lie in a subspace, so that the box has no volume.
    """
    spread = np.sqrt(moments.variance)
    constant = np.flatnonzero(spread == 0)
    if len(constant) == 0:
        flat = np.linalg.eigvalsh(moments.covariance / np.outer(spread, spread))[0] < FLAT
    if len(constant) or flat:
        why = f"columns {constant[:5].tolist()} are constant" if len(constant) else (
            "columns are linear combinations of others, or seem so beside rows that are very far "
            "away, or there are no more rows than columns"
        )  # fmt: skip
        raise ValueError(
            f"noise='auto' takes the volume of a box that holds all rows, which is 0: {why}. Drop "
            "such columns, or give the volume in which noise may lie as a number."
        )
    d, center = len(spread), moments.mean
    box = Box(center, np.eye(d), Ranges(moments.low - center, moments.high - center))
    if d > 1:
        axes = np.linalg.eigh(moments.covariance)[1]
        ranges = map_reduce(partial(_ranges, center=center, axes=axes), shards)
        box = min(box, Box(center, axes, ranges), key=lambda box: box.log_volume)
    if not abs(box.log_volume) < MAX_LOG_VOLUME:
        raise ValueError(
            f"noise='auto' takes the volume of a box that holds all rows, which is "
            f"exp({box.log_volume:.4g}) and no number any more: scale the columns, to a standard "
            "deviation of 1 for example."
        )
    return box


def _ranges(blocks, center, axes) -> Ranges | None:
    total = None
    for block in blocks:
        part = Ranges.of_rows(np.asarray(block.X, dtype=np.float64), center, axes)
        total = part if total is None else total + part
    return total


# --------------------------------------------------------------------------- starts


def places(map_reduce: Callable, shards, family, seed: int) -> list[tuple]:
    """Rows to look for components in, and the family that knows them.

    Without noise these are all rows. With noise there are two: first the rows of a sample, or of
    all where they are not many, that are hardly noise: clutter draws centres, and a component about
    it rarely leaves it again. There noise starts at the share of the others. Then the whole sample,
    for a cluster may be as sparse beside others as noise is.
    """
    if not isinstance(family, NoiseFamily):
        return [(shards, family)]
    size = min(max(CLEANED_ROWS, ROWS_PER_COMPONENT * family.n_components), MAX_CLEANED_ROWS)
    small = bounded_sample(map_reduce, shards, family.moments, size, seed)
    sample = all_rows(map_reduce, small)
    spread = np.sqrt(family.moments.variance)
    scaled = (sample.X - family.moments.mean) / np.where(spread > 0, spread, 1.0)
    n_neighbours = min(NEIGHBOURS, (len(scaled) - 1) // (2 * family.n_components))
    if n_neighbours < 1:
        return [(shards, family)]
    is_noise = likely_noise(scaled, n_neighbours)
    rows = cut_rows(sample.X[~is_noise], 1).with_weights(sample.weight[~is_noise])
    cleaned = _known(map_reduce, rows, family)
    if cleaned is None:
        return [(shards, family)]
    share = float(sample.weight[is_noise].sum() / sample.weight.sum())
    cleaned = replace(cleaned, start_weight=max(share, family.start_weight))
    if not is_noise.any():
        return [(rows, cleaned)]
    return [(rows, cleaned), (small, _known(map_reduce, small, family))]


def _known(map_reduce: Callable, rows, family):
    """The family that knows these rows; None if they are too few."""
    moments = first_pass(map_reduce, rows, family.full_scatter, family.n_components)
    if moments is None or len(moments.distinct) < family.n_components:
        return None
    return family.prepare(moments)


def better_start(map_reduce: Callable, found: list[tuple], begin: Callable):
    """Of what ``begin(rows, family)`` gives in each of the `places`, the one that EM likes best.

    Raises
    ------
    DegenerateComponentError
        If the start degenerates in all places.
    """
    starts = [attempted(begin, *place) for place in found]
    usable = [one for one in starts if not isinstance(one, DegenerateComponentError)]
    if not usable:
        raise starts[0]
    if len(usable) == 1:
        return usable[0]
    rows, family = found[-1]
    runs = [EMRun(family, params, TRIAL_TOL, TRIAL_ITER) for params in usable]
    fits = attempted(em_together, map_reduce, rows, runs)
    if isinstance(fits, DegenerateComponentError):  # all rows may bear what a sample does not
        return usable[0]
    best = first_of_the_best([fit for fit in fits if isinstance(fit, EMFit)])
    return next(params for params, fit in zip(usable, fits) if fit is best)


def likely_noise(X: np.ndarray, n_neighbours: int) -> np.ndarray:
    """Which rows are more likely noise than not, by the distances to their neighbours.

    Where rows lie evenly, the volume of the ball that reaches to the n-th neighbour has a gamma
    distribution of shape n; clusters and noise are two of these, whose rates EM finds (Byers and
    Raftery 1998).

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        In units in which columns can be compared.
    n_neighbours : int

    Returns
    -------
    ndarray of bool, shape (n_rows,)

    References
    ----------
    Byers, S. and Raftery, A. E. (1998). Nearest-neighbor clutter removal for estimating features
    in spatial point processes. JASA 93, 577-584.
    """
    algorithm = "kd_tree" if X.shape[1] <= TREE_COLUMNS else "brute"
    neighbours = NearestNeighbors(n_neighbors=n_neighbours, algorithm=algorithm, n_jobs=1)
    distances = neighbours.fit(X).kneighbors()[0][:, -1]
    if distances.min() == distances.max():
        return np.zeros(len(X), dtype=bool)
    floor = distances[distances > 0].min()  # equal rows are as near as any
    logs = X.shape[1] * np.log(np.maximum(distances, floor))
    volumes = np.exp(np.clip(logs - np.median(logs), -300.0, 300.0))
    in_cluster = (logs < np.median(logs)).astype(float)
    for _ in range(CLEANING_ITER):
        share = in_cluster.mean()
        if not 0.0 < share < 1.0:
            return np.zeros(len(X), dtype=bool)
        tight = n_neighbours * in_cluster.sum() / (in_cluster @ volumes)
        wide = n_neighbours * (1.0 - in_cluster).sum() / ((1.0 - in_cluster) @ volumes)
        log_odds = np.log(share) - np.log1p(-share)
        log_odds = log_odds + n_neighbours * np.log(tight / wide) - (tight - wide) * volumes
        before, in_cluster = in_cluster, 1.0 / (1.0 + np.exp(-np.clip(log_odds, -500.0, 500.0)))
        if np.abs(in_cluster - before).max() < 1e-4:
            break
    return in_cluster < 0.5
