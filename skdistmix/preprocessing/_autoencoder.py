"""MarginalizedDenoisingAutoencoder: stacked denoising layers in closed form over shards."""

from __future__ import annotations

import os
from functools import partial
from numbers import Integral, Real

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils._set_output import _get_container_adapter
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from .._compute import Workers, lazy_rows
from .._denoising import Encoder, Layer, denoising_layer, second_moments
from .._shards import Shard, is_collection, is_dask, is_sharded
from .._validation import validated_columns, validated_shards
from ._rows import PartitionMap, RowMap
from ._sparse import with_sparse_shards

__all__ = ["MarginalizedDenoisingAutoencoder"]

BLOCK_ELEMENTS = 2**21  # numbers of a block, of which several copies are held


class MarginalizedDenoisingAutoencoder(TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):
    """Learn features that survive erased numbers, by linear denoising layers in closed form.

    Each layer is the linear map that best restores rows of which every number was erased with the
    probability `corruption`, in expectation over all ways of erasing, followed by tanh. A word that
    a text lacks is thus filled in from the words that usually go with it. There is no gradient
    descent and nothing random: a layer is the solution of one linear system, whose entries are sums
    over rows. A fit reads the rows once a layer, and gives what all rows in one place would give.

    Parameters
    ----------
    n_layers : int, default=3
        Number of layers, each of which learns from the output of the one before.
    corruption : float, default=0.5
        Probability that a number is erased (set to zero), above 0 and below 1.
    reg : float, default=1e-5
        Ridge added to the diagonal of the linear system, as a share of the mean square of each
        column.
    output : {"last", "concatenate"}, default="last"
        What `transform` gives: the output of the last layer, or those of all layers side by side.
    n_jobs : int, optional
        Number of workers, as for :class:`DistributedGMM`. The result does not depend on it.

    Attributes
    ----------
    coefs_ : list of ndarray of shape (n_features, n_features)
        Of each layer: what column i (row of the matrix) adds to column j of the output.
    intercepts_ : list of ndarray of shape (n_features,)
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of str
        Only if X had string column names.

    See Also
    --------
    Shardwise : Scales columns over shards before, or reduces their number after.

    Notes
    -----
    With S the sum of x x' over rows x that end in a constant one, and q the probabilities that a
    number is kept (one for the constant), a layer is ``W = P Q^-1`` with ``P_ij = S_ij q_j``,
    ``Q_ij = S_ij q_i q_j`` off the diagonal and ``Q_ii = S_ii q_i`` on it.

    Erased means zero, so zero should mean "nothing" or "as usual": counts, tf-idf, columns that
    were centred. Values far above one saturate tanh; scale them first, for example with
    ``Shardwise(MaxAbsScaler())``, or ``Normalizer()`` for texts.

    The outputs are as many as the columns, d (times `n_layers` if concatenated). A layer costs one
    pass of n d^2 and a solution of d^3 operations; each worker holds a few matrices of (d + 1)^2
    numbers. At d = 2,000 that is seconds; from about 10,000 columns on choose the frequent ones
    first. Mixtures want fewer columns: put ``Shardwise(IncrementalPCA(20))`` in between.

    Sparse matrices are made dense block by block. The output is dense.

    References
    ----------
    Chen, M., Xu, Z., Weinberger, K. Q. and Sha, F. (2012). Marginalized denoising autoencoders for
    domain adaptation. ICML 29.

    Examples
    --------
    Two topics with four words each, of which a text has few.

    >>> import numpy as np
    >>> from skdistmix.preprocessing import MarginalizedDenoisingAutoencoder
    >>> rng = np.random.default_rng(0)
    >>> topic = np.repeat([0, 1], 300)
    >>> words = np.repeat(np.eye(2), 4, axis=1)[topic]  # that it could have
    >>> texts = words * (rng.random(words.shape) < 0.3)
    >>> shards = np.array_split(texts, 3)
    >>> denoising = MarginalizedDenoisingAutoencoder(n_layers=2).fit(shards)
    >>> text = np.array([[1.0, 0, 0, 0, 0, 0, 0, 0]])  # one word of the first topic
    >>> filled = denoising.transform(text)[0]
    >>> bool(filled[1:4].min() > filled[4:].max())
    True
    >>> [piece.shape for piece in denoising.transform(shards)]
    [(200, 8), (200, 8), (200, 8)]
    """

    _parameter_constraints: dict = {
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "corruption": [Interval(Real, 0.0, 1.0, closed="neither")],
        "reg": [Interval(Real, 0.0, None, closed="left")],
        "output": [StrOptions({"last", "concatenate"})],
        "n_jobs": [Integral, None],
    }

    def __init__(self, n_layers=3, *, corruption=0.5, reg=1e-5, output="last", n_jobs=None):
        self.n_layers = n_layers
        self.corruption = corruption
        self.reg = reg
        self.output = output
        self.n_jobs = n_jobs

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None):
        """Learn all layers, with one pass over the rows for each.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features), list, path, \
glob, Dask collection or Shards
            One array, memmap, sparse matrix or DataFrame; a list of these, of paths or of shards,
            each one shard; a path, folder or glob of ``.npy``, ``.parquet`` or ``.zarr``; a Dask
            array or DataFrame; or what :func:`skdistmix.as_shards` returns.
        y : ignored
        sample_weight : array-like of shape (n_samples,), list of arrays, path or str, optional
            Frequency weights, as for :class:`DistributedGMM`: weight 2 counts as two equal rows.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If rows contain NaN or infinity (shard and row are named) or too large values, shards
            differ in their columns, or weights do not fit.
        """
        shards = validated_shards(self, with_sparse_shards(X), reset=True)
        shards = shards.with_weights(sample_weight)
        layers: tuple[Layer, ...] = ()
        block_rows = _block_rows(shards.n_features)
        with Workers(self.n_jobs) as workers:
            for _ in range(self.n_layers):
                sums = partial(second_moments, layers=layers)
                moments = workers.map_reduce(sums, shards, block_rows, check=not layers)
                layers += (denoising_layer(moments, self.corruption, self.reg),)
        self.coefs_ = [layer.coef for layer in layers]
        self.intercepts_ = [layer.intercept for layer in layers]
        return self

    def transform(self, X):
        """Encode rows.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features), list, path, \
glob, Dask collection or Shards
            As for `fit`.

        Returns
        -------
        array or DataFrame, list, Dask collection or Shards
            Numbers from -1 to 1, float32 for float32. For one array, sparse matrix or DataFrame one
            of shape (n_samples, n_features), of `n_layers` times the columns with
            ``output="concatenate"``; for a list of these a list. For a Dask array or DataFrame a
            lazy one. For a path, a glob or Shards a lazy ``Shards``, for a list with a path, future
            or shard in it a list of such shards, which are encoded as they are read.

        Raises
        ------
        ValueError
            If columns are not those seen in `fit`, or rows contain NaN or infinity.
        """
        check_is_fitted(self)
        encoder, n_outputs = self._encoder(), self._n_outputs
        names = tuple(getattr(self, "feature_names_in_", ())) or None
        row_map = RowMap(encoder, "encode", n_outputs)
        if is_collection(X):
            validated_columns(self, X)
            named = None if names is None else self.get_feature_names_out()
            return lazy_rows(X, PartitionMap.of(row_map, X, names, named))
        shards = validated_shards(self, with_sparse_shards(X), reset=False)
        if _is_read_later(X):
            named = None if names is None else self.get_feature_names_out()
            mapped = shards.map(row_map, n_outputs, named)
            return list(mapped) if isinstance(X, (list, tuple)) else mapped
        with Workers(self.n_jobs) as workers:
            block_rows = _block_rows(n_outputs)
            results = workers.map_rows(encoder, shards, block_rows, check=True)
        pieces = X if is_sharded(X) and not issparse(X) else [X]
        results = [
            self._contained(np.empty((0, n_outputs)) if rows is None else rows, piece)
            for rows, piece in zip(results, pieces, strict=True)
        ]
        return results if pieces is X else results[0]

    def get_feature_names_out(self, input_features=None):
        """Names of the columns that `transform` gives.

        Parameters
        ----------
        input_features : array-like of str, optional
            Names of the columns of X; by default `feature_names_in_`, if there are any.

        Returns
        -------
        ndarray of str
            ``layer3_word`` for the column ``word`` after three layers.
        """
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        depth = len(self.coefs_)
        layers = range(1, depth + 1) if self.output == "concatenate" else [depth]
        return np.array([f"layer{i}_{name}" for i in layers for name in names], dtype=object)

    def set_output(self, *, transform=None):
        """Choose the container that `transform` gives for rows in memory.

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
        return self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_outputs(self) -> int:
        layers = len(self.coefs_) if self.output == "concatenate" else 1
        return layers * self.n_features_in_

    def _encoder(self) -> Encoder:
        layers = tuple(map(Layer, self.coefs_, self.intercepts_))
        return Encoder(layers, self.output == "concatenate")

    def _contained(self, rows: np.ndarray, X):
        """Rows in the container that `set_output` asks for, with the index of X."""
        adapter = _get_container_adapter("transform", self)
        if adapter is None:
            return rows
        return adapter.create_container(rows, X, columns=self.get_feature_names_out())


def _block_rows(n_columns: int) -> int:
    return max(64, min(8192, BLOCK_ELEMENTS // n_columns))


def _is_read_later(X) -> bool:
    """Whether rows come from files, or as shards."""
    if issparse(X) or not is_sharded(X):
        return False
    if not isinstance(X, (list, tuple)):
        return True
    return any(isinstance(x, (Shard, str, os.PathLike)) or is_dask(x) for x in X)
