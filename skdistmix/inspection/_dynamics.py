"""AssignmentDynamics: how sure each row's cluster was, epoch after epoch."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from copy import deepcopy
from numbers import Integral

import numpy as np
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils import check_random_state

from .._arrays import is_foreign, to_host
from .._validation import described
from ..mixture import DistributedGMM

__all__ = ["AssignmentDynamics"]

BLOCK_ELEMENTS = 2**20  # numbers checked at once
SLACK = 1e-3  # that a row of probabilities in float16 may miss one by


class AssignmentDynamics:
    """Follow the cluster of every row through the epochs of a fit.

    Rows whose cluster is settled early and surely are easy, rows that waver are ambiguous, rows
    that never belong anywhere are hard: mistakes of the data are often among these. This is dataset
    cartography (Swayamdipta et al. 2020) for clusterings, where nobody gives the true labels.

    Call `update` with the posterior probabilities after each epoch of a deep clusterer or each
    iteration of EM; ``dynamics.update`` can be handed on wherever a callable of probabilities is
    wanted. For :class:`DistributedGMM` :meth:`of_em` does it. Some numbers a row are kept, whatever
    the number of epochs and clusters.

    Parameters
    ----------
    reference : array-like of int of shape (n_samples,), optional
        Labels known beforehand: true ones, or the final ones of a fit that is repeated, as in
        :meth:`of_em`. The probability of these is followed. None: that of the label a row had in
        the epoch before.

    Attributes
    ----------
    confidence_ : ndarray of shape (n_samples,)
        Mean over epochs of the followed probability.
    variability_ : ndarray of shape (n_samples,)
        Its standard deviation over epochs (divided by their number), at most 0.5.
    labels_ : ndarray of int of shape (n_samples,)
        Most probable cluster in the last epoch.
    switches_ : ndarray of int of shape (n_samples,)
        How often the label changed from one epoch to the next.
    switch_share_ : ndarray of shape (n_samples,)
        The same as a share of how often it could have, 0 after one epoch.
    changes_ : list of float
        Share of rows whose label changed, one entry an epoch from the second on. Deep clusterings
        often stop when it is small.
    n_updates_ : int
        Number of epochs so far; rows are there from the first on.
    estimator_ : DistributedGMM
        The fitted mixture, only after :meth:`of_em`.

    See Also
    --------
    AssignmentMapDisplay : Draws it.

    Notes
    -----
    The map of Swayamdipta et al. follows the probability of the true label. A clustering has none,
    and the final label is not known before the end; to follow it in one run would take a sum for
    each row and cluster. So the probability that an epoch gives to the label of the epoch before
    is followed, in the first epoch that of the row's own label: how well the past predicts the
    present (the prequential view of Dawid 1984). After the last switch of a row it is the
    probability of its final label. The largest probability of each epoch would not do: a row that
    is thrown from one cluster to another, each time with certainty, would look easy.

    Clusters must keep their numbers between epochs, as they do within one run.

    References
    ----------
    Swayamdipta, S. et al. (2020). Dataset cartography: mapping and diagnosing datasets with
    training dynamics. EMNLP, 9275-9293.

    Dawid, A. P. (1984). Statistical theory: the prequential approach. JRSS-A 147, 278-292.

    Welford, B. P. (1962). Note on a method for calculating corrected sums of squares and products.
    Technometrics 4, 419-420.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistmix.inspection import AssignmentDynamics
    >>> dynamics = AssignmentDynamics()
    >>> for wavering in (0.4, 0.7, 0.3):
    ...     dynamics.update(np.array([[0.9, 0.1], [wavering, 1 - wavering]]))
    >>> dynamics.switches_.tolist()
    [0, 2]
    >>> dynamics.confidence_.round(2)
    array([0.9, 0.4])
    """

    def __init__(self, reference=None):
        self.reference = None if reference is None else _checked_labels(reference)
        self.n_updates_ = 0
        self.changes_: list[float] = []

    @classmethod
    def of_em(cls, gmm, X, *, sample_weight=None, reference=None):
        """Fit a mixture by EM, then repeat its iterations one by one and follow the rows.

        Since the fit can be repeated, the final labels are known when they are wanted: the
        probability of the final label is followed, as on the map of Swayamdipta et al.

        Parameters
        ----------
        gmm : DistributedGMM
            Is not changed: a copy is fitted, from its start or, with ``warm_start=True``, from
            where it is. Iterations are plain ones of EM on all rows from one start: `subsample`,
            `acceleration` and `n_init` have no effect.
        X : array-like, DataFrame, list, path, glob or Shards
            As for :meth:`DistributedGMM.fit`; also a Dask array or DataFrame, of which the
            probabilities of all rows come to this process.
        sample_weight : array-like of shape (n_samples,), list of arrays, path or str, optional
            As for :meth:`DistributedGMM.fit`. Rows of weight 0 are followed too.
        reference : array-like of int of shape (n_samples,), optional
            Labels to follow. None: the final ones.

        Returns
        -------
        AssignmentDynamics
            With the fitted mixture as `estimator_` and one update an iteration. Rows of all shards
            stand one after the other.

        Raises
        ------
        TypeError
            If it is another kind of estimator.
        ValueError
            If ``max_iter`` is 0 or `fit` refuses the rows.

        Notes
        -----
        An iteration takes about five readings of the rows, against one in `fit`.

        Examples
        --------
        >>> import numpy as np
        >>> from skdistmix import DistributedGMM
        >>> from skdistmix.inspection import AssignmentDynamics
        >>> rng = np.random.default_rng(0)
        >>> shards = [rng.normal(center, 1.0, size=(500, 2)) for center in (-2, 2)]
        >>> gmm = DistributedGMM(n_components=2, random_state=0)
        >>> dynamics = AssignmentDynamics.of_em(gmm, shards)
        >>> dynamics.confidence_.shape
        (1000,)
        >>> dynamics.n_updates_ == dynamics.estimator_.n_iter_
        True
        """
        if not isinstance(gmm, DistributedGMM):
            raise TypeError(
                f"of_em follows the EM algorithm of a DistributedGMM, got {described(gmm)}. For "
                "others call update(probabilities) after each epoch."
            )
        if gmm.max_iter == 0:
            raise ValueError("of_em follows EM iterations, but max_iter=0: set it to at least 1.")
        fitted = deepcopy(gmm).set_params(subsample=None, n_init=1, acceleration=None)
        if not isinstance(gmm.random_state, Integral):  # a start that can be repeated
            rng = check_random_state(gmm.random_state)
            fitted.set_params(random_state=int(rng.randint(np.iinfo(np.int32).max)))
        step = deepcopy(fitted).set_params(max_iter=1, verbose=0)
        fitted.fit(X, sample_weight=sample_weight)
        if reference is None:
            reference = _joined(fitted.predict(X))
        dynamics = cls(reference)
        for _ in range(fitted.n_iter_):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # one iteration is not many
                step.fit(X, sample_weight=sample_weight)
            step.set_params(warm_start=True)
            dynamics.update(step.predict_proba(X))
        dynamics.estimator_ = fitted
        return dynamics

    def update(self, probabilities):
        """Take the probabilities of one more epoch into account.

        Parameters
        ----------
        probabilities : array-like of shape (n_samples, n_clusters), or list or iterator of these
            Posterior probabilities of all rows, always in the same order: one array or one array a
            shard. Torch tensors and the like may lie on any device.

        Raises
        ------
        ValueError
            If rows or clusters are not as many as in the epochs before or in `reference`, or rows
            do not hold probabilities that sum to one. Nothing is changed then.
        """
        parts = probabilities if _several(probabilities, 2) else [probabilities]
        first, n_clusters = 0, getattr(self, "_n_clusters", None)
        followed, labels = [], []
        for part in parts:
            part = to_host(part) if is_foreign(part) else np.asarray(part)
            n_clusters = _checked_shape(part, n_clusters)
            size = max(1, BLOCK_ELEMENTS // n_clusters)
            for start in range(0, len(part), size):
                block = part[start : start + size]
                _check_probabilities(block, first)
                label = block.argmax(axis=1).astype(np.int32)
                labels.append(label)
                followed.append(self._of_known_label(block, label, first))
                first += len(block)
        self._check_number(first)
        self._n_clusters = n_clusters
        self._add(np.concatenate(followed), np.concatenate(labels))

    @property
    def variability_(self) -> np.ndarray:
        """Standard deviation over epochs of the followed probability."""
        self._check_updated()
        return np.sqrt(self._squares / self.n_updates_)

    @property
    def switch_share_(self) -> np.ndarray:
        """How often the label changed, as a share of how often it could have."""
        self._check_updated()
        return self.switches_ / max(1, self.n_updates_ - 1)

    def __repr__(self):
        rows = f", {len(self.labels_)} rows" if self.n_updates_ else ""
        return f"AssignmentDynamics({self.n_updates_} updates{rows})"

    def _known_labels(self) -> np.ndarray | None:
        return self.reference if self.reference is not None else getattr(self, "labels_", None)

    def _of_known_label(self, block: np.ndarray, label: np.ndarray, first: int) -> np.ndarray:
        """The probability that is followed, for rows from the first on; label is the new one."""
        known = self._known_labels()
        if known is not None:
            label = known[first : first + len(block)]
        if len(label) and label.max() >= block.shape[1]:
            raise ValueError(
                f"reference has the label {label.max()}, but there are {block.shape[1]} clusters: "
                "labels must be numbers of the columns of probabilities."
            )
        # of more rows than there should be only the number is needed, for the message
        return block[np.arange(len(label)), label].astype(np.float64)

    def _add(self, followed: np.ndarray, labels: np.ndarray) -> None:
        """One more epoch, by the recursion of Welford."""
        if self.n_updates_ == 0:
            self.confidence_, self._squares = np.zeros(len(labels)), np.zeros(len(labels))
            self.switches_ = np.zeros(len(labels), dtype=np.int32)
        else:
            changed = labels != self.labels_
            self.switches_ += changed
            self.changes_.append(float(changed.mean()))
        self.n_updates_ += 1
        self.labels_ = labels
        difference = followed - self.confidence_
        self.confidence_ += difference / self.n_updates_
        self._squares += difference * (followed - self.confidence_)

    def _check_number(self, n_rows: int) -> None:
        known = self._known_labels()
        if n_rows == 0 or (known is not None and n_rows != len(known)):
            expected = "at least one" if known is None else f"{len(known)}"
            where = "reference" if self.n_updates_ == 0 else "the epochs before"
            raise ValueError(
                f"probabilities have {n_rows} rows, expected {expected}"
                f"{'' if known is None else f', as in {where}'}: give all rows in each epoch, in "
                "the same order."
            )

    def _check_updated(self) -> None:
        if self.n_updates_ == 0:
            raise NotFittedError("No epoch was seen: call update(probabilities) first.")


def _several(values, ndim: int) -> bool:
    """Whether values of rows come as one array a shard, of so many dimensions."""
    if isinstance(values, Iterator):
        return True
    is_list = isinstance(values, (list, tuple))
    return is_list and any(len(getattr(part, "shape", ())) == ndim for part in values)


def _joined(labels) -> np.ndarray:
    """Labels of all shards, one after the other."""
    parts = labels if _several(labels, 1) else [labels]
    parts = [to_host(part) if is_foreign(part) else np.asarray(part) for part in parts]
    return np.concatenate(parts)


def _checked_shape(part: np.ndarray, n_clusters: int | None) -> int:
    """The number of clusters."""
    if part.ndim != 2 or part.shape[1] == 0 or part.dtype.kind not in "fiub":
        raise ValueError(
            f"probabilities have shape {part.shape} and dtype {part.dtype}, expected numbers of "
            "shape (n_samples, n_clusters)."
        )
    if n_clusters is not None and part.shape[1] != n_clusters:
        raise ValueError(
            f"probabilities are of {part.shape[1]} clusters, expected {n_clusters}: clusters must "
            "keep their number and order between epochs and shards."
        )
    return part.shape[1]


def _check_probabilities(block: np.ndarray, first: int) -> None:
    sums = block.sum(axis=1, dtype=np.float64)
    good = (np.abs(sums - 1) <= SLACK) & (block.min(axis=1) >= -SLACK)
    if not good.all():
        row = int(np.argmin(good))
        raise ValueError(
            f"Row {first + row} of probabilities sums to {sums[row]:g} and has the least value "
            f"{block[row].min():g}: give the probabilities of all clusters, which sum to one, not "
            "logarithms or distances."
        )


def _checked_labels(labels) -> np.ndarray:
    labels = np.array(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or (labels.size and labels.min() < 0):
        raise ValueError(
            f"reference has shape {labels.shape} and dtype {labels.dtype}, expected whole numbers "
            "from 0 of shape (n_samples,)."
        )
    return labels
