"""Intervals in panels, ellipses and densities of mixtures, drawn with matplotlib."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._drawing import NOTE_FONT, readable, rows_with_room, shortened

__all__ = [
    "Panel",
    "colors_of",
    "draw_density",
    "draw_ellipses",
    "draw_panels",
    "ends",
    "key_below",
    "legend_below",
    "new_axes",
    "new_panels",
]

# Okabe and Ito (2008), told apart by all eyes; without yellow, which is too light for lines.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
INK, BAND, GUIDE, ROWS = "0.15", "0.6", "0.88", "0.62"
PER_ROW = 5  # panels beside each other
WIDE, HEAD = 2.0, 0.78  # width of a panel, what stands above and below it, in inches
SIDES = ([1, 3, 12, 40, 100], [0.6, 1.5, 4.6, 7.0, 9.0])  # rows of a panel, its height in inches
CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 121)), np.sin(np.linspace(0, 2 * np.pi, 121))])


@dataclass(frozen=True)
class Panel:
    """Estimates of one kind and their intervals, one a component."""

    title: str
    estimates: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


def colors_of(n: int) -> list[str]:
    """One colour a component; they come again after the seventh."""
    return [COLORS[k % len(COLORS)] for k in range(n)]


# --------------------------------------------------------------------------- places


def new_axes():
    """Axes in a new figure, and its size."""
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(6.4, 5.4), layout="constrained")[1]


def new_panels(n_panels: int, names: list[str]):
    """Axes in a new figure with room for panels with rows of these names, and their inches."""
    import matplotlib.pyplot as plt

    n_rows, n_columns = grid_of(n_panels)
    tall = float(np.interp(len(names), *SIDES))
    label = 0.0075 * plt.rcParams["font.size"] * max(len(shortened(name)) for name in names)
    size = n_columns * WIDE, n_rows * (tall + HEAD) - HEAD
    figsize = (label + size[0] + 0.3, size[1] + 1.1)
    return plt.subplots(figsize=figsize, layout="constrained")[1], size


def panels_in(ax, n_panels: int, size=None) -> tuple[list, tuple[float, float]]:
    """Put axes of panels into the place of one, and tell their width and height in inches.

    Parameters
    ----------
    ax : Axes
        Made invisible but for its title.
    size : tuple of float, optional
        Its width and height in inches; None: what it has.
    """
    width, height = ax.get_window_extent().size / ax.figure.dpi if size is None else size
    n_rows, n_columns = grid_of(n_panels)
    ax.set_axis_off()
    tall = max((height - (n_rows - 1) * HEAD) / n_rows, 0.2)
    gap = 0.08
    wide = (1 - gap * (n_columns - 1) / n_columns) / n_columns
    panels = []
    for p in range(n_panels):
        row, column = divmod(p, n_columns)
        bottom = (n_rows - 1 - row) * (tall + HEAD) / height
        left = column * (wide + gap / n_columns)
        panels.append(ax.inset_axes([left, bottom, wide, tall / height]))
    return panels, (wide * width, tall)


def grid_of(n_panels: int) -> tuple[int, int]:
    """Rows and columns of panels."""
    n_rows = -(-n_panels // PER_ROW)
    return n_rows, -(-n_panels // n_rows)


# --------------------------------------------------------------------------- intervals


def draw_panels(ax, panels: list[Panel], names, colors, include_values, size=None):
    """Draw panels into the place of axes; rows are named at those on the left.

    Parameters
    ----------
    size : tuple of float, optional
        Width and height of the place in inches; None: what it has.
    include_values : bool or None
        None: if there is room.

    Returns
    -------
    axes : list of Axes
    bars : list of LineCollection
    ticks : list of Line2D
    """
    axes, size = panels_in(ax, len(panels), size)
    longest = max(len(line) for panel in panels for line in panel.title.split("\n"))
    font = float(np.clip(72 * size[0] / (0.6 * longest), 5, 9))
    bars, ticks = [], []
    for p, (one, panel) in enumerate(zip(axes, panels)):
        drawn = draw_panel(one, panel, size, colors, include_values)
        one.set_title(panel.title, fontsize=font, color=INK, parse_math=False)
        bars.append(drawn[0])
        ticks.append(drawn[1])
        if p % grid_of(len(panels))[1] == 0:
            name_rows(one, names, colors, 72 * size[1] / len(names))
    return axes, bars, ticks


def draw_panel(ax, panel: Panel, size, colors, include_values):
    """Draw a bar from end to end of each interval and a tick at each estimate."""
    from matplotlib.ticker import MaxNLocator

    n = len(panel.estimates)
    wide, pitch = 72 * size[0], 72 * size[1] / n  # of the panel and of a row, in points
    y = np.arange(n)
    words = ends(panel.lower, panel.upper)
    small = min(8.0, 0.4 * pitch, wide / (0.6 * max(map(len, words))))
    if include_values is None:
        include_values = small >= NOTE_FONT
    ax.hlines(y, 0, 1, transform=ax.get_yaxis_transform(), color=GUIDE, linewidth=0.8, zorder=0)
    bars = ax.hlines(
        y,
        panel.lower,
        panel.upper,
        colors=colors,
        linewidth=np.clip(0.22 * pitch, 1.5, 6),
        zorder=2,
    )
    tick = float(np.clip(0.4 * pitch, 3, 11))
    (ticks,) = ax.plot(
        panel.estimates, y, "|", color=INK, markersize=tick, markeredgewidth=1.4, zorder=3
    )
    low, high = panel.lower.min(), panel.upper.max()
    room = 0.08 * (high - low) or 0.1 * abs(high) or 0.1
    ax.set(xlim=(low - room, high + room), ylim=(n - 0.5, -0.5 - 0.15 * bool(include_values)))
    if include_values:
        write_ends(ax, panel, words, 0.2 * pitch, small)
    ax.xaxis.set_major_locator(MaxNLocator(int(np.clip(wide / 36, 1, 4))))
    ax.tick_params(axis="x", labelsize=8)
    ax.grid(False)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.set_yticks([])
    return bars, ticks


def name_rows(ax, names: list[str], colors, pitch: float) -> None:
    """Name as many rows as there is room for, so many points apart, in their colours."""
    font = readable(0.6 * pitch, 10)
    rows = rows_with_room(range(len(names)), 1.05 * font / pitch)
    ax.set_yticks(rows, [shortened(names[r]) for r in rows], fontsize=font)
    for row, label in zip(rows, ax.get_yticklabels()):
        label.set(color=colors[row], parse_math=False)
        label.set_fontweight("bold" if font >= NOTE_FONT else "normal")


def write_ends(ax, panel: Panel, words: list[str], above: float, font: float) -> None:
    """Write the ends of each interval over it, so many points above; within the axes."""
    left, right = ax.get_xlim()
    for row, (low, high) in enumerate(zip(panel.lower, panel.upper)):
        share = ((low + high) / 2 - left) / (right - left)
        side = "left" if share < 0.3 else "right" if share > 0.7 else "center"
        x = {"left": low, "right": high, "center": (low + high) / 2}[side]
        ax.annotate(
            words[row], (x, row), (0, above), textcoords="offset points",
            ha=side, va="bottom", fontsize=font, color=INK,
        )  # fmt: skip


def ends(lower, upper) -> list[str]:
    """Intervals in few characters: two digits of the usual width are seen."""
    width, size = np.median(upper - lower), np.abs([lower, upper]).max()
    if not width > 0:
        return [f"{low:.4g}" for low in lower]
    if 1e-5 < width and size < 1e5:
        form = f".{int(max(0, 1 - np.floor(np.log10(width))))}f"
    else:
        form = f".{int(np.clip(np.log10(size / width) + 2, 2, 8))}g"
    return [f"{low:{form}} to {high:{form}}" for low, high in zip(lower, upper)]


def key_below(ax, words: str):
    """Say below the panels what is drawn."""
    return ax.annotate(
        words, (0.5, 0), (0, -24), xycoords="axes fraction", textcoords="offset points",
        ha="center", va="top", fontsize=8.5, color="0.35", annotation_clip=False,
    )  # fmt: skip


# --------------------------------------------------------------------------- ellipses


def ellipses(centres, covariances, radius: float) -> np.ndarray:
    """Curves of so many standard deviations about centres, shape (..., n_points, 2)."""
    sizes, axes = np.linalg.eigh(covariances)
    roots = axes * np.sqrt(np.maximum(sizes, 0.0))[..., None, :]
    curves = np.asarray(centres)[..., None] + radius * (roots @ CIRCLE)
    return np.swapaxes(curves, -1, -2)


def draw_ellipses(ax, at, draws, regions, radii, rows, names, colors) -> dict:
    """Draw components as ellipses, with those of other mixtures, and regions of their means.

    Parameters
    ----------
    at : Marginals
        The fit.
    draws : Marginals
        Mixtures that the truth may be.
    regions : tuple of ndarray
        Centres and covariance matrices.
    radii : tuple of float
        Of the components and of the regions, in standard deviations.
    rows : ndarray of shape (n, 2) or None

    Returns
    -------
    dict of artists
    """
    from matplotlib.collections import LineCollection, PolyCollection

    artists = {"rows": None if rows is None else draw_rows(ax, rows)}
    curves = ellipses(draws.means, draws.covariances, radii[0])  # (n_draws, K, n_points, 2)
    strength = float(np.clip(8.0 / len(draws), 0.08, 0.6))
    artists["draws"] = [
        ax.add_collection(
            LineCollection(curves[:, k], colors=color, linewidths=0.7, alpha=strength, zorder=2)
        )
        for k, color in enumerate(colors)
    ]
    fit = ellipses(at.means[0], at.covariances[0], radii[0])
    artists["fit"] = ax.add_collection(LineCollection(fit, colors=colors, linewidths=1.4, zorder=3))
    artists["regions"] = ax.add_collection(
        PolyCollection(
            ellipses(*regions, radii[1]), facecolors=colors, edgecolors=INK, linewidths=0.7,
            zorder=4,
        )
    )  # fmt: skip
    for k, curve in enumerate(fit):
        name_at(ax, shortened(names[k]), curve[curve[:, 1].argmax()], colors[k])
    ax.autoscale_view()
    ax.margins(0.06)
    return artists


def draw_rows(ax, rows):
    """Draw rows as small points in the back."""
    return ax.scatter(*rows.T, s=4, color=ROWS, alpha=0.5, linewidths=0, zorder=1)


def name_at(ax, name: str, place, color) -> None:
    """Write the name of a component above a place, readable on lines and points."""
    from matplotlib.patheffects import withStroke

    ax.annotate(
        name, place, (0, 4), textcoords="offset points", ha="center", va="bottom", color=color,
        fontweight="bold", fontsize=10, zorder=6, parse_math=False,
        path_effects=[withStroke(linewidth=3, foreground="w")],
    )  # fmt: skip


# --------------------------------------------------------------------------- densities


def places_of(at) -> np.ndarray:
    """Points of one feature at which densities are drawn: where one can see them."""
    sizes = np.sqrt(at.covariances[0, :, 0, 0])
    means = at.means[0, :, 0]
    near = means[:, None] + sizes[:, None] * np.linspace(-4, 4, 81)
    whole = np.linspace(near.min(), near.max(), 200)
    return np.unique(np.concatenate([near.ravel(), whole]))


def draw_density(ax, x, at, band, rows, names, colors) -> dict:
    """Draw the density of one feature with a band about it, and what each component adds.

    Returns
    -------
    dict of artists
    """
    parts = at.densities(x)[0]
    artists = {"rows": None}
    if rows is not None:
        artists["rows"] = ax.hist(
            rows[:, 0], bins="auto", density=True, color="0.9", zorder=0, range=(x[0], x[-1])
        )[2]
    artists["components"] = [
        ax.plot(x, part, "--", color=color, linewidth=1.2, zorder=1)[0]
        for part, color in zip(parts, colors)
    ]
    artists["band"] = ax.fill_between(x, *band, color=BAND, linewidth=0, zorder=2)
    (artists["fit"],) = ax.plot(x, parts.sum(axis=0), color=INK, linewidth=0.9, zorder=3)
    if len(colors) > 1:
        for k, part in enumerate(parts):
            top = part.argmax()
            name_at(ax, shortened(names[k]), (x[top], part[top]), colors[k])
    ax.set_ylim(bottom=0)
    ax.margins(x=0)
    return artists


def legend_below(ax, artists: dict, words: dict):
    """A legend under the name of the x axis, which hides nothing; of what there is."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.transforms import ScaledTranslation

    signs = {
        "fit": Line2D([], [], color=INK, linewidth=1.4),
        "regions": Patch(facecolor="0.5", edgecolor=INK, linewidth=0.8),
        "draws": Line2D([], [], color="0.6", linewidth=0.8),
        "band": Patch(facecolor=BAND),
        "components": Line2D([], [], color="0.4", linewidth=1.2, linestyle="--"),
        "rows": artists["rows"],
    }
    there = [name for name in words if artists[name]]
    below = ScaledTranslation(0, -36 / 72, ax.figure.dpi_scale_trans)
    return ax.legend(
        [signs[name] for name in there], [words[name] for name in there],
        loc="upper center", bbox_to_anchor=(0.5, 0), bbox_transform=ax.transAxes + below, ncols=2,
        frameon=False, fontsize=8.5, borderaxespad=0, columnspacing=1.5, markerscale=2,
    )  # fmt: skip
