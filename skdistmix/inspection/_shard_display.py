"""ShardDisplay: the local models of an aggregate side by side."""

from __future__ import annotations

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._compute import single_threaded_blas
from .._validation import described
from ..mixture import MixtureOfExpertsAggregator
from ._distances import middle_of, relative_distances
from ._drawing import (
    NOTE_FONT,
    draw_bars,
    draw_colorbar,
    draw_matrix,
    name_rows,
    new_axes,
    readable,
    split,
    value_font,
    with_matplotlib,
    write_values,
)

__all__ = ["ShardDisplay"]

ORDERS = ("shard", "distance")
UNFITTED = (
    "This %(name)s is not fitted, or its fit did not finish. Call fit first; with robust=False if "
    "it could not tell which shards are right."
)


class ShardDisplay:
    """Distances between the local models of the shards, their weights, and who is rejected.

    It answers which shards are alike, which one is unlike all others, and what each contributes.
    Create it with :meth:`from_estimator`. All numbers that are drawn are attributes.

    Parameters
    ----------
    distances : array-like of shape (n_shards, n_shards)
        Distances between the local models, symmetric, from 0 for equal ones to 1 for ones that do
        not overlap; NaN in the rows and columns of shards without a model, diagonal included.
    weights : array-like of shape (n_shards,)
        What each shard weighs in the one mixture.
    rejected : array-like of int or of bool, optional
        Indices of rejected shards, or a mask of them. None: no shard is.
    names : sequence of str, optional
        Names of the shards. None: "shard 0", "shard 1" and so on.

    Attributes
    ----------
    distances : ndarray of shape (n_shards, n_shards)
    weights : ndarray of shape (n_shards,)
    rejected : ndarray of int
        Indices.
    names : list of str
        In full; long ones are drawn without their middle.
    middle : int
        The shard in the middle: that with the least median distance to all.
    order_ : ndarray of shape (n_shards,)
        The shard in each row of the picture, from the top. This and what follows is there after
        `plot`.
    figure_ : matplotlib Figure
    axes_ : ndarray of two matplotlib Axes
        Of the distances and of the weights.
    im_ : matplotlib AxesImage
    bars_ : matplotlib BarContainer
    text_ : ndarray of shape (n_shards, n_shards) or None
        The numbers in the cells, as matplotlib Text; None in cells without and if there are none.

    See Also
    --------
    MixtureOfExpertsAggregator : Combines the models that are shown.

    Notes
    -----
    The distance of two mixtures with densities f and g is ``||f - g|| / sqrt(||f||^2 + ||g||^2)``
    in the L2 norm. It is free of units. Honest shards of n rows differ by sampling, in proportion
    to ``1 / sqrt(n)``, and the more the more parameters a model has. The robust filter of
    :class:`MixtureOfExpertsAggregator` starts from the same ``||f - g||``, without the
    denominator, and allows small shards more: a small shard may be farther off than a large one
    that it rejects.

    Colours follow the cube root of the distance, from 0 to 1 in every picture, so that differences
    between honest shards are seen beside a model that is absurd, and pictures can be compared.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from skdistmix import MixtureOfExpertsAggregator
    >>> from skdistmix.inspection import ShardDisplay
    >>> rng = np.random.default_rng(0)
    >>> sites = [rng.normal(rng.choice([-4, 4], size=(500, 1)), 1.0) for _ in range(4)]
    >>> sites[2] += 50  # a broken instrument
    >>> model = MixtureOfExpertsAggregator(n_components=2, random_state=0).fit(sites)
    >>> display = ShardDisplay.from_estimator(model, names=["A", "B", "C", "D"])
    >>> display.distances[2]
    array([1., 1., 0., 1.])
    >>> plt.show()  # doctest: +SKIP
    """

    def __init__(self, *, distances, weights, rejected=None, names=None):
        self.distances = _checked_distances(distances)
        n = len(self.distances)
        self.weights = _checked_weights(weights, n)
        self.rejected = _checked_rejected(rejected, n)
        self.names = _checked_names(names, n)
        self.middle = middle_of(self.distances)

    @classmethod
    def from_estimator(
        cls,
        aggregator,
        *,
        names=None,
        order="shard",
        ax=None,
        include_values=None,
        cmap="viridis",
        colorbar=True,
        im_kw=None,
        bar_kw=None,
    ):
        """Show the local models of a fitted aggregator.

        Parameters
        ----------
        aggregator : MixtureOfExpertsAggregator
            Fitted.
        names : sequence of str, optional
            Names of the shards, in the order of `fit`. None: "shard 0", "shard 1" and so on.
        order : {"shard", "distance"}, default="shard"
            As for :meth:`plot`.
        ax : matplotlib Axes, optional
            As for :meth:`plot`.
        include_values : bool, optional
            As for :meth:`plot`.
        cmap : str or matplotlib Colormap, default="viridis"
            As for :meth:`plot`.
        colorbar : bool, default=True
            As for :meth:`plot`.
        im_kw : dict, optional
            As for :meth:`plot`.
        bar_kw : dict, optional
            As for :meth:`plot`.

        Returns
        -------
        ShardDisplay
            After `plot`.

        Raises
        ------
        TypeError
            If it is another kind of estimator.
        NotFittedError
            If it is not fitted.
        ValueError
            If there is only one shard, and nothing to compare.
        ImportError
            If matplotlib is not installed.
        """
        with_matplotlib("ShardDisplay")  # before the distances, which take a while
        if not isinstance(aggregator, MixtureOfExpertsAggregator):
            raise TypeError(
                "ShardDisplay shows the local models of a fitted MixtureOfExpertsAggregator, got "
                f"{described(aggregator)}. Of a pipeline give the last step, of a search its "
                "best_estimator_."
            )
        check_is_fitted(aggregator, "mixture_", msg=UNFITTED)
        _refuse_one(len(aggregator.experts_))
        display = cls(
            distances=_distances_of(aggregator.experts_),
            weights=aggregator.shard_weights_,
            rejected=aggregator.rejected_shards_,
            names=names,
        )
        return display.plot(
            order=order,
            ax=ax,
            include_values=include_values,
            cmap=cmap,
            colorbar=colorbar,
            im_kw=im_kw,
            bar_kw=bar_kw,
        )

    def plot(
        self,
        *,
        order="shard",
        ax=None,
        include_values=None,
        cmap="viridis",
        colorbar=True,
        im_kw=None,
        bar_kw=None,
    ):
        """Draw the distances as a matrix and the weights as bars beside it.

        Rejected shards have a cross before their name and beside their bar, shards without a model
        a hatched row and column.

        Parameters
        ----------
        order : {"shard", "distance"}, default="shard"
            "shard": as they are numbered. "distance": by the distance from the one in the middle,
            so that those that differ stand at the end; those without a model come last.
        ax : matplotlib Axes, optional
            Its place is taken. None: a new figure, large enough for the names.
        include_values : bool, optional
            Whether distances are written into the cells. None: if they can be read there.
        cmap : str or matplotlib Colormap, default="viridis"
            Colours of the distances.
        colorbar : bool, default=True
            Whether a key to the colours is drawn.
        im_kw : dict, optional
            Passed to ``Axes.imshow``; with `norm` another scale of colours.
        bar_kw : dict, optional
            Passed to ``Axes.barh``.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `order` is none of these.
        ImportError
            If matplotlib is not installed.
        """
        matplotlib = with_matplotlib("ShardDisplay")
        if order not in ORDERS:
            raise ValueError(f"order={order!r} must be one of {list(ORDERS)}.")
        self.order_ = rows = self._rows(order)
        names = [self.names[s] for s in rows]
        values = self.distances[np.ix_(rows, rows)]
        rejected = np.flatnonzero(np.isin(rows, self.rejected))
        missing = np.flatnonzero(np.isnan(np.diag(values)))

        size = None
        if ax is None:
            ax, size = new_axes(names)
        matrix, beside, pitch = split(ax, len(rows), size)
        self.figure_, self.axes_ = ax.figure, np.array([matrix, beside])
        font = readable(pitch, matplotlib.rcParams["font.size"])
        self.im_ = draw_matrix(matrix, values, cmap, im_kw)
        name_rows(matrix, names, rejected, font, pitch)
        small = value_font(font, pitch)
        if include_values is None:
            include_values = small >= NOTE_FONT
        self.text_ = write_values(matrix, self.im_, values, small) if include_values else None
        if order == "distance":
            matrix.set_ylabel("from the middle outwards", fontsize=9)
        if colorbar:
            draw_colorbar(matrix, self.im_, pitch * len(rows))
        shares = self.weights[rows] / self.weights.sum()
        self.bars_ = draw_bars(beside, shares, rejected, missing, font, bar_kw)
        return self

    def _rows(self, order: str) -> np.ndarray:
        if order == "shard":
            return np.arange(len(self.distances))
        outwards = self.distances[self.middle].copy()
        outwards[self.middle] = -1.0  # before shards that have the same model
        return np.argsort(outwards, kind="stable")  # NaN comes last


def _distances_of(experts) -> np.ndarray:
    """Relative distances of local estimators, of which some may be None."""
    family, models = None, []
    for expert in experts:
        if expert is None:
            models.append(None)
            continue
        family, params = expert._family_and_params()
        models.append(family.components(params))
    with single_threaded_blas():  # matrices are many and small
        return relative_distances(family, models)


# --------------------------------------------------------------------------- checks


def _refuse_one(n_shards: int) -> None:
    if n_shards < 2:
        raise ValueError(
            f"ShardDisplay compares shards, and there is {n_shards}: give the data in pieces, or "
            "set n_shards of the aggregator."
        )


def _checked_distances(distances) -> np.ndarray:
    distances = np.array(distances, dtype=np.float64)
    if distances.ndim != 2 or len(distances) != len(distances.T):
        raise ValueError(
            f"distances has shape {distances.shape}, expected (n_shards, n_shards): one row and "
            "one column a shard."
        )
    _refuse_one(len(distances))
    missing = np.isnan(np.diag(distances))
    if missing.all():
        raise ValueError("No shard has a model: the diagonal of distances is NaN throughout.")
    if not np.array_equal(np.isnan(distances), missing[:, None] | missing[None, :]):
        raise ValueError(
            "distances has NaN between shards that have models. A shard without a model is one "
            "with NaN in all of its row and column, the diagonal included."
        )
    known = distances[np.ix_(~missing, ~missing)]
    if not ((known >= 0).all() and (known <= 1 + 1e-9).all() and np.allclose(known, known.T)):
        raise ValueError("distances must be symmetric and lie between 0 and 1.")
    return np.minimum(distances, 1.0)


def _checked_weights(weights, n_shards: int) -> np.ndarray:
    weights = np.array(weights, dtype=np.float64)
    if weights.shape != (n_shards,):
        raise ValueError(f"weights has shape {weights.shape}, expected ({n_shards},).")
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise ValueError(f"weights must be finite, at least 0, and not all 0, got {weights}.")
    return weights


def _checked_rejected(rejected, n_shards: int) -> np.ndarray:
    """Indices, also of a mask."""
    if rejected is None or not np.size(rejected):
        return np.array([], dtype=int)
    try:
        return np.unique(np.arange(n_shards)[np.asarray(rejected)])
    except IndexError as error:
        raise ValueError(
            f"rejected must hold indices of the {n_shards} shards, or be a mask of them: {error}."
        ) from error


def _checked_names(names, n_shards: int) -> list[str]:
    if names is None:
        return [f"shard {s}" for s in range(n_shards)]
    names = [str(name) for name in names]
    if len(names) != n_shards:
        raise ValueError(f"{len(names)} names were given for {n_shards} shards: give one a shard.")
    return names
