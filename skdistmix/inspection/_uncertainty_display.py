"""UncertaintyDisplay: how sure a fitted mixture is, to look at."""

from __future__ import annotations

import numpy as np
from scipy.stats import chi2
from sklearn.utils import Bunch
from sklearn.utils.validation import check_is_fitted

from .._validation import described
from ..mixture import BLBMixture, DistributedGMM, MixtureOfExpertsAggregator
from ._drawing import shortened, with_matplotlib
from ._estimates import Normal, Resampled, density_band, marginals_of, spread_out, values_of
from ._interval_drawing import (
    Panel,
    colors_of,
    draw_density,
    draw_ellipses,
    draw_panels,
    key_below,
    legend_below,
    new_axes,
    new_panels,
    places_of,
)
from ._uncertainty_input import (
    BLOCKS,
    check_errors,
    check_kind,
    checked_blocks,
    checked_count,
    checked_features,
    checked_level,
    checked_names,
    names_of,
    sample_of,
)

__all__ = ["UncertaintyDisplay"]

HELD = 0.9  # share of the rows of a component that lie in its ellipse


class UncertaintyDisplay:
    """How sure a fitted mixture is of its weights, means and variances.

    Create it with :meth:`from_estimator` from a fitted :class:`~skdistmix.BLBMixture`, or with
    :meth:`from_standard_errors` from what
    :meth:`DistributedGMM.standard_errors <skdistmix.DistributedGMM.standard_errors>` gives.
    There are three kinds of pictures:

    * "intervals": an interval for each parameter, one row a component and one panel for the weights
      and for each feature (a forest plot);
    * "ellipses": the components in two features among those of other mixtures that the truth may
      be, and where the means may be;
    * "density": the density of one feature, with a band.

    Attributes
    ----------
    estimates : Bunch
        Arrays `weights` of shape (n_components,), `means` and `variances` of shape (n_components,
        n_features), whatever the covariance type.
    lower, upper : Bunch
        Ends of their intervals, shaped like these.
    confidence_level : float
    component_names, feature_names : list of str
    rows : ndarray of shape (n_rows, n_features) or None
        The sample of X that is drawn.
    figure_ : matplotlib Figure
        This and what follows is there after `plot`.
    ax_ : matplotlib Axes
    axes_ : ndarray of matplotlib Axes
        The panels of "intervals", inside `ax_`; otherwise `ax_` alone.
    artists_ : Bunch
        What is drawn, as matplotlib artists. Of "intervals": lists `intervals` and `estimates`,
        one entry a panel. Of "ellipses": `fit` and `regions`, a list `draws` with an entry a
        component, and `rows`. Of "density": `fit`, `band`, a list `components`, and `rows`.

    See Also
    --------
    skdistmix.BLBMixture : Intervals from resamples.
    skdistmix.DistributedGMM.standard_errors : Standard errors in one pass.

    Notes
    -----
    The ends of intervals of a :class:`~skdistmix.BLBMixture` are its own. From standard errors they
    are normal intervals: of the means as they are, of the weights on the scale of the logit, of the
    variances on that of the logarithm.

    What is drawn as other mixtures are, of a :class:`~skdistmix.BLBMixture`, the fit less what
    resamples deviate from their subset, which is also what its intervals are made of; from standard
    errors, draws from the normal distribution of the estimates on such scales. The regions of the
    means are ellipses of a normal distribution, and hold both coordinates at once, so that they
    are wider than the intervals of either; each component has its own. The band holds the density
    at each point, not everywhere at once.

    All pictures take labels of components for granted: where components overlap so much that they
    could change places, look at :meth:`BLBMixture.confidence_interval
    <skdistmix.BLBMixture.confidence_interval>` instead.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from skdistmix import DistributedGMM
    >>> from skdistmix.inspection import UncertaintyDisplay
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(rng.choice([-3, 3], size=(500, 1), p=[0.3, 0.7]), 1.0, size=(500, 2))
    >>> gmm = DistributedGMM(2, tol="likelihood", max_iter=1000, random_state=0).fit(X)
    >>> display = UncertaintyDisplay.from_standard_errors(gmm, gmm.standard_errors(X))
    >>> bool((display.lower.means < gmm.means_).all())
    True
    >>> len(display.plot(kind="ellipses", n_draws=20).artists_.draws[0].get_segments())
    20
    >>> plt.show()  # doctest: +SKIP
    """

    def __init__(
        self, source, *, confidence_level, component_names=None, feature_names=None, rows=None
    ):
        self._source = source
        self.confidence_level = checked_level(confidence_level)
        self.estimates = values_of(source.family, source.params)
        self.lower, self.upper = source.intervals(self.confidence_level)
        n_components, n_features = self.estimates.means.shape
        self.component_names = checked_names(component_names, n_components, "component")
        self._short_names = self.component_names  # inside a picture
        if component_names is None:
            self._short_names = [str(k) for k in range(n_components)]
        self._colors = colors_of(n_components)
        self._percent = f"{100 * self.confidence_level:g} %"
        self.feature_names = checked_names(feature_names, n_features, "feature")
        self.rows = rows
        self._n_rows = "" if rows is None else f"{len(rows):,} rows"

    @classmethod
    def from_estimator(
        cls,
        model,
        X=None,
        *,
        kind="intervals",
        blocks=("weights", "means"),
        features=None,
        confidence_level=None,
        component_names=None,
        feature_names=None,
        n_draws=50,
        include_values=None,
        ax=None,
    ):
        """Show what the resamples of a fitted BLBMixture say.

        Parameters
        ----------
        model : BLBMixture
            Fitted.
        X : array-like, DataFrame, list, path, glob or Shards, optional
            Rows of which a sample is drawn in the back of "ellipses" and "density".
        kind : {"intervals", "ellipses", "density"}, default="intervals"
            As for :meth:`plot`.
        blocks : sequence of {"weights", "means", "variances"}, default=("weights", "means")
            As for :meth:`plot`.
        features : int, str or sequence of these, optional
            As for :meth:`plot`.
        confidence_level : float, optional
            None: that of the estimator.
        component_names : sequence of str, optional
            None: "component 0" and so on.
        feature_names : sequence of str, optional
            None: those that the model was fitted with, or "feature 0" and so on.
        n_draws : int, default=50
            As for :meth:`plot`.
        include_values : bool, optional
            As for :meth:`plot`.
        ax : matplotlib Axes, optional
            As for :meth:`plot`.

        Returns
        -------
        UncertaintyDisplay
            After `plot`.

        Raises
        ------
        TypeError
            If it is another kind of estimator.
        NotFittedError
            If it is not fitted.
        ValueError
            If the names or X do not fit it, and as for :meth:`plot`.
        ImportError
            If matplotlib is not installed.
        """
        with_matplotlib(cls.__name__)
        if not isinstance(model, BLBMixture):
            raise TypeError(
                f"UncertaintyDisplay.from_estimator shows a fitted BLBMixture, got "
                f"{described(model)}. Of a model with standard errors call "
                "from_standard_errors(model, model.standard_errors(X)); of a pipeline give the "
                "last step, of a search its best_estimator_."
            )
        check_is_fitted(model)
        display = cls(
            Resampled(model._uncertainty),
            confidence_level=(
                model.confidence_level if confidence_level is None else confidence_level
            ),
            component_names=component_names,
            feature_names=names_of(model) if feature_names is None else feature_names,
            rows=sample_of(model, X),
        )
        return display.plot(
            ax, kind=kind, blocks=blocks, features=features, n_draws=n_draws,
            include_values=include_values,
        )  # fmt: skip

    @classmethod
    def from_standard_errors(
        cls,
        model,
        errors,
        X=None,
        *,
        kind="intervals",
        blocks=("weights", "means"),
        features=None,
        confidence_level=0.95,
        component_names=None,
        feature_names=None,
        n_draws=50,
        include_values=None,
        ax=None,
    ):
        """Show what the standard errors of a fitted mixture say.

        Parameters
        ----------
        model : DistributedGMM or MixtureOfExpertsAggregator
            Fitted.
        errors : Bunch
            What its `standard_errors` gave.
        confidence_level : float, default=0.95
            Of the intervals, regions and bands.
        X, kind, blocks, features, component_names, feature_names, n_draws, include_values, ax :
            As for :meth:`from_estimator`.

        Returns
        -------
        UncertaintyDisplay
            After `plot`.

        Raises
        ------
        TypeError
            If `model` has no standard errors, or `errors` are none.
        NotFittedError
            If it is not fitted.
        ValueError
            If `errors` are those of another fit, the names or X do not fit, and as for
            :meth:`plot`.
        ImportError
            If matplotlib is not installed.
        """
        with_matplotlib(cls.__name__)
        if not isinstance(model, (DistributedGMM, MixtureOfExpertsAggregator)):
            raise TypeError(
                "UncertaintyDisplay.from_standard_errors shows a fitted DistributedGMM or "
                f"MixtureOfExpertsAggregator, got {described(model)}. Of a BLBMixture call "
                "from_estimator(model)."
            )
        check_is_fitted(model)
        family, params = model._family_and_params()
        check_errors(params, errors)
        source = Normal(family, params, errors)
        display = cls(
            source,
            confidence_level=confidence_level,
            component_names=component_names,
            feature_names=names_of(model) if feature_names is None else feature_names,
            rows=sample_of(model, X),
        )
        return display.plot(
            ax, kind=kind, blocks=blocks, features=features, n_draws=n_draws,
            include_values=include_values,
        )  # fmt: skip

    def plot(
        self,
        ax=None,
        *,
        kind="intervals",
        blocks=("weights", "means"),
        features=None,
        n_draws=50,
        include_values=None,
    ):
        """Draw one of the pictures.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Its place is taken. None: a new figure, large enough for what is drawn.
        kind : {"intervals", "ellipses", "density"}, default="intervals"
            What is drawn.
        blocks : sequence of {"weights", "means", "variances"}, default=("weights", "means")
            What "intervals" shows; means and variances by feature.
        features : int, str or sequence of these, optional
            Indices or names: two for "ellipses", one for "density", any number for "intervals".
            None: the first, of "intervals" four at most.
        n_draws : int, default=50
            How many other mixtures "ellipses" shows, at most as many as there are.
        include_values : bool, optional
            Whether the ends of "intervals" are written above them. None: if they can be read there.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `kind`, `blocks` or `n_draws` is none of these, or `features` are not those of the
            mixture or too many or few for this picture.
        ImportError
            If matplotlib is not installed.
        """
        with_matplotlib(type(self).__name__)
        check_kind(kind)
        n_draws = checked_count(n_draws)
        places = checked_features(kind, features, self.feature_names)
        if kind == "intervals":
            return self._plot_intervals(ax, checked_blocks(blocks), places, include_values)
        self.ax_ = new_axes() if ax is None else ax
        self.figure_, self.axes_ = self.ax_.figure, np.array([self.ax_])
        self.ax_.set_xlabel(self.feature_names[places[0]], parse_math=False)
        draw = self._draw_ellipses if kind == "ellipses" else self._draw_density
        at = marginals_of(self._source.family, [self._source.params], places)
        rows = None if self.rows is None else self.rows[:, places]
        draw(at, places, rows, n_draws)
        return self

    def _plot_intervals(self, ax, blocks, places, include_values):
        panels = self._panels(blocks, places)
        size = None
        if ax is None:
            ax, size = new_panels(len(panels), self.component_names)
        axes, intervals, estimates = draw_panels(
            ax, panels, self.component_names, self._colors, include_values, size
        )
        self.ax_, self.figure_, self.axes_ = ax, ax.figure, np.array(axes)
        self.artists_ = Bunch(intervals=intervals, estimates=estimates)
        key_below(ax, f"tick: estimate    bar: {self._percent} interval")
        return self

    def _panels(self, blocks, places) -> list[Panel]:
        panels = []
        for block in blocks:
            values = [source[block] for source in (self.estimates, self.lower, self.upper)]
            if block == "weights":
                panels.append(Panel(BLOCKS[block], *values))
                continue
            for i in places:
                title = f"{BLOCKS[block]} of\n{shortened(self.feature_names[i])}"
                panels.append(Panel(title, *(value[:, i] for value in values)))
        return panels

    def _draw_ellipses(self, at, places, rows, n_draws):
        held, level = chi2.ppf([HELD, self.confidence_level], 2) ** 0.5
        draws = spread_out(self._source.draws(places), n_draws)
        regions = self._source.regions(places)
        self.artists_ = artists = Bunch(
            **draw_ellipses(
                self.ax_, at, draws, regions, (held, level), rows, self._short_names, self._colors
            )
        )
        self.ax_.set_ylabel(self.feature_names[places[1]], parse_math=False)
        words = {
            "fit": f"the fit: {100 * HELD:g} % of each component",
            "regions": f"{self._percent} region of its mean",
            "draws": f"the same for {len(draws)} {self._source.what}",
            "rows": self._n_rows,
        }
        legend_below(self.ax_, artists, words)

    def _draw_density(self, at, places, rows, n_draws):
        x = places_of(at)
        band = density_band(self._source.draws(places), x, self.confidence_level)
        self.artists_ = artists = Bunch(
            **draw_density(self.ax_, x, at, band, rows, self._short_names, self._colors)
        )
        self.ax_.set_ylabel("density")
        words = {
            "fit": "density of the fit",
            "band": f"{self._percent} interval at each point",
            "components": "what a component adds",
            "rows": self._n_rows,
        }
        legend_below(self.ax_, artists, words)
