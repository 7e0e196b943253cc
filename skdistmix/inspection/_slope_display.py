"""SlopeHeuristicDisplay: whether a penalty can be read off the contrasts of models."""

from __future__ import annotations

import numpy as np
from sklearn.exceptions import NotFittedError

from .._validation import described
from ._drawing import with_matplotlib

__all__ = ["SlopeHeuristicDisplay"]

LINE, CHOICE = "#b2182b", "#2166ac"


class SlopeHeuristicDisplay:
    """The line that a slope heuristic has found, and how the choice depends on the penalty.

    It answers whether the most complex models lie on a line, and whether one jump of the complexity
    is much larger than the others; then the heuristic can be trusted. Create it with
    :meth:`from_fit`. All numbers that are drawn are attributes.

    Parameters
    ----------
    penalty_shape, contrast : array-like of shape (n_models,)
        Of the models that take part.
    slope : float, optional
        Of minus the contrast over the penalty shape. None: there is no line.
    line_start : int, default=0
        The first model that the line was fitted to.
    slope_choice : int, optional
        The model that the slope leads to.
    penalties : array-like of shape (n_jumps,)
        Where the choice changes, increasing.
    complexities : array-like of shape (n_jumps + 1,)
        Complexities of the models chosen between them.
    jump : float, optional
        The penalty at the largest jump. None: there is no jump.
    factor : float, default=2.0
        Penalty over smallest penalty.

    Attributes
    ----------
    penalty_shape, contrast : ndarray of shape (n_models,)
    slope, jump, factor : float or None
    line_start, slope_choice : int or None
    penalties, complexities : ndarray
    figure_ : matplotlib Figure
        This and what follows is there after `plot`.
    axes_ : ndarray of two matplotlib Axes
        Contrasts on the left, choices on the right.
    points_ : matplotlib PathCollection
    line_ : matplotlib Line2D or None
        The line of the slope.
    steps_ : matplotlib Line2D
        Complexity of the choice over the penalty.
    marks_ : dict of matplotlib Line2D
        Vertical lines on the right: "jump", and the penalties "by jump" and "by slope" that the
        methods end with.

    See Also
    --------
    skdistmix.model_selection.SlopeHeuristic : Makes the choice.

    References
    ----------
    Baudry, J.-P., Maugis, C. and Michel, B. (2012). Slope heuristics: overview and implementation.
    Statistics and Computing 22, 455-470.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from skdistmix.inspection import SlopeHeuristicDisplay
    >>> from skdistmix.model_selection import SlopeHeuristic
    >>> complexity = np.arange(1, 21)
    >>> contrast = 100 * np.maximum(4 - complexity, 0) - 0.8 * complexity
    >>> display = SlopeHeuristicDisplay.from_fit(SlopeHeuristic().fit(complexity, contrast))
    >>> sorted(display.marks_)
    ['by jump', 'by slope', 'jump']
    >>> plt.show()  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        penalty_shape,
        contrast,
        penalties,
        complexities,
        slope=None,
        line_start=0,
        slope_choice=None,
        jump=None,
        factor=2.0,
    ):
        self.penalty_shape, self.contrast = _vectors(
            penalty_shape=penalty_shape, contrast=contrast, n_more=0
        )
        self.penalties, self.complexities = _vectors(
            penalties=penalties, complexities=complexities, n_more=1
        )
        self.slope, self.jump, self.factor = slope, jump, factor
        self.line_start, self.slope_choice = line_start, slope_choice

    @classmethod
    def from_fit(cls, heuristic, *, axes=None, points_kw=None, line_kw=None):
        """Show a fitted slope heuristic.

        Parameters
        ----------
        heuristic : SlopeHeuristic
            Fitted.
        axes : sequence of two matplotlib Axes, optional
            As for :meth:`plot`.
        points_kw, line_kw : dict, optional
            As for :meth:`plot`.

        Returns
        -------
        SlopeHeuristicDisplay
            After `plot`.

        Raises
        ------
        TypeError
            If it is something else.
        NotFittedError
            If it is not fitted.
        ImportError
            If matplotlib is not installed.
        """
        if type(heuristic).__name__ != "SlopeHeuristic":
            raise TypeError(
                f"SlopeHeuristicDisplay shows a SlopeHeuristic, got {described(heuristic)}."
            )
        if not hasattr(heuristic, "table_"):
            raise NotFittedError("This SlopeHeuristic is not fitted yet: call fit first.")
        table, plateau = heuristic.table_, heuristic.plateau_
        place = {int(index): row for row, index in enumerate(table["index"])}
        line_start, slope_choice = 0, None
        if plateau is not None:
            sizes = heuristic.plateau_sizes_
            line_start = int(sizes[:plateau].sum() + sizes[plateau] // 2)
            slope_choice = place[heuristic.slope_index_]
        path = [place[int(index)] for index in heuristic.jump_choices_]
        display = cls(
            penalty_shape=table["penalty_shape"],
            contrast=table["contrast"],
            slope=heuristic.slope_,
            line_start=line_start,
            slope_choice=slope_choice,
            penalties=heuristic.jump_penalties_,
            complexities=table["complexity"][path],
            jump=heuristic.jump_,
            factor=heuristic.factor,
        )
        return display.plot(axes=axes, points_kw=points_kw, line_kw=line_kw)

    def plot(self, *, axes=None, points_kw=None, line_kw=None):
        """Draw contrasts with their line, and beside it the choice for each penalty.

        Parameters
        ----------
        axes : sequence of two matplotlib Axes, optional
            None: a new figure.
        points_kw : dict, optional
            Passed to ``Axes.scatter``.
        line_kw : dict, optional
            Passed to ``Axes.plot`` for the line of the slope.

        Returns
        -------
        self

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        with_matplotlib("SlopeHeuristicDisplay")
        if axes is None:
            import matplotlib.pyplot as plt

            _, axes = plt.subplots(1, 2, figsize=(9.5, 4), layout="constrained")
        self.axes_ = np.array(axes, dtype=object)
        self.figure_ = self.axes_[0].figure
        self._draw_contrasts(self.axes_[0], points_kw or {}, line_kw or {})
        self._draw_choices(self.axes_[1])
        for ax in self.axes_:
            ax.spines[["top", "right"]].set_visible(False)
        return self

    def _draw_contrasts(self, ax, points_kw, line_kw):
        x, y = self.penalty_shape, -self.contrast
        self.points_ = ax.scatter(x, y, **{"s": 22, "color": "0.3", "zorder": 2, **points_kw})
        self.line_ = None
        if self.slope is not None:
            used = slice(self.line_start, None)
            intercept = np.median(y[used] - self.slope * x[used])
            style = {"color": LINE, "linewidth": 1.2, "zorder": 1, **line_kw}
            label = f"slope {self.slope:.3g} of {len(x[used])} models"
            (self.line_,) = ax.plot(x, intercept + self.slope * x, label=label, **style)
            # the line may begin far below the contrasts of small models: these set the scale
            margin = 0.05 * np.ptp(y)
            ax.set_ylim(y.min() - margin, y.max() + margin)
            ring = {"s": 110, "facecolors": "none", "edgecolors": CHOICE, "linewidths": 1.5}
            k = self.slope_choice
            if k is not None:
                ax.scatter(x[k : k + 1], y[k : k + 1], label="choice", zorder=3, **ring)
            ax.legend(frameon=False, loc="lower right")
        ax.set(xlabel="penalty shape", ylabel="minus contrast")

    def _draw_choices(self, ax):
        marks = {}
        if self.jump is not None:
            marks = {"jump": self.jump, "by jump": self.factor * self.jump}
        if self.slope is not None:
            marks["by slope"] = self.factor * self.slope
        known = [value for value in marks.values() if value > 0]
        end = 2 * max(known) if known else 1.0
        inside = self.penalties[self.penalties < end]
        x = np.concatenate([[0.0], inside, [end]])
        y = np.append(self.complexities[: len(inside) + 1], self.complexities[len(inside)])
        (self.steps_,) = ax.plot(x, y, drawstyle="steps-post", color="0.3", linewidth=1.5)
        styles = {
            "jump": {"color": LINE, "linestyle": ":"},
            "by jump": {"color": LINE, "linestyle": "--"},
            "by slope": {"color": CHOICE, "linestyle": "-."},
        }
        self.marks_ = {
            name: ax.axvline(value, linewidth=1.2, label=name, **styles[name])
            for name, value in marks.items()
        }
        if marks:
            ax.legend(frameon=False, title="penalty", loc="upper right")
        ax.set(xlabel="penalty", ylabel="complexity of the choice", xlim=(0, end))
        ax.set_ylim(bottom=0)


def _vectors(n_more: int, **two) -> list[np.ndarray]:
    """Two arrays, the second with so many more numbers than the first."""
    (first, a), (second, b) = two.items()
    a, b = np.array(a, dtype=np.float64), np.array(b, dtype=np.float64)
    if a.ndim != 1 or b.shape != (len(a) + n_more,):
        more = f" and {n_more} more" if n_more else ""
        raise ValueError(
            f"{first} has the shape {a.shape} and {second} {b.shape}: expected one number each"
            f"{more}."
        )
    return [a, b]
