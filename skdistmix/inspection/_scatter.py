"""Clouds of points: colours of clusters, samples of rows, drawn with matplotlib."""

from __future__ import annotations

from numbers import Integral

import numpy as np

__all__ = ["draw_clusters", "label_positions", "new_square", "point_style", "some", "write_over"]

# Okabe and Ito (2008), told apart with every kind of colour vision; the lightest comes last.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#F0E442")
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "<", ">")
NOISE = "0.65"  # of rows that belong to no cluster
SIDE = 5.2  # of a new figure, in inches


def new_square(extra: float = 0.0):
    """Axes in a new figure, which has room for a key at its side."""
    import matplotlib.pyplot as plt

    _, ax = plt.subplots(figsize=(SIDE + extra, SIDE), layout="constrained")
    return ax


def some(n_rows: int, max_points: int, random_state) -> np.ndarray:
    """Indices of at most so many random rows, in their order."""
    if not isinstance(max_points, Integral) or max_points < 1:
        raise ValueError(f"max_points must be a whole number of at least 1, got {max_points!r}.")
    if n_rows <= max_points:
        return np.arange(n_rows)
    rng = np.random.default_rng(random_state)
    return np.sort(rng.choice(n_rows, max_points, replace=False, shuffle=False))


def point_style(n_points: int) -> dict:
    """Size and opacity at which so many points can be told apart."""
    many = np.log10(max(n_points, 10))
    return {
        "s": float(np.interp(many, [2, 3, 4, 5], [28, 14, 6, 3])),
        "alpha": float(np.interp(many, [2, 3, 4, 5], [0.9, 0.75, 0.6, 0.4])),
        "linewidths": 0,
    }


def draw_clusters(ax, x, y, labels, scatter_kw) -> dict:
    """Points in the colour of their cluster, beyond eight clusters in other shapes too.

    Returns
    -------
    dict of int to matplotlib PathCollection
        One for each label.
    """
    style = {**point_style(len(x)), **(scatter_kw or {})}
    drawn = {}
    for label in np.unique(labels).tolist():
        kw = {"color": NOISE, "marker": "x", "zorder": 1, **style}
        if label >= 0:
            shape = MARKERS[label // len(COLORS) % len(MARKERS)]
            kw = {"color": COLORS[label % len(COLORS)], "marker": shape, **style}
        else:
            kw["linewidths"] = 0.5
        rows = labels == label
        drawn[label] = ax.scatter(x[rows], y[rows], rasterized=len(x) > 10_000, **kw)
    return drawn


def label_positions(x, y, labels) -> dict:
    """A place in the midst of each cluster: the point nearest to the medians of its points."""
    places = {}
    for label in np.unique(labels).tolist():
        rows = np.flatnonzero(labels == label)
        if label >= 0:
            middle = np.median(x[rows]), np.median(y[rows])
            nearest = rows[np.argmin((x[rows] - middle[0]) ** 2 + (y[rows] - middle[1]) ** 2)]
            places[label] = float(x[nearest]), float(y[nearest])
    return places


def write_over(ax, place, words: str, above: float = 0.0):
    """Words that can be read over points of any colour, so many points above a place."""
    from matplotlib.patheffects import withStroke

    text = ax.annotate(
        words, place, (0, above), textcoords="offset points", ha="center", va="center", zorder=5,
        fontweight="bold", fontsize="large",
    )  # fmt: skip
    text.set_path_effects([withStroke(linewidth=3, foreground="w", alpha=0.85)])
    text.set_parse_math(False)
    return text
