"""AssignmentMapDisplay: which rows are easy, ambiguous or hard to assign."""

from __future__ import annotations

import numpy as np

from .._validation import described
from ._drawing import percent, with_matplotlib
from ._dynamics import AssignmentDynamics
from ._scatter import draw_clusters, new_square, point_style, some, write_over

__all__ = ["AssignmentMapDisplay"]

REGIONS = ("easy", "ambiguous", "hard")
COLOR_BY = ("switches", "labels", "count")
KEYS = {"switches": "share of epochs in which the label changed", "count": "rows"}
HEXAGONS = 45  # from side to side


class AssignmentMapDisplay:
    """The map of all rows: how sure their cluster was on average, and how steadily.

    It answers which rows a clustering has settled (easy), between which it wavers (ambiguous) and
    which fit nowhere (hard). Create it with :meth:`from_dynamics`. All numbers that are drawn are
    attributes.

    Parameters
    ----------
    confidence : array-like of shape (n_samples,)
        Means of probabilities over epochs.
    variability : array-like of shape (n_samples,)
        Their standard deviations, at most 0.5.
    switch_share : array-like of shape (n_samples,), optional
        How often the label changed, as a share of how often it could have.
    labels : array-like of int of shape (n_samples,), optional
        Clusters; -1 for none.
    min_confidence : float, default=0.75
        What a steady row must have to be easy; below, it is hard.
    max_variability : float, default=0.2
        What is steady; above, a row is ambiguous.

    Attributes
    ----------
    confidence, variability : ndarray of shape (n_samples,)
    switch_share, labels : ndarray of shape (n_samples,) or None
    min_confidence, max_variability : float
    regions : ndarray of int of shape (n_samples,)
        0 easy, 1 ambiguous, 2 hard.
    shares : dict
        The share of all rows that is "easy", "ambiguous" and "hard".
    rows_ : ndarray of int
        The rows that are drawn. This and what follows is there after `plot`.
    figure_ : matplotlib Figure
    ax_ : matplotlib Axes
    artist_ : matplotlib PolyCollection, PathCollection or dict of PathCollection
        The hexagons, or the points, of each label if these are the colours.
    text_ : list of matplotlib Text
        The names of the regions.

    See Also
    --------
    AssignmentDynamics : Collects the numbers.

    Notes
    -----
    A mean c of probabilities allows a standard deviation of at most ``sqrt(c (1 - c))``, the dotted
    line. The borders of the regions are a convention and no result; where the picture shows other
    groups, set `min_confidence` and `max_variability`. Axes are the same in all pictures.

    References
    ----------
    Swayamdipta, S. et al. (2020). Dataset cartography: mapping and diagnosing datasets with
    training dynamics. EMNLP, 9275-9293.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from skdistmix import DistributedGMM
    >>> from skdistmix.inspection import AssignmentDynamics, AssignmentMapDisplay
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(rng.choice([-3, 3], size=(1000, 1)), 1.0, size=(1000, 2))
    >>> X[0] = 0  # between the two
    >>> dynamics = AssignmentDynamics.of_em(DistributedGMM(2, random_state=0), X)
    >>> display = AssignmentMapDisplay.from_dynamics(dynamics)
    >>> bool(display.shares["easy"] > 0.9)
    True
    >>> 0 in display.rows_of("hard")
    True
    >>> plt.show()  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        confidence,
        variability,
        switch_share=None,
        labels=None,
        min_confidence=0.75,
        max_variability=0.2,
    ):
        self.confidence = _checked(confidence, "confidence", 1.0)
        n = len(self.confidence)
        self.variability = _checked(variability, "variability", 0.5, n)
        self.switch_share = None
        if switch_share is not None:
            self.switch_share = _checked(switch_share, "switch_share", 1.0, n)
        self.labels = None if labels is None else _checked_clusters(labels, n)
        self.min_confidence = _checked_border(min_confidence, "min_confidence", 1.0)
        self.max_variability = _checked_border(max_variability, "max_variability", 0.5)
        steady = self.variability <= self.max_variability
        easy = self.confidence >= self.min_confidence
        self.regions = np.where(steady, np.where(easy, 0, 2), 1).astype(np.int8)
        counts = np.bincount(self.regions, minlength=3)
        self.shares = {name: float(count / n) for name, count in zip(REGIONS, counts)}

    @classmethod
    def from_dynamics(
        cls,
        dynamics,
        *,
        labels=None,
        min_confidence=0.75,
        max_variability=0.2,
        color_by="switches",
        max_points=20_000,
        random_state=0,
        ax=None,
        cmap="viridis_r",
        colorbar=True,
        artist_kw=None,
    ):
        """Show what was collected during a fit.

        Parameters
        ----------
        dynamics : AssignmentDynamics
            After two updates at least.
        labels : array-like of int of shape (n_samples,), optional
            Clusters or known classes for ``color_by="labels"``. None: the labels of the last epoch.
        min_confidence : float, default=0.75
            As for the class.
        max_variability : float, default=0.2
            As for the class.
        color_by : {"switches", "labels", "count"}, default="switches"
            As for :meth:`plot`.
        max_points : int, default=20000
            As for :meth:`plot`.
        random_state : int, default=0
            As for :meth:`plot`.
        ax : matplotlib Axes, optional
            As for :meth:`plot`.
        cmap : str or matplotlib Colormap, default="viridis_r"
            As for :meth:`plot`.
        colorbar : bool, default=True
            As for :meth:`plot`.
        artist_kw : dict, optional
            As for :meth:`plot`.

        Returns
        -------
        AssignmentMapDisplay
            After `plot`.

        Raises
        ------
        TypeError
            If it is something else.
        ValueError
            If there were fewer than two updates, or labels are not as many as rows.
        ImportError
            If matplotlib is not installed.
        """
        if not isinstance(dynamics, AssignmentDynamics):
            raise TypeError(
                "AssignmentMapDisplay shows AssignmentDynamics, collected during a fit, got "
                f"{described(dynamics)}."
            )
        if dynamics.n_updates_ < 2:
            raise ValueError(
                f"There were {dynamics.n_updates_} updates: a map needs at least two epochs."
            )
        display = cls(
            confidence=dynamics.confidence_,
            variability=dynamics.variability_,
            switch_share=dynamics.switch_share_,
            labels=dynamics.labels_ if labels is None else labels,
            min_confidence=min_confidence,
            max_variability=max_variability,
        )
        return display.plot(
            color_by=color_by,
            max_points=max_points,
            random_state=random_state,
            ax=ax,
            cmap=cmap,
            colorbar=colorbar,
            artist_kw=artist_kw,
        )

    def rows_of(self, region: str) -> np.ndarray:
        """The rows in a region, for a closer look.

        Parameters
        ----------
        region : {"easy", "ambiguous", "hard"}

        Returns
        -------
        ndarray of int
            Indices, the least confident first.
        """
        if region not in REGIONS:
            raise ValueError(f"region={region!r} must be one of {list(REGIONS)}.")
        rows = np.flatnonzero(self.regions == REGIONS.index(region))
        return rows[np.argsort(self.confidence[rows], kind="stable")]

    def plot(
        self,
        *,
        color_by="switches",
        max_points=20_000,
        random_state=0,
        ax=None,
        cmap="viridis_r",
        colorbar=True,
        artist_kw=None,
    ):
        """Draw variability from left to right, confidence upwards.

        Parameters
        ----------
        color_by : {"switches", "labels", "count"}, default="switches"
            "switches": how often labels changed. Where there are more than `max_points` rows all
            are drawn, in hexagons that show the mean. "labels": clusters; of more rows a random
            sample is drawn. "count": how many rows there are, on a logarithmic scale, in hexagons.
        max_points : int, default=20000
            Largest number of single points.
        random_state : int, default=0
            Seed of the sample.
        ax : matplotlib Axes, optional
            None: a new figure.
        cmap : str or matplotlib Colormap, default="viridis_r"
            Colours of the share of switches, or of counts.
        colorbar : bool, default=True
            Whether a key to the colours, or a legend of up to 16 clusters, is drawn.
        artist_kw : dict, optional
            Passed to ``Axes.scatter`` or ``Axes.hexbin``.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `color_by` is none of these, or its numbers were not given.
        ImportError
            If matplotlib is not installed.
        """
        with_matplotlib("AssignmentMapDisplay")
        self._check_colors(color_by)
        rows = some(len(self.confidence), max_points, random_state)
        if ax is None:
            ax = new_square(extra=1.1)
        self.ax_, self.figure_ = ax, ax.figure
        ax.set(xlim=(0, 0.52), ylim=(-0.02, 1.02))
        if color_by == "labels":
            self.rows_ = rows
            self.artist_ = self._draw_labels(rows, colorbar, artist_kw)
        else:
            self.rows_ = np.arange(len(self.confidence))
            few = color_by == "switches" and len(rows) == len(self.rows_)
            draw = self._draw_points if few else self._draw_hexagons
            self.artist_ = draw(color_by, {"cmap": cmap, **(artist_kw or {})})
            if colorbar:
                key = ax.figure.colorbar(self.artist_, ax=ax, fraction=0.05, pad=0.02)
                key.set_label(KEYS[color_by])
                key.solids.set_alpha(1)
        self.text_ = self._draw_regions()
        ax.set_xlabel("variability (standard deviation over epochs)")
        ax.set_ylabel("confidence (mean over epochs)")
        ax.grid(False)
        ax.spines[["top", "right"]].set_visible(False)
        return self

    def _check_colors(self, color_by: str) -> None:
        if color_by not in COLOR_BY:
            raise ValueError(f"color_by={color_by!r} must be one of {list(COLOR_BY)}.")
        name = {"labels": "labels", "switches": "switch_share"}.get(color_by)
        if name is not None and getattr(self, name) is None:
            raise ValueError(f"color_by={color_by!r} needs {name}, which were not given.")

    def _draw_points(self, color_by, kw):
        style = {**point_style(len(self.confidence)), **self._scale, **kw}
        order = np.argsort(self.switch_share, kind="stable")  # the rare ones on top
        x, y, colors = self.variability[order], self.confidence[order], self.switch_share[order]
        return self.ax_.scatter(x, y, c=colors, clip_on=False, zorder=2, **style)

    def _draw_hexagons(self, color_by, kw):
        grid = {"gridsize": (HEXAGONS, HEXAGONS // 2), "extent": (0, 0.5, 0, 1), "linewidths": 0.2}
        if color_by == "count":
            colors = {"bins": "log", "mincnt": 1}
        else:
            colors = {"C": self.switch_share, "reduce_C_function": np.mean, **self._scale}
        x, y = self.variability, self.confidence
        return self.ax_.hexbin(x, y, zorder=2, **{**grid, **colors, **kw})

    def _draw_labels(self, rows, legend, kw):
        from matplotlib.lines import Line2D

        shuffled = rows[np.random.default_rng(0).permutation(len(rows))]
        x, y, labels = self.variability, self.confidence, self.labels
        drawn = draw_clusters(self.ax_, x[shuffled], y[shuffled], labels[shuffled], kw)
        if legend and len(drawn) <= 16:
            keys = [
                Line2D([], [], linestyle="", marker=points.get_paths()[0], markersize=6,
                       color=points.get_facecolor()[0][:3], label=str(label))
                for label, points in drawn.items()
            ]  # fmt: skip
            self.ax_.legend(
                handles=keys, title="cluster", loc="upper left", bbox_to_anchor=(1.0, 1.0),
                frameon=False,
            )  # fmt: skip
        return drawn

    @property
    def _scale(self) -> dict:
        """The scale of colours, one of few, so that pictures can be compared."""
        largest = self.switch_share.max()
        return {"vmin": 0.0, "vmax": next((end for end in (0.1, 0.25, 0.5) if largest <= end), 1.0)}

    def _draw_regions(self) -> list:
        ax, c, v = self.ax_, self.min_confidence, self.max_variability
        bound = np.linspace(0, 1, 201)
        ax.plot(np.sqrt(bound * (1 - bound)), bound, ":", color="0.6", linewidth=1, zorder=1)
        line = {"color": "0.35", "linewidth": 0.9, "linestyle": "--", "zorder": 3}
        root = np.sqrt(max(0.25 - v**2, 0.0))  # where the border meets the bound
        ax.plot([v, v], [0.5 - root, 0.5 + root], **line)
        lower = v if abs(c - 0.5) <= root else np.sqrt(c * (1 - c))
        ax.plot([0, lower], [c, c], **line)
        places = {"easy": (v / 2, (1 + c) / 2), "ambiguous": ((v + 0.5) / 2, 0.5),
                  "hard": (v / 2, c / 2)}  # fmt: skip
        return [
            write_over(ax, places[name], f"{name}\n{percent(self.shares[name])}")
            for name in REGIONS
        ]


# --------------------------------------------------------------------------- checks


def _checked(values, name: str, largest: float, n: int | None = None) -> np.ndarray:
    values = np.array(values, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0 or (n is not None and len(values) != n):
        expected = "(n_samples,)" if n is None else f"({n},)"
        raise ValueError(f"{name} has shape {values.shape}, expected {expected}.")
    if not ((values >= -1e-9) & (values <= largest + 1e-9)).all():
        raise ValueError(f"{name} must lie between 0 and {largest:g}.")
    return np.clip(values, 0, largest)


def _checked_clusters(labels, n: int) -> np.ndarray:
    labels = np.array(labels)
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"labels have shape {labels.shape} and dtype {labels.dtype}, expected whole numbers of "
            f"shape ({n},)."
        )
    return labels


def _checked_border(value, name: str, largest: float) -> float:
    if not 0 < value < largest:
        raise ValueError(f"{name}={value!r} must lie between 0 and {largest:g}.")
    return float(value)
