"""`partial_fit`: mixtures of rows that come in batches and do not stay."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils import check_random_state

from .._compute import Workers
from .._em import first_pass
from .._progressive import fitted_on_sample
from .._stream import Stream, begun, continued
from .._validation import validated_shards
from ..families import DegenerateComponentError
from ..families._checks import check_prepared
from ._family_model import columns_of
from ._start import several_starts, starting_params

__all__ = ["StepwiseEM"]

ROWS_PER_MEAN = 10  # times the features: with fewer rows a component, EM on a batch would overfit
# What only a fit knows.
OF_FIT = (
    *("objectives_", "objective_", "lower_bounds_", "convergence_gap_", "init_scores_"),
    *("bic_", "aic_", "icl_", "_moments", "_weighted_fit"),
)


class StepwiseEM:
    """The method `partial_fit` of an estimator of mixtures."""

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, sample_weight=None):
        """Take one step of stepwise EM with a batch of rows.

        The first call finds a start in its rows as `fit` does in a sample. From then on running
        statistics give way to those of the batch by a share of ``(t + 2) ** -learning_decay`` in
        call t, and parameters are computed from them (Cappe and Moulines 2009). Nothing is kept of
        the rows, so a stream of any length needs the same memory. The result depends on how the
        rows come in batches and on their order.

        After `fit` it goes on from the fitted parameters, with steps as if the rows of `fit` had
        come in batches of this size.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            The batch, in any form that `fit` takes. Columns must be those of the calls before.
        y : ignored
        sample_weight : array-like of shape (n_samples,), list of arrays, path, str, optional
            As for `fit`.

        Returns
        -------
        self
            `lower_bound_` is the mean log-likelihood of this batch before it was learnt from: an
            honest score of the model so far (but in the first call, where the start comes from it).
            `n_iter_` counts calls (after `fit`, also those that its rows stand for),
            `n_samples_seen_` rows.
            Attributes that belong to a whole data set (`bic_`, `objectives_` and others) are gone.

        Raises
        ------
        ValueError
            If the first batch has fewer distinct rows than there are components or too few for
            their covariances, columns, `n_components` or the family (such as `covariance_type`)
            changed, or rows cannot be used.

        Examples
        --------
        >>> import numpy as np
        >>> from skdistmix import DistributedGMM
        >>> rng = np.random.default_rng(0)
        >>> gmm = DistributedGMM(2, random_state=0)
        >>> for _ in range(30):
        ...     batch = rng.normal(rng.choice([-4.0, 4.0], size=(500, 1)), 1.0)
        ...     _ = gmm.partial_fit(batch)
        >>> np.sort(gmm.means_[:, 0]).round()
        array([-4.,  4.])
        """
        self._refuse_noise("partial_fit", "its volume is that of all rows, so call fit")
        is_first = not hasattr(self, "weights_")
        shards = validated_shards(self, X, reset=is_first, n_shards=self.n_shards)
        shards = shards.with_weights(sample_weight)
        family = self._family(shards.n_features)
        shards = self._where_computed(family, shards)
        if not is_first:
            self._check_previous(family, shards.n_features, "partial_fit")
        start = self._start(family, shards) if is_first else None
        with self._few_rows_named(shards, is_first), Workers(self.n_jobs) as workers:
            map_reduce = workers.map_reduce
            moments = first_pass(map_reduce, shards, family.full_scatter, self.n_components)
            if moments is None:
                raise ValueError("The batch has no row of positive weight: leave it out.")
            if is_first:
                self._check_moments(family, moments, shards)
                family = check_prepared(family, moments)
                # seeding is NumPy's, wherever blocks are computed afterwards
                params = self._begin(map_reduce, shards.on_host(), family, start)
                self._check_starts(family, [params])
                stream, value = begun(map_reduce, shards, family, params)
                previous = params
            else:
                stream, previous = self._stream_so_far(family, moments), self._fitted_params()
                so_far = stream.moments + moments
                # May refuse rows; what there is to warn of was told of the first batch.
                family.check_moments(so_far, columns_of(shards))
                family = family.prepare(so_far)
                stream, value = continued(
                    map_reduce, shards, family, stream, moments, self.learning_decay, previous
                )
            if self.average and stream.n_steps >= self.average:
                stream = stream.averaged()
            elif not self.average:  # switched off meanwhile
                stream = replace(stream, average=None)
            params = stream.estimate(family, previous)
        self._keep_stream(family, stream, params, value)
        return self

    @contextmanager
    def _few_rows_named(self, shards, is_first: bool):
        """An error about a covariance says so where a first batch is too small for one."""
        try:
            yield
        except DegenerateComponentError as error:
            enough = self._enough_rows(shards.n_features)
            if not is_first or shards.n_rows >= enough:
                raise
            raise DegenerateComponentError(
                f"{error} The first batch has too few rows ({shards.n_rows}): begin with {enough} "
                f"or more for {self.n_components} component(s) in {shards.n_features} column(s), "
                "or give components a prior or a penalty (Gaussian ones have prior='auto' and "
                "covariance_penalty='auto')."
            ) from error

    def _enough_rows(self, n_features: int) -> int:
        return ROWS_PER_MEAN * self.n_components * (n_features + 1)

    def _begin(self, map_reduce, shards, family, start):
        """Parameters from the first batch."""
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        moments = family.moments
        if not start.is_free:
            return starting_params(map_reduce, shards, family, start, seed)
        if moments.n_rows >= self._enough_rows(len(moments.mean)):
            begin = partial(several_starts, map_reduce, start)
            found = fitted_on_sample(map_reduce, shards, family, begin, [seed])
            if found is not None:
                return found[0]
        params = starting_params(map_reduce, shards, family, start, seed)
        # So few rows say where components are, not what shape they have.
        return family.widened(params)

    def _stream_so_far(self, family, batch) -> Stream:
        """The stream of the calls before; after `fit`, one that its parameters imply."""
        if getattr(self, "_stream", None) is not None:
            return self._stream
        params, moments = self._fitted_params(), getattr(self, "_moments", None)
        if moments is None:  # a model that came without its data
            moments = family.implied_moments(params, full=family.full_scatter)
            seen = getattr(self, "n_samples_seen_", batch.weight)
            moments = replace(moments, weight=seen, scatter=moments.scatter * seen)
        seen = moments.weight
        stats = family.prepare(moments).implied_statistics(params, seen)
        return Stream(stats, moments, max(1.0, seen / batch.weight))

    def _keep_stream(self, family, stream, params, value):
        self._stream = stream
        self._set_params(family.prepare(stream.moments), params)
        self.n_iter_, self.converged_ = round(stream.n_steps), False
        self.n_samples_seen_ = stream.moments.weight
        self.lower_bound_ = value
        for name in OF_FIT:
            self.__dict__.pop(name, None)
