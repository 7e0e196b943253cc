"""The contract of a family."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import fields, replace
from typing import Any

import numpy as np

from ._checks import FamilyError
from ._density import IMPOSSIBLE, LOG_OF_ZERO, DensityKernel, Sums, logsumexp0, posteriors0
from ._moments import Moments

__all__ = [
    "IMPOSSIBLE",
    "LOG_OF_ZERO",
    "DegenerateComponentError",
    "Family",
    "Moments",
    "TooFewRowsError",
    "logsumexp0",
    "posteriors0",
]


class DegenerateComponentError(ValueError):
    """A component has no density: its covariance is not positive definite."""


class TooFewRowsError(ValueError):
    """There are fewer rows, or fewer different ones, than components."""


BLOCK_ELEMENTS = 2**19  # numbers in a block of rows: it is worked on while it is in the cache


class Family(ABC):
    """What one component of a mixture is.

    A subclass has to say three things: :meth:`log_density`, :meth:`m_step` and
    :meth:`n_parameters`. The rest has defaults, or is an ability that some methods of estimators
    ask for; doc/families.rst has a table of them.

    A family is small, can be pickled, and does not change: what it is told of a fit
    (`n_components`, `n_features`, `moments`) is told to a copy. Parameters are frozen dataclasses
    of arrays, one of them ``weights`` of shape (n_components,), and the others with components
    along their first axis. Statistics are frozen dataclasses that support ``+`` and have the fields
    ``weight`` (sum of row weights) and ``log_likelihood`` (weighted sum of log-densities under the
    parameters they were collected with), such as :class:`Sums`.

    The kernel of some parameters is what travels to the data; see :meth:`kernel`.

    Attributes
    ----------
    n_components, n_features : int
        Of a fit; see :meth:`frozen`.
    moments : Moments or None
        Summary of all rows; see :meth:`prepare`.

    Examples
    --------
    Independent exponential waiting times, with their rates:

    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> from skdistmix import DistributedMixture
    >>> from skdistmix.families import Family
    >>> @dataclass(frozen=True)
    ... class Params:
    ...     weights: np.ndarray  # (n_components,)
    ...     rates: np.ndarray  # (n_components, n_features)
    >>> class Exponential(Family):
    ...     def log_density(self, X, params):
    ...         return np.log(params.rates).sum(axis=1)[:, None] - params.rates @ X.T
    ...
    ...     def m_step(self, stats, previous=None):
    ...         return Params(stats.weights, 1 / stats.averages)
    ...
    ...     def n_parameters(self):
    ...         return self.n_components * (1 + self.n_features) - 1
    >>> X = np.random.default_rng(0).exponential([[1.0]] * 500 + [[100.0]] * 500)
    >>> mixture = DistributedMixture(2, family=Exponential(), max_iter=1000, random_state=0)
    >>> np.sort(1 / mixture.fit(X).rates_[:, 0]).round()
    array([ 1., 95.])
    """

    #: Number of components.
    n_components: int
    #: Number of columns.
    n_features: int
    #: Summary of all rows, once the family is prepared.
    moments: Moments | None = None
    #: Whether EM with this family (and reg_covar=0) never lowers the objective: a fall then warns.
    monotone: bool = True
    #: Whether `moments` need the whole scatter matrix, or only its diagonal.
    full_scatter: bool = False
    #: Whether its kernels take arrays of other libraries where they lie.
    takes_foreign: bool = False
    #: Whether its statistics and parameters are taken unchecked, because tests of ours cover them.
    is_trusted: bool = False

    def frozen(self, n_components: int, n_features: int) -> Family:
        """This family for a fit with so many components and columns.

        What is given to an estimator as `family` needs this method only. So a family may be given
        itself, or something that has parameters and makes a family of them.
        """
        return _told(self, n_components=n_components, n_features=n_features)

    def prepare(self, moments: Moments) -> Family:
        """This family, knowing the data's first-pass summary."""
        return _told(self, moments=moments)

    def check_moments(self, moments: Moments, columns: list) -> str | None:
        """Refuse rows that the family has no density for; what to warn of otherwise, or None.

        Called after the first pass. `columns` are the names or numbers of the columns, in an order
        that `moments.low` and `moments.high`, their smallest and largest values, have too.
        """
        return None

    @abstractmethod
    def log_density(self, X, params) -> np.ndarray:
        """Log-densities of rows in each component, shape (n_components, n_rows).

        X is a read-only float64 array of shape (n_rows, n_features).
        """

    def summands(self, X) -> np.ndarray:
        """What the M-step needs the sums of, shape (n_rows, n_values); the rows if not said."""
        return X

    def statistics(self, X, weight, resp, anchors) -> Any:
        """Statistics of a block from given responsibilities of shape (n_components, n_rows).

        By default :class:`Sums` of what `summands` gives. `anchors` of shape (n_components,
        n_features) are points near the components about which sums may be taken; None at times, if
        the family has no `centers`.
        """
        values = np.asarray(self.summands(X), dtype=np.float64)
        if values.ndim != 2 or len(values) != len(X):
            raise FamilyError(
                f"{type(self).__name__}.summands gave an array of shape {values.shape} for "
                f"{len(X)} rows: expected (n_rows, n_values)."
            )
        weighted = resp if weight is None else resp * weight
        total = len(X) if weight is None else weight.sum()
        return Sums(float(total), 0.0, weighted.sum(axis=1), weighted @ values)

    def kernel(self, params, anchors=None) -> Any:
        """An object with ``block_rows``, ``statistics(blocks)`` and ``log_joint(X)``.

        ``log_joint(X)`` is log(weight) + log-density, shape (n_components, n_rows). With `anchors`
        the statistics are taken about these points, whatever it costs.
        """
        n_columns = 1 if self.moments is None else len(self.moments.mean)
        block_rows = int(np.clip(BLOCK_ELEMENTS // n_columns, 128, 8192))
        return DensityKernel(self, params, anchors, block_rows)

    def kernel_for_other_rows(self, params) -> Any:
        """A kernel for rows, or weights, that the family was not prepared with."""
        return self.kernel(params)

    def em_of_many(self, X, weights, points, like) -> tuple | None:
        """A step of EM from many points at once; None where it must be done one by one.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_features)
        weights : ndarray of shape (n_points, n_rows) or (1, n_rows)
            Row weights for each point, or for all.
        points : ndarray of shape (n_points, n_coordinates)
        like : object
            Parameters whose shapes those of all points have.

        Returns
        -------
        images : ndarray of shape (n_points, n_coordinates)
        objectives : ndarray of shape (n_points,)
            Total log-likelihood and log-prior at the points.
        """
        return None

    @abstractmethod
    def m_step(self, stats, previous=None) -> Any:
        """The parameters that maximise the expected log-likelihood of the statistics."""

    def log_prior(self, params) -> float:
        """What the objective of EM has beside the total log-likelihood: a penalty, a prior."""
        return 0.0

    #: Whether the family has `expected`, `coordinates` and `params_of_coordinates`.
    has_coordinates: bool = False

    def expected(self, stats, params) -> float:
        """Expected complete log-likelihood of parameters, given statistics under any others.

        What an M-step raises; accelerated EM compares steps by it.
        """
        raise NotImplementedError(f"{type(self).__name__} has no expected log-likelihood.")

    def coordinates(self, params) -> np.ndarray | None:
        """Parameters as a vector of a space without boundaries; None at its rim."""
        return None

    def params_of_coordinates(self, vector, like) -> Any:
        """The parameters of a vector, in the shapes of the parameters `like`.

        `vector` may have further axes in front, which the arrays of the result then have.
        """
        raise NotImplementedError(f"{type(self).__name__} has no coordinates.")

    def coordinate_change(self, params, change: dict) -> np.ndarray:
        """Derivative of the coordinates where the arrays of the parameters change by others."""
        raise NotImplementedError(f"{type(self).__name__} has no coordinates.")

    #: Names of the divergences between components that `distance` and `barycentre` know. A family
    #: without any cannot be reduced or aggregated.
    costs: tuple = ()

    def components(self, params) -> Any:
        """The components of a mixture as values that stand alone.

        They have ``weights`` and ``means``, a length, ``pick(index)``, ``scaled(factor)``,
        ``replaced(i, one)``, ``merged(i, j)``, ``merge_costs(i, j)``, ``sample(counts, rng)``,
        ``moments(weight)``, ``is_finite``, and the class method ``join(parts)``.
        """
        raise NotImplementedError(f"{type(self).__name__} has no components that stand alone.")

    def components_kernel(self, components) -> Any:
        """A kernel, as :meth:`kernel` gives it, of components that stand alone."""
        raise NotImplementedError(f"{type(self).__name__} has no components that stand alone.")

    def distance(self, a, b, cost: str) -> np.ndarray:
        """Divergences of components `a` from components `b`, shape (len(a), len(b))."""
        raise NotImplementedError(f"{type(self).__name__} has no divergence {cost!r}.")

    def barycentre(self, components, plan, cost: str, previous=None) -> Any:
        """Parameters whose component k is nearest to components of masses ``plan[:, k]``."""
        raise NotImplementedError(f"{type(self).__name__} has no barycentre for {cost!r}.")

    def log_overlaps(self, a, b) -> np.ndarray:
        """Logarithms of the integrals of a_i b_j over all x, shape (len(a), len(b))."""
        raise NotImplementedError(f"{type(self).__name__} has no overlaps.")

    def better_anchors(self, stats, params) -> np.ndarray | None:
        """Anchors with which statistics should be collected again, None when they are accurate."""
        return None

    def score_kernel(self, params) -> Any:
        """A kernel for standard errors, with ``block_rows`` and ``sums(blocks)``.

        The sums are what :meth:`information` needs; they have an attribute ``weight`` and support
        ``+``.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no scores, and so its mixtures no standard errors: give it "
            "the methods score_kernel and information, or resample rows and fit again."
        )

    def information(self, params, sums) -> Any:
        """What the sums of a score kernel say of the free parameters: an ``Information``."""
        raise NotImplementedError(f"{type(self).__name__} has no scores.")

    def centers(self, stats) -> np.ndarray | None:
        """Component centres of shape (n_components, n_features) that statistics imply.

        None (the default): sums are not taken about centres.
        """
        return None

    @abstractmethod
    def n_parameters(self) -> int:
        """Number of free parameters of the mixture, mixing weights included."""

    def sample(self, params, counts, rng) -> np.ndarray:
        """Draw ``counts[k]`` rows from each component, stacked in the order of components.

        `rng` is a :class:`numpy.random.RandomState`.
        """
        raise NotImplementedError(
            f"{type(self).__name__} draws no rows: give it a method sample(params, counts, rng)."
        )

    def probabilities(self, params) -> np.ndarray:
        """Of a row to be drawn from each of the components that `sample` counts."""
        return params.weights / params.weights.sum()

    def permute(self, params, order) -> Any:
        """The same parameters with components in the given order."""
        return replace(params, **{f.name: getattr(params, f.name)[order] for f in fields(params)})

    def attributes(self, params) -> dict:
        """Parameters by name, of which a fitted estimator has attributes with an underscore.

        By default the fields of the parameters.
        """
        return {field.name: getattr(params, field.name) for field in fields(params)}

    def adopted(self, params) -> Any:
        """Parameters of an earlier fit as ones to start this from; by default as they are."""
        return params

    def widened(self, params) -> Any:
        """Parameters of too few rows to tell how wide components are, as `partial_fit` begins with.

        By default as they are.
        """
        return params

    def implied_statistics(self, params, total: float = 1.0) -> Any:
        """Statistics of weight one that, scaled by `total`, give back the parameters in an M-step.

        What `partial_fit` goes on from after `fit`.
        """
        raise NotImplementedError(
            f"{type(self).__name__} cannot say which statistics lead to given parameters, so "
            "partial_fit does not go on from a fit: give it a method implied_statistics(params, "
            "total), or call partial_fit on a new estimator."
        )


def _told(family: Family, **values) -> Family:
    """A copy that knows more; also of a frozen dataclass."""
    family = copy.copy(family)
    for name, value in values.items():
        object.__setattr__(family, name, value)
    return family
