"""CriterionDisplay: a criterion against the number of components."""

from __future__ import annotations

import numpy as np

from .._validation import described
from ._drawing import shortened, with_matplotlib

__all__ = ["CriterionDisplay"]

MARKERS = "osD^v<>PXph*8d"  # lines differ by colour and by marker
LINEAR = 10.0  # differences up to which a scale is linear; the smallest that criteria mean
BESIDE = 5  # lines from which the key stands beside the picture


class CriterionDisplay:
    """A criterion against the number of components, a line for each setting of what else varies.

    It answers which number of components a criterion chooses, how clearly, and whether the answer
    depends on the covariance type. Create it with :meth:`from_search` or :meth:`from_results`. All
    numbers that are drawn are attributes.

    Parameters
    ----------
    n_components : array-like of int of shape (n_models,)
    criterion : array-like of shape (n_models,)
        The smaller the better; NaN for models that could not be fitted.
    lines : sequence of str of shape (n_models,), optional
        The name of the line that each model belongs to. None: there is one line.
    stopped : array-like of bool of shape (n_models,), optional
        Models whose criterion would have fallen further; their markers are hollow. None: none.
    criterion_name : str, default="criterion"
        What the vertical axis shows.

    Attributes
    ----------
    n_components : ndarray of int
    criterion : ndarray of float
    lines : list of str
    stopped : ndarray of bool
    best_index : int
        The model with the smallest criterion.
    criterion_name : str
    ax_ : matplotlib Axes
        This and what follows is there after `plot`.
    figure_ : matplotlib Figure
    lines_ : dict of matplotlib Line2D
        By name, in the order in which they first occur.
    best_ : matplotlib Line2D
        The ring around the best model.

    See Also
    --------
    skdistmix.model_selection.MixtureSearch : Fits the models that are shown.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from skdistmix import DistributedGMM
    >>> from skdistmix.inspection import CriterionDisplay
    >>> from skdistmix.model_selection import MixtureSearch
    >>> X = np.random.default_rng(0).normal(np.repeat([[-4.0], [4.0]], 200, axis=0))
    >>> gmm = DistributedGMM(tol="likelihood", max_iter=2000, random_state=0)
    >>> search = MixtureSearch(gmm, {"n_components": [1, 2, 3]}).fit(X)
    >>> display = CriterionDisplay.from_search(search)
    >>> int(display.n_components[display.best_index])
    2
    >>> plt.show()  # doctest: +SKIP
    """

    def __init__(
        self, *, n_components, criterion, lines=None, stopped=None, criterion_name="criterion"
    ):
        self.n_components = _checked_sizes(n_components)
        n = len(self.n_components)
        self.criterion = _of_length(np.array(criterion, dtype=float), n, "criterion")
        if not np.isfinite(self.criterion).any():
            raise ValueError("criterion has no finite value: there is nothing to draw.")
        self.lines = [""] * n if lines is None else [str(name) for name in lines]
        _of_length(self.lines, n, "lines")
        stopped = np.zeros(n, dtype=bool) if stopped is None else np.array(stopped, dtype=bool)
        self.stopped = _of_length(stopped, n, "stopped")
        self.criterion_name = criterion_name
        self.best_index = int(np.nanargmin(self.criterion))

    @classmethod
    def from_search(cls, search, *, ax=None, differences=False, line_kw=None):
        """Show the criterion that a fitted search chose by.

        Parameters
        ----------
        search : MixtureSearch, or GridSearchCV whose score is minus a criterion
            Fitted.
        ax : matplotlib Axes, optional
            As for :meth:`plot`.
        differences : bool, default=False
            As for :meth:`plot`.
        line_kw : dict, optional
            As for :meth:`plot`.

        Returns
        -------
        CriterionDisplay
            After `plot`.

        Raises
        ------
        TypeError
            If it is no fitted search.
        ValueError
            If the grid does not vary the number of components.
        ImportError
            If matplotlib is not installed.
        """
        with_matplotlib(cls.__name__)
        if not hasattr(search, "cv_results_"):
            raise TypeError(
                "CriterionDisplay.from_search shows a fitted MixtureSearch or GridSearchCV, got "
                f"{described(search)} without cv_results_: call fit first."
            )
        criterion = getattr(search, "criterion", None)
        is_known = isinstance(criterion, str)
        name = criterion.upper() if is_known else getattr(criterion, "__name__", "")
        name = "criterion" if name in ("", "<lambda>") else name
        return cls.from_results(
            search.cv_results_, criterion_name=name, ax=ax, differences=differences,
            line_kw=line_kw,
        )  # fmt: skip

    @classmethod
    def from_results(
        cls, results, *, criterion_name="criterion", ax=None, differences=False, line_kw=None
    ):
        """Show results in the layout of a search, such as those of two searches put together.

        Parameters
        ----------
        results : dict
            As ``cv_results_``: `params`, a dict a model, and `mean_test_score`, which is minus the
            criterion; `stopped` if there is.
        criterion_name : str, default="criterion"
            What the vertical axis shows.
        ax : matplotlib Axes, optional
            As for :meth:`plot`.
        differences : bool, default=False
            As for :meth:`plot`.
        line_kw : dict, optional
            As for :meth:`plot`.

        Returns
        -------
        CriterionDisplay
            After `plot`.

        Raises
        ------
        ValueError
            If `params` or `mean_test_score` is missing, or no `n_components` is in `params`.
        ImportError
            If matplotlib is not installed.
        """
        with_matplotlib(cls.__name__)
        missing = [name for name in ("params", "mean_test_score") if name not in results]
        if missing:
            raise ValueError(f"results have no {missing[0]!r}: give cv_results_ of a search.")
        params = results["params"]
        sizes = [_size_of(cell) for cell in params]
        if any(size is None for size in sizes):
            raise ValueError(
                "n_components is not in all params of the results: it is what the horizontal axis "
                "shows, so let the grid say it."
            )
        display = cls(
            n_components=sizes,
            criterion=-np.asarray(results["mean_test_score"], dtype=float),
            lines=_names_of_lines(params),
            stopped=results.get("stopped"),
            criterion_name=criterion_name,
        )
        return display.plot(ax=ax, differences=differences, line_kw=line_kw)

    def plot(self, *, ax=None, differences=False, line_kw=None):
        """Draw the lines, and a ring around the best model.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            None: a new figure.
        differences : bool, default=False
            Whether to draw differences from the smallest, on a scale that is linear up to 10 and
            logarithmic beyond: close models are told apart beside some that are far off.
        line_kw : dict, optional
            Passed to ``Axes.plot`` for every line.

        Returns
        -------
        self

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        with_matplotlib(type(self).__name__)
        names = list(dict.fromkeys(self.lines))
        beside = len(names) >= BESIDE
        if ax is None:
            import matplotlib.pyplot as plt

            _, ax = plt.subplots(figsize=(7.0 if beside else 5.6, 4.2), layout="constrained")
        self.ax_, self.figure_, self.lines_ = ax, ax.figure, {}
        values = self.criterion - self.criterion[self.best_index] if differences else self.criterion
        for i, name in enumerate(names):
            self.lines_[name] = self._draw_line(name, values, i, line_kw or {})
        best = self.lines_[self.lines[self.best_index]]
        (self.best_,) = ax.plot(
            self.n_components[self.best_index], values[self.best_index], "o", markersize=15,
            fillstyle="none", markeredgewidth=1.6, color=best.get_color(), zorder=4,
        )  # fmt: skip
        if differences:
            ax.set_yscale("symlog", linthresh=LINEAR)
            ax.set_ylim(bottom=-0.15 * LINEAR)
        ax.set_xlabel("number of components")
        unit = f"{self.criterion_name} above the smallest" if differences else self.criterion_name
        ax.set_ylabel(unit, parse_math=False)
        ax.xaxis.get_major_locator().set_params(integer=True)
        self._draw_key(names, beside)
        return self

    def _draw_line(self, name: str, values, place: int, line_kw: dict):
        mine = [i for i, line in enumerate(self.lines) if line == name]
        mine = sorted(
            (i for i in mine if np.isfinite(values[i])), key=self.n_components.__getitem__
        )
        settings = {"marker": MARKERS[place % len(MARKERS)], "markersize": 6, "linewidth": 1.4}
        settings["linestyle"] = "-" if place < 10 else "--"
        settings |= line_kw
        (line,) = self.ax_.plot(
            self.n_components[mine], values[mine], label=shortened(name), **settings
        )
        hollow = [i for i in mine if self.stopped[i]]
        self.ax_.plot(
            self.n_components[hollow], values[hollow], linestyle="none", label="_",
            marker=settings["marker"], markersize=line.get_markersize(), color=line.get_color(),
            markerfacecolor=self.ax_.get_facecolor(), zorder=3,
        )  # fmt: skip
        return line

    def _draw_key(self, names: list[str], beside: bool) -> None:
        from matplotlib.lines import Line2D

        handles = [self.lines_[name] for name in names if name]
        if self.stopped.any():
            hollow = Line2D([], [], marker="o", color="0.4", linestyle="none", fillstyle="none")
            hollow.set_label("stopped early")
            handles.append(hollow)
        if not handles:
            return
        place = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)} if beside else {}
        self.ax_.legend(handles=handles, **place)


# --------------------------------------------------------------------------- what lines are called


def _size_of(params: dict):
    """The number of components that the parameters of a model say; None if they say none."""
    name = next((name for name in params if _is_size(name)), None)
    return None if name is None else params[name]


def _is_size(name: str) -> bool:
    return name.split("__")[-1] == "n_components"


def _names_of_lines(params: list[dict]) -> list[str]:
    """A name for what varies beside the number of components, given starts apart."""
    others = [
        {name: value for name, value in cell.items() if not _is_size(name) and _is_plain(value)}
        for cell in params
    ]
    varying = [
        name
        for name in dict.fromkeys(name for cell in others for name in cell)
        if len({str(cell.get(name)) for cell in others}) > 1
    ]
    if len(varying) == 1:
        return [str(cell.get(varying[0])) for cell in others]
    short = {name: name.split("__")[-1] for name in varying}
    return [
        ", ".join(f"{short[name]}={cell[name]}" for name in varying if name in cell)
        for cell in others
    ]


def _is_plain(value) -> bool:
    return np.ndim(value) == 0


# --------------------------------------------------------------------------- checks


def _checked_sizes(n_components) -> np.ndarray:
    sizes = np.array(n_components, dtype=float)
    if sizes.ndim != 1 or not len(sizes):
        raise ValueError(f"n_components has shape {sizes.shape}, expected one number a model.")
    if not (np.isfinite(sizes).all() and (sizes >= 1).all() and (sizes == sizes.round()).all()):
        raise ValueError(f"n_components must be whole numbers from 1, got {n_components}.")
    return sizes.astype(int)


def _of_length(values, n: int, name: str):
    if np.shape(values) != (n,):
        raise ValueError(f"{name} has shape {np.shape(values)}, expected ({n},): one a model.")
    return values
