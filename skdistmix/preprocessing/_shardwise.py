"""Shardwise: scikit-learn transformers over shards."""

from __future__ import annotations

import os
from copy import deepcopy
from inspect import signature
from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context, clone
from sklearn.frozen import FrozenEstimator
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods
from sklearn.utils._set_output import _safe_set_output
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from .._compute import lazy_rows
from .._shards import FrameShard, Shard, Shards, as_shards, is_collection, is_dask, is_sharded
from .._validation import validated_columns, validated_shards
from ._blocks import frame_rows, read_only, row_blocks
from ._rows import PartitionMap, RowMap, nameless, not_row_by_row

__all__ = ["Shardwise"]


def _inner_has(method):
    """Whether the wrapped transformer has a method, for ``available_if``."""

    def check(self):
        return hasattr(getattr(self, "transformer_", self._unfitted()), method)

    return check


class Shardwise(TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):
    """Make a transformer a Pipeline step over data in one piece or many.

    `fit` shows the rows of all shards to the transformer's ``partial_fit``, block by block, so
    memory stays bounded. `transform` gives back what it was given: an array for an array, a list
    for a list, a lazy Dask collection for a Dask array or DataFrame, and for a path, a glob or
    shards a lazy ``Shards`` whose rows are transformed each time they are read. On a Dask cluster
    it cannot learn, because all rows would come to one process; there the transformers of dask-ml
    are the right step.

    Parameters
    ----------
    transformer : transformer or None, default=None
        Any transformer with ``partial_fit`` (``StandardScaler``, ``MinMaxScaler``,
        ``MaxAbsScaler``, ``IncrementalPCA``, ...), any that learns nothing (``Normalizer``,
        ``FunctionTransformer``, ...), or one that is fitted already, as
        ``sklearn.frozen.FrozenEstimator(fitted)``. It must give one dense row for each row. None
        means ``StandardScaler()``.

    Attributes
    ----------
    transformer_ : transformer
        The fitted transformer.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of str
        Only if X had string column names.

    See Also
    --------
    skdistmix.model_selection.neg_bic : Compares pipelines with different scalers fairly.

    Notes
    -----
    Rows of small shards are put together into blocks of about a thousand, and never fewer than
    ``n_components`` of the transformer as long as there are enough, because ``IncrementalPCA``
    cannot learn from less. A transformer whose ``partial_fit`` is exact (the three scalers) learns
    the same from any split up to rounding; one that approximates depends on the blocks.

    DataFrames reach the transformer as DataFrames if all shards are, otherwise as arrays, and
    always as arrays where rows are transformed as they are read.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from skdistmix import DistributedGMM
    >>> from skdistmix.preprocessing import Shardwise
    >>> rng = np.random.default_rng(0)
    >>> shards = [rng.normal(center, [1, 100], size=(n, 2)) for center, n in ((-5, 400), (5, 300))]
    >>> pipe = make_pipeline(Shardwise(), DistributedGMM(2, random_state=0)).fit(shards)
    >>> [np.bincount(labels, minlength=2).max().item() for labels in pipe.predict(shards)]
    [400, 300]
    >>> pipe[0].transformer_
    StandardScaler()
    """

    _parameter_constraints: dict = {"transformer": [HasMethods(["fit", "transform"]), None]}

    def __init__(self, transformer=None):
        self.transformer = transformer

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None, sample_weight=None):
        """Let a copy of the transformer learn from all rows.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), list, path, glob or Shards
            One array, memmap or DataFrame; a list of 2-D arrays, DataFrames, ``.npy`` paths or
            shards, each one shard; a path or glob of ``.npy`` files; or what
            :func:`skdistmix.as_shards` returns.
        y : ignored
        sample_weight : array-like of shape (n_samples,) or list of arrays, optional
            Weights of the rows; of no account where nothing is learnt.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If the transformer needs to be fitted and has no ``partial_fit``, or there are weights
            and it takes none.
        ValueError
            If shards differ in their columns, a column is not numeric, or the transformer refuses
            the rows.
        """
        transformer, state = self._fresh()
        shards = validated_shards(self, X, reset=True).with_weights(sample_weight)
        if state == "unfitted":
            if shards.client is not None:
                raise TypeError(
                    "X lives on the workers of a Dask cluster, and partial_fit would bring all its "
                    "rows here. Use the transformer of dask_ml.preprocessing or "
                    "dask_ml.decomposition on the Dask collection, or fit one on a sample and give "
                    "Shardwise(FrozenEstimator(fitted)), with FrozenEstimator from sklearn.frozen."
                )
            _learn(transformer, shards)
        elif state == "stateless":
            rows, _, _ = next(row_blocks(shards))
            transformer.fit(rows)
        self.transformer_ = transformer
        first = next(shard for shard in shards if shard.n_rows > 0)
        shape = self._of_rows("transform", first, 0, 1).shape
        if len(shape) != 2 or shape[0] != 1:
            raise not_row_by_row(transformer, "transform", shape, 1)
        self._n_features_out = shape[1]
        return self

    def transform(self, X):
        """Transform rows.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), list, path, glob or Shards
            As for `fit`.

        Returns
        -------
        array or DataFrame, list, Dask collection or Shards
            For one array or DataFrame what the transformer makes of it, all rows in memory; for a
            list of these a list. For a Dask array or DataFrame a lazy one, with the same chunks or
            index. For a path, a glob or Shards a lazy ``Shards``; for a list with a path, future
            or shard in it a list of such shards. They are transformed as they are read.

        Raises
        ------
        ValueError
            If columns are not those seen in `fit`, or differ between shards.
        """
        check_is_fitted(self)
        if not is_sharded(X):
            return self.transformer_.transform(X)
        seen = getattr(self, "feature_names_in_", None)
        named = seen is not None and hasattr(self, "get_feature_names_out")
        columns = self.get_feature_names_out() if named else None
        if is_collection(X):
            validated_columns(self, X)
            return self._lazily("transform", X, self._n_features_out, seen, columns)
        shards = validated_shards(self, X, reset=False)
        return self._in_pieces("transform", X, shards, self._n_features_out, columns)

    @available_if(_inner_has("inverse_transform"))
    def inverse_transform(self, X):
        """Undo `transform`.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features_out), list, path, glob or Shards
            Transformed rows.

        Returns
        -------
        array or DataFrame, list, or Shards
            As `transform`.

        Raises
        ------
        ValueError
            If X has another number of columns than `transform` gives.
        """
        check_is_fitted(self)
        if not is_sharded(X):
            return self.transformer_.inverse_transform(X)
        lazy = is_collection(X)
        shards = None if lazy else as_shards(X).on_host()
        n_features = X.shape[1] if lazy else shards.n_features
        if n_features != self._n_features_out:
            raise ValueError(
                f"X has {n_features} features, but Shardwise({self.transformer_}) gives "
                f"{self._n_features_out}: inverse_transform takes rows as transform gives them."
            )
        columns = getattr(self, "feature_names_in_", None)
        if lazy:
            return self._lazily("inverse_transform", X, self.n_features_in_, None, columns)
        return self._in_pieces("inverse_transform", X, shards, self.n_features_in_, columns)

    @available_if(_inner_has("get_feature_names_out"))
    def get_feature_names_out(self, input_features=None):
        """Names of the columns that `transform` gives.

        Parameters
        ----------
        input_features : array-like of str, optional
            Names of the columns of X; by default `feature_names_in_`, if there are any.

        Returns
        -------
        ndarray of str
        """
        check_is_fitted(self)
        if input_features is None:
            input_features = getattr(self, "feature_names_in_", None)
        return self.transformer_.get_feature_names_out(input_features)

    def set_output(self, *, transform=None):
        """Choose the container that the transformer gives for rows in memory.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, optional
            None changes nothing.

        Returns
        -------
        self
        """
        if transform is not None:
            # scikit-learn's own name for it: clone carries it over
            self._sklearn_output_config = {"transform": transform}
            if hasattr(self, "transformer_"):
                _safe_set_output(self.transformer_, transform=transform)
        return self

    def __sklearn_tags__(self):
        tags, inner = super().__sklearn_tags__(), get_tags(self._unfitted())
        tags.input_tags.allow_nan = inner.input_tags.allow_nan
        tags.input_tags.positive_only = inner.input_tags.positive_only
        tags.transformer_tags = inner.transformer_tags
        return tags

    def _unfitted(self):
        return StandardScaler() if self.transformer is None else self.transformer

    def _fresh(self):
        """A transformer of our own and its state: "fitted", "stateless" or "unfitted"."""
        given = self._unfitted()
        frozen = isinstance(given, FrozenEstimator)
        transformer = deepcopy(given.estimator) if frozen else clone(given)
        for method, container in getattr(self, "_sklearn_output_config", {}).items():
            _safe_set_output(transformer, **{method: container})
        if frozen:
            check_is_fitted(transformer)
            return transformer, "fitted"
        if not get_tags(transformer).requires_fit:
            return transformer, "stateless"
        if hasattr(transformer, "partial_fit"):
            return transformer, "unfitted"
        raise TypeError(
            f"{transformer} has no partial_fit, so it cannot learn from shards. Use one that has "
            "it (StandardScaler, MinMaxScaler, MaxAbsScaler, IncrementalPCA in place of PCA, ...), "
            "one Shardwise step for each; or fit it on a sample of the rows and give "
            "Shardwise(FrozenEstimator(fitted)), with FrozenEstimator from sklearn.frozen."
        )

    def _lazily(self, method, X, n_features, columns, names):
        """A Dask collection through a method, when it is computed."""
        row_map = RowMap(nameless(self.transformer_), method, n_features)
        return lazy_rows(X, PartitionMap.of(row_map, X, columns, names))

    def _in_pieces(self, method, X, shards, n_features, columns):
        """All shards through a method, in the form that X came in."""
        is_list = isinstance(X, (list, tuple))
        lazy = any(
            isinstance(x, (Shard, str, os.PathLike)) or is_dask(x) for x in (X if is_list else ())
        )
        if is_list and not lazy:
            return [
                self._of_rows(method, shard, 0, shard.n_rows)
                if shard.n_rows
                else np.empty((0, n_features))
                for shard in shards
            ]
        function = RowMap(nameless(self.transformer_), method, n_features)
        mapped = shards.map(function, n_features, columns)
        return list(mapped) if is_list else mapped

    def _of_rows(self, method, shard, start, stop):
        """Rows of one shard through a method, as DataFrames if the transformer knows the names."""
        rows, transformer = shard.read(start, stop), self.transformer_
        named = isinstance(shard, FrameShard) and all(isinstance(c, str) for c in shard.columns)
        if isinstance(shard, FrameShard) and named == hasattr(transformer, "feature_names_in_"):
            rows = frame_rows(shard, slice(start, stop))
        else:
            rows, transformer = read_only(rows), nameless(transformer)
        return getattr(transformer, method)(rows)


def _learn(transformer, shards):
    """Show all rows to partial_fit."""
    takes_weights = "sample_weight" in signature(transformer.partial_fit).parameters
    for rows, weight, where in row_blocks(shards, _fewest_rows(transformer, shards)):
        if weight is not None and not takes_weights:
            raise TypeError(
                f"sample_weight was given, but {transformer} takes no weights. Leave them out for "
                "this step, or use a transformer that takes them, such as StandardScaler."
            )
        weights = {} if weight is None else {"sample_weight": weight}
        try:
            transformer.partial_fit(rows, **weights)
        except (TypeError, ValueError) as error:
            error.add_note(f"This happened with rows of {where}.")
            raise


def _fewest_rows(transformer, shards: Shards) -> int:
    """How many rows a block must have for the transformer to learn all it is to learn."""
    n_components = getattr(transformer, "n_components", 1)
    if n_components is None:  # as many as there are columns
        return shards.n_features
    return int(n_components) if isinstance(n_components, Integral) else 1
