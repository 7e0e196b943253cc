"""The parts of a matrix of shards with bars beside it, drawn with matplotlib."""

from __future__ import annotations

import numpy as np

__all__ = [
    "draw_bars",
    "draw_colorbar",
    "draw_matrix",
    "name_rows",
    "new_axes",
    "readable",
    "split",
    "value_font",
    "with_matplotlib",
    "write_values",
]

SIDES = ([5, 12, 60], [2.3, 5.4, 7.5])  # of a new matrix of so many rows, in inches
BARS, KEY, GAP = 1.7, 0.14, 0.12  # the bars, the key to the colours, the space between, in inches
LONGEST = 28  # characters of a name that are drawn
SMALLEST_FONT = 5.0  # points that names can be read at
NOTE_FONT = 7.0  # points that numbers are worth to be written at
INK = "#b2182b"  # of what is rejected; a sign says it too
GAMMA = 1 / 3  # colours follow this power of the distance
CROSS = "×"


def with_matplotlib(display: str):
    """The package, imported when something is drawn by the class of this name."""
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError(f'{display} needs matplotlib: pip install "skdistmix[plot]"') from error
    return matplotlib


# --------------------------------------------------------------------------- places


def new_axes(names: list[str]):
    """Axes in a new figure for rows of these names, and their width and height in inches."""
    import matplotlib.pyplot as plt

    side = float(np.interp(len(names), *SIDES))
    letter = 0.0075 * plt.rcParams["font.size"]
    label = letter * max(len(shortened(name)) for name in names)
    figsize = (label + side + GAP + BARS + 0.7, side + 1.3)
    _, ax = plt.subplots(figsize=figsize, layout="constrained")
    return ax, (side + GAP + BARS, side)


def split(ax, n_rows: int, size=None):
    """Put two axes into the place of one: a square for a matrix, and what stands to its right.

    Parameters
    ----------
    ax : Axes
        Made invisible but for its title.
    size : tuple of float, optional
        Its width and height in inches; None: what it has.

    Returns
    -------
    square, beside : Axes
    pitch : float
        Height of a row of the matrix, in points.
    """
    width, height = ax.get_window_extent().size / ax.figure.dpi if size is None else size
    ax.set_axis_off()
    bars = min(BARS, 0.4 * width)
    room = width - bars - GAP
    side = min(room, height)
    square = ax.inset_axes([0, 0, room / width, 1])
    square.set(aspect="equal", anchor="NW")
    beside = square.inset_axes([1 + GAP / side, 0, bars / room, 1])
    return square, beside, 72 * side / n_rows


def readable(pitch: float, usual: float) -> float:
    """Size of letters that fit into rows of this height, all in points."""
    return float(np.clip(0.85 * pitch, SMALLEST_FONT, 0.9 * usual))


# --------------------------------------------------------------------------- the matrix


def draw_matrix(ax, values, cmap, im_kw):
    """A picture of values from 0 to 1, hatched where there is none."""
    from matplotlib.colors import PowerNorm

    kw = {"cmap": cmap, "interpolation": "nearest", **(im_kw or {})}
    if "norm" not in kw:
        kw["norm"] = PowerNorm(GAMMA, kw.pop("vmin", 0.0), kw.pop("vmax", 1.0))
    ax.patch.set(facecolor="0.96", edgecolor="0.7", hatch="////", linewidth=0)
    im = ax.imshow(np.ma.masked_invalid(values), **kw)
    ax.grid(False)
    return im


def value_font(font: float, pitch: float) -> float:
    """Size of letters of a number in a cell, in points."""
    return min(font, 0.31 * pitch)


def write_values(ax, im, values, font: float):
    """Write values into their cells, in black or white, whichever stands out."""
    texts = np.full(values.shape, None, dtype=object)
    for (i, j), value in np.ndenumerate(values):
        if i != j and np.isfinite(value):
            red, green, blue, _ = im.to_rgba(value)
            color = "k" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "w"
            texts[i, j] = ax.text(
                j, i, number(value), ha="center", va="center", color=color, fontsize=font
            )
    return texts


def name_rows(ax, names: list[str], rejected, font: float, pitch: float) -> None:
    """Name as many rows as there is room for; rejected ones first, with a cross.

    Parameters
    ----------
    rejected : ndarray of int
        Rows.
    pitch : float
        Height of a row in points.
    """
    rows = rows_with_room([*rejected, *range(len(names))], 1.05 * font / pitch)
    marks = set(rejected.tolist())
    labels = [f"{CROSS} {shortened(names[r])}" if r in marks else shortened(names[r]) for r in rows]
    ax.set_yticks(rows, labels, fontsize=font)
    ax.set_xticks(rejected, [CROSS] * len(rejected), fontsize=max(font, 8.0))
    ax.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    for row, label in zip(rows, ax.get_yticklabels()):
        label.set_parse_math(False)  # a dollar in a name is a dollar
        if row in marks:
            label.set(color=INK, fontweight="bold")
    for label in ax.get_xticklabels():
        label.set(color=INK, fontweight="bold")


def draw_colorbar(ax, im, side: float):
    """A key to the colours below the matrix, whose side is so many points."""
    side = side / 72
    place = ax.inset_axes([0, -(GAP + KEY) / side, 1, KEY / side])
    key = ax.figure.colorbar(im, cax=place, orientation="horizontal")
    key.set_label("distance of two models: 0 equal, 1 no overlap", fontsize=9)
    if im.norm.vmin == 0 and im.norm.vmax == 1:
        ticks = [0, 0.01, 0.1, 0.3, 1]
        key.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks], fontsize=9)
    return key


# --------------------------------------------------------------------------- the bars


def draw_bars(ax, shares, rejected, missing, font: float, bar_kw):
    """Bars of shares in rows from above, with what there is to say of a row.

    Parameters
    ----------
    rejected, missing : ndarray of int
        Rows.
    """
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    n, longest = len(shares), shares.max()
    bars = ax.barh(np.arange(n), shares, **{"color": "0.45", "height": 0.8, **(bar_kw or {})})
    ax.set(ylim=(n - 0.5, -0.5), yticks=[])
    ax.set_xlabel("weight", fontsize=9, loc="left")
    ax.grid(False)
    ax.spines[["top", "right", "bottom"]].set_visible(False)
    if font >= NOTE_FONT:
        ax.set(xlim=(0, 1.5 * longest), xticks=[])
        for row, note in enumerate(notes_on(shares, rejected, missing)):
            style = {"color": INK, "fontweight": "bold"} if row in rejected else {}
            ax.annotate(
                note, (shares[row], row), (4, 0), textcoords="offset points", va="center",
                fontsize=font, **style,
            )  # fmt: skip
        return bars
    ax.set_xlim(0, 1.05 * longest)
    ax.xaxis.set(
        major_locator=MaxNLocator(2, prune="lower"),
        major_formatter=FuncFormatter(lambda share, _: f"{100 * share:g}%"),
    )
    ax.tick_params(labelsize=9)
    ax.plot(np.zeros(len(rejected)), rejected, "x", color=INK, markersize=5, clip_on=False)
    keys = ["weight"]
    if len(rejected):
        keys.append(f"{CROSS} rejected")
    if len(missing):
        keys.append("hatched: no model")
    ax.set_xlabel("\n".join(keys), fontsize=9, loc="left")
    return bars


def notes_on(shares, rejected, missing) -> list[str]:
    """What stands beside each bar."""
    notes = [percent(share) for share in shares]
    for row in missing:
        notes[row] = "no model"
    for row in rejected:
        notes[row] = f"{CROSS} no usable model" if row in missing else f"{CROSS} rejected"
    return notes


# --------------------------------------------------------------------------- words


def shortened(name: str) -> str:
    """A name with its middle left out if it is long; paths differ at their ends."""
    name = " ".join(name.split())
    if len(name) <= LONGEST:
        return name
    tail = 2 * LONGEST // 3
    return f"{name[: LONGEST - tail - 1]}…{name[-tail:]}"


def number(value: float) -> str:
    """A distance in few characters."""
    if value == 0:
        return "0"
    if value < 0.0005:
        return f"{value:.0e}"
    return f"{value:.3f}" if value < 0.0995 else f"{value:.2f}"


def percent(share: float) -> str:
    """A share in few characters."""
    return f"{share:.1%}" if 0 < share < 0.0995 else f"{share:.0%}"


def rows_with_room(candidates, gap: float) -> list[int]:
    """Of rows in the order of their importance, those that keep a distance from earlier ones."""
    taken = []
    for row in candidates:
        if all(abs(row - other) >= gap for other in taken):
            taken.append(int(row))
    return sorted(taken)
