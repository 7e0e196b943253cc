"""SlopeHeuristic: a penalty whose size is read off the data."""

from __future__ import annotations

import warnings
from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils._param_validation import Interval, StrOptions

from ._robust_line import LINES, slope_of
from ._scored import fitted_scores

__all__ = ["SlopeHeuristic"]

FEWEST = 3  # models: two slopes are the least that a plateau can be made of


class SlopeHeuristic(BaseEstimator):
    """Choice among models by a penalty that is calibrated on their own contrasts.

    The more complex of the models differ by what they learn of the noise only, and there the
    contrast (such as minus the log-likelihood) falls along a straight line of the complexity. The
    slope of that line is the smallest penalty that keeps the largest models from winning; twice
    that is a good penalty (Birgé and Massart 2007). Two ways find the slope: a robust regression on
    the most complex models ("slope"), and the place where the complexity of the chosen model jumps
    down as the penalty grows ("jump"). That they agree is the best sign that they can be trusted.

    Parameters
    ----------
    method : {"slope", "jump"}, default="slope"
        Whose choice `best_index_` is. Both are made.
    factor : float, default=2.0
        Penalty over smallest penalty.
    regression : {"bisquare", "huber", "least-squares"}, default="bisquare"
        How the line is fitted: by M-estimation with the weights of Tukey or Huber, or without any
        guard against models whose fit failed.
    min_plateau : float, default=0.15
        Share of the slopes that must lead to one choice, in a row, for it to be taken.

    Attributes
    ----------
    best_index_ : int
        Position of the chosen model in what was given to `fit`.
    slope_index_, jump_index_ : int or None
        That of each method; None where there is none. Of `slope_index_` only with
        ``method="jump"``.
    slope_, jump_ : float or None
        Estimates of the smallest penalty, per unit of the penalty shape; None as above.
    slope_interval_ : tuple of float or None
        Smallest and largest slope of the chosen plateau.
    slopes_ : ndarray of shape (n_kept - 1,)
        Slopes of the lines through the models from each one on, in order of the penalty shape.
    slope_choices_ : ndarray of int of shape (n_kept - 1,)
        Position of the model that each of these slopes leads to.
    plateau_sizes_ : ndarray of int of shape (n_plateaus,)
        How many slopes in a row lead to the same model.
    plateau_ : int or None
        Which of these plateaus was chosen.
    jump_penalties_ : ndarray of shape (n_jumps,)
        Penalties at which the chosen model changes, increasing.
    jump_choices_ : ndarray of int of shape (n_jumps + 1,)
        Positions of the models chosen between them, from no penalty on.
    jump_sizes_ : ndarray of shape (n_jumps,)
        By how much complexity falls at each.
    table_ : dict of ndarray
        The n_kept models that take part, in order of the penalty shape: "index" (position),
        "complexity", "penalty_shape", "contrast". Of models with one penalty shape only the one
        with the least contrast takes part.

    See Also
    --------
    aggregated_criterion : Has ``method="slope"`` for the sums of local log-likelihoods.
    skdistmix.inspection.SlopeHeuristicDisplay : A picture of the line and of the jumps.

    Notes
    -----
    With contrasts that are minus total log-likelihoods and complexities that are numbers of free
    parameters, `slope_` is in units of log-likelihood a parameter. Regular models that are true
    have 1/2, which makes twice the slope AIC; wrong or mixture models have more.

    "slope" needs models far beyond the one to be chosen, say ten of them; where the last ones
    still describe structure the line is too steep and too small a model is chosen. Look at
    `plateau_sizes_`. Contrasts of mixtures depend on starts: a large model whose fit ended in a
    poor optimum spoils the line, so give these fits several starts (`n_init`). "jump" needs one
    jump that is much larger than the others, see `jump_sizes_`. The plateau that is taken is the
    one of the most complex models that is long enough (and of two slopes at least); of equal
    largest jumps the one of the largest penalty is taken.

    As in R's capushe the regressions are those of ``rlm`` in R's MASS, from least squares, with the
    median absolute residual for the scale, and the slope of a plateau is that in its middle.

    References
    ----------
    Baudry, J.-P., Maugis, C. and Michel, B. (2012). Slope heuristics: overview and implementation.
    Statistics and Computing 22, 455-470.

    Birgé, L. and Massart, P. (2007). Minimal penalties for Gaussian model selection. Probability
    Theory and Related Fields 138, 33-73.

    Examples
    --------
    Contrasts that fall fast to the fourth model, and from there by 0.8 for each unit of complexity:

    >>> import numpy as np
    >>> from skdistmix.model_selection import SlopeHeuristic
    >>> complexity = np.arange(1, 21)
    >>> contrast = 100 * np.maximum(4 - complexity, 0) - 0.8 * complexity
    >>> choice = SlopeHeuristic().fit(complexity, contrast)
    >>> int(complexity[choice.best_index_]), round(choice.slope_, 6), choice.jump_index_
    (4, 0.8, 3)

    From fitted mixtures:

    >>> from skdistmix import DistributedGMM
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(center, 1.0, size=(150, 1)) for center in (-8, 0, 8)])
    >>> options = {"tol": "likelihood", "acceleration": "squarem", "max_iter": 2000}
    >>> models = [DistributedGMM(K, random_state=0, **options).fit(X) for K in range(1, 11)]
    >>> models[SlopeHeuristic().fit_models(models).best_index_].n_components
    3
    """

    _parameter_constraints: dict = {
        "method": [StrOptions({"slope", "jump"})],
        "factor": [Interval(Real, 0.0, None, closed="neither")],
        "regression": [StrOptions(set(LINES))],
        "min_plateau": [Interval(Real, 0.0, 1.0, closed="both")],
    }

    def __init__(self, method="slope", *, factor=2.0, regression="bisquare", min_plateau=0.15):
        self.method = method
        self.factor = factor
        self.regression = regression
        self.min_plateau = min_plateau

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, complexity, contrast, penalty_shape=None):
        """Choose from a table of complexities and contrasts.

        Parameters
        ----------
        complexity : array-like of shape (n_models,)
            At least 0, such as numbers of free parameters.
        contrast : array-like of shape (n_models,)
            Smaller is better, of the data that models were fitted to: minus log-likelihoods, sums
            of squares.
        penalty_shape : array-like of shape (n_models,), optional
            What the penalty is proportional to; it grows with the complexity. None: `complexity`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If arrays do not fit each other, hold NaN or infinities, have fewer than 3 different
            penalty shapes, or the penalty shape does not grow with the complexity; with
            ``method="slope"`` also if no plateau is long enough.

        Warns
        -----
        UserWarning
            With ``method="slope"``, if the slope is not positive.
        """
        return self._choose(complexity, contrast, penalty_shape)

    def _choose(self, complexity, contrast, penalty_shape=None):
        """`fit` for those whose caller is to see the warning."""
        table = _checked_table(complexity, contrast, penalty_shape)
        slopes = np.array(
            [
                slope_of(table["penalty_shape"][p:], -table["contrast"][p:], self.regression)
                for p in range(len(table["index"]) - 1)
            ]
        )
        choices = np.array([_best(table, self.factor * slope) for slope in slopes])
        starts = np.flatnonzero(np.concatenate([[True], choices[1:] != choices[:-1]]))
        sizes = np.diff([*starts, len(slopes)])
        long_enough = np.flatnonzero(sizes >= max(2, self.min_plateau * len(slopes)))
        if not len(long_enough) and self.method == "slope":
            raise ValueError(
                f"No plateau is long enough: the {len(slopes)} slopes lead to one model at most "
                f"{sizes.max()} times in a row. Add more complex models, use a smaller "
                "min_plateau, or method='jump'."
            )
        chosen = int(long_enough[-1]) if len(long_enough) else None
        path, penalties = _penalty_path(table)
        falls = -np.diff(table["complexity"][path])
        if chosen is not None and self.method == "slope":
            _warn_of_slope(slopes[starts[chosen] + sizes[chosen] // 2])
        # Nothing is set before all that may fail has not failed.
        self.table_, self.slopes_ = table, slopes
        self.slope_choices_, self.plateau_sizes_ = table["index"][choices], sizes
        self.plateau_ = chosen
        self.slope_ = self.slope_interval_ = self.slope_index_ = None
        if chosen is not None:
            own = slopes[starts[chosen] : starts[chosen] + sizes[chosen]]
            self.slope_ = float(own[len(own) // 2])
            self.slope_interval_ = float(own.min()), float(own.max())
            self.slope_index_ = int(self.slope_choices_[starts[chosen]])
        self.jump_choices_, self.jump_penalties_ = table["index"][path], penalties
        self.jump_sizes_ = falls
        self.jump_ = self.jump_index_ = None
        if len(falls):
            self.jump_ = float(penalties[np.flatnonzero(falls == falls.max())[-1]])
            self.jump_index_ = int(table["index"][_best(table, self.factor * self.jump_)])
        else:  # the smallest model has the least contrast: no penalty is needed to choose it
            self.jump_index_ = int(table["index"][path[0]])
        self.best_index_ = self.slope_index_ if self.method == "slope" else self.jump_index_
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_models(self, models, X=None, sample_weight=None):
        """Choose among fitted mixtures by their log-likelihoods and numbers of parameters.

        Parameters
        ----------
        models : sequence of fitted mixtures
            Such as :class:`~skdistmix.DistributedGMM`, fitted to the same rows.
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards, optional
            The rows that they were fitted to, read once for all models. None: what the models know
            of the rows of their fits.
        sample_weight : array-like of shape (n_samples,) or list of arrays, optional
            Weights of the rows of X.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError, NotFittedError
            If a model is no fitted mixture; without X, if a model does not know its log-likelihood
            or models were fitted to different numbers of rows; and as `fit`.
        """
        scores, n_parameters = fitted_scores(list(models), X, sample_weight)
        return self._choose(n_parameters, [-score.log_likelihood for score in scores])


def _warn_of_slope(slope: float) -> None:
    if slope <= 0:
        warnings.warn(
            f"The slope is {slope:.3g}: contrasts of the most complex models do not fall, so that "
            "no penalty can be read off them. Fits of these models may have ended in poor optima "
            "(more starts help), or failed; leave those out.",
            UserWarning,
            stacklevel=5,  # the caller of what calls _choose, which a decorator wraps
        )


def _checked_table(complexity, contrast, penalty_shape) -> dict:
    given = {"complexity": complexity, "contrast": contrast}
    if penalty_shape is not None:
        given["penalty_shape"] = penalty_shape
    columns = {
        name: check_array(value, dtype=np.float64, ensure_2d=False, copy=True, input_name=name)
        for name, value in given.items()
    }
    for name, column in columns.items():
        if column.ndim != 1:
            raise ValueError(
                f"{name} has the shape {column.shape}, expected (n_models,): one number a model."
            )
    check_consistent_length(*columns.values())
    columns.setdefault("penalty_shape", columns["complexity"])
    if columns["complexity"].min() < 0:
        raise ValueError(f"complexity must be at least 0, got {columns['complexity'].min():g}.")
    order = np.lexsort((columns["contrast"], columns["penalty_shape"]))
    shape = columns["penalty_shape"][order]
    order = order[np.concatenate([[True], np.diff(shape) > 0])]
    if len(order) < FEWEST:
        raise ValueError(
            f"There are {len(order)} different penalty shapes, and a slope needs at least {FEWEST} "
            "models, better ten or more: fit more of them."
        )
    table = {"index": order, **{name: column[order] for name, column in columns.items()}}
    if np.diff(table["complexity"]).min() <= 0:
        raise ValueError(
            "penalty_shape must grow with complexity: a model with a larger penalty shape has no "
            "larger complexity."
        )
    return table


def _best(table: dict, penalty: float) -> int:
    """Row of the model with the least penalised contrast; of equal ones the least complex."""
    return int(np.argmin(table["contrast"] + penalty * table["penalty_shape"]))


def _penalty_path(table: dict) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the models that are best for some penalty, and the penalties where they change.

    These are the corners of the lower convex envelope of contrasts over penalty shapes, walked from
    the least contrast down to the least penalty shape.
    """
    shape, contrast = table["penalty_shape"], table["contrast"]
    here = int(np.argmin(contrast))
    path, penalties = [here], []
    while here > 0:
        rates = (contrast[:here] - contrast[here]) / (shape[here] - shape[:here])
        here = int(np.argmin(rates))  # the first: of equal ones the least complex
        penalties.append(rates[here])
        path.append(here)
    return np.array(path), np.array(penalties)
