"""DeepEmbeddedClustering: codes and clusters that are learnt together."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
    _fit_context,
    clone,
)
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from .._row_values import mapped, row_values, seen_shards
from .._shards import is_sharded
from .._validation import validated_shards
from ._assembly import checked_choices, joint_net, started
from ._autoencoder import Autoencoder
from ._heads import ASSIGNMENTS, Head
from ._inference import NetworkValues, encoded
from ._joint import ClusteringNet
from ._memory import fitted_once
from ._net import train
from ._objectives import OBJECTIVES
from ._rows import TrainingRows
from ._runtime import OPTIMIZERS, chosen_device, seeded
from ._starts import INITS

__all__ = ["DeepEmbeddedClustering"]

COUNT = Interval(Integral, 1, None, closed="left")


class DeepEmbeddedClustering(
    ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin, BaseEstimator
):
    """Clusters of codes, and a network whose codes have clusters, learnt together.

    An autoencoder learns to rebuild the rows, a clusterer finds clusters of its codes, and from
    there on both go together: the network moves codes towards what its clusters say of them, and
    still rebuilds the rows.

    Parameters
    ----------
    n_clusters : int, default=8
    autoencoder : Autoencoder or FrozenEstimator, optional
        The network and how it learns to rebuild rows. ``sklearn.frozen.FrozenEstimator(fitted)``
        begins with what a fitted autoencoder has learnt, which several clusterers can share. None:
        ``Autoencoder()`` with the `image_shape`, `augmentation`, `precision` and `device` from
        here.
    image_shape : tuple of int, optional
        (height, width) or (n_channels, height, width) of images; the network has convolutions then.
    objective : {"idec", "dec", "dcn", "dekm"}, default="idec"
        What is minimised. "idec": the reconstruction, and the divergence of soft assignments from
        sharper ones (Guo, Gao, Liu and Yin 2017); with an `image_shape` this is DCEC (Guo, Liu, Zhu
        and Yin 2017). "dec": without the reconstruction (Xie, Girshick and Farhadi 2016). "dcn":
        the reconstruction, and squared distances from the nearest centres (Yang, Fu, Sidiropoulos
        and Hong 2017). "dekm": distances from the centres along the direction that tells least of
        the clusters (Guo, Lin and Ye 2021).
    assignment : {"student_t", "gaussian"}, default="student_t"
        Which probabilities follow from distances of codes from centres.
    alpha : float or "auto", default="auto"
        Degrees of freedom of "student_t": the more, the surer assignments are. "auto": 1, as is
        usual; 3 with `augmentation`.
    gamma : float or "auto", default="auto"
        Weight of the clustering beside the reconstruction, the latter being averaged over columns.
        "auto": 0.1, 0.01 for "dcn"; 1 with `augmentation` or without reconstruction.
    target : {"global", "batch"}, default="global"
        Rows from which the sharper assignments of "idec" and "dec" come: all, at the last refresh;
        or those of the batch, which is biased where clusters are many.
    update_interval : int, "epoch" or "auto", default="auto"
        Steps between looks at all rows. "auto": 40 with "dekm", otherwise an epoch but 20 at least.
    tol : float, default=1e-3
        Training ends when a smaller share of rows changes its label between two looks.
    init : {"auto", "kmeans", "landmark_spectral"} or clusterer, default="auto"
        Clusters at the start. "kmeans": 20 restarts. "landmark_spectral":
        :class:`skdistmix.cluster.LandmarkSpectralClustering`. Or any clusterer or mixture with
        `fit_predict`. "auto": the second with `augmentation`, otherwise the first.
    augmentation : {"affine"}, callable or None, default=None
        Random changes of the rows, as for :class:`Autoencoder`. What codes are drawn to always
        comes from the rows as they are.
    max_epochs : int, default=50
        Epochs of learning together, at most.
    batch_size : int or "auto", default="auto"
        Rows of a step. "auto": 256, or 64 below 3,000 rows.
    learning_rate : float or "auto", default="auto"
        "auto": 1e-3 with convolutions and for "dekm", otherwise 1e-4.
    optimizer : {"adam", "sgd", "madgrad"} or class, default="adam"
    callbacks : list, optional
        Callbacks of skorch, for the epochs of learning together.
    monitor : callable, optional
        Called with the probabilities of all rows, shape (n_samples, n_clusters), after each look at
        them; ``AssignmentDynamics().update`` for example.
    memory : str or joblib.Memory, optional
        Where trained autoencoders are kept, so that another fit to the same rows finds them.
    precision, device, verbose
        As for :class:`Autoencoder`.
    random_state : int, RandomState instance or None, default=None

    Attributes
    ----------
    labels_ : ndarray of shape (n_samples,), or one array a shard
        The same as ``predict`` of the rows.
    cluster_centers_ : ndarray of shape (n_clusters, n_components)
        In the space of codes.
    autoencoder_ : Autoencoder
        The network as it is in the end; `inverse_transform` of centres shows what clusters mean.
    start_labels_ : ndarray of shape (n_samples,)
        Clusters at the start, of all rows one after the other.
    n_epochs_ : int
        Epochs of learning together.
    converged_ : bool
        Whether labels settled before `max_epochs`.
    n_reseeded_ : int
        Clusters that lost all rows, and got a new centre.
    history_ : dict of ndarray of shape (n_epochs,)
        "train_loss", its parts "reconstruction_loss" and "clustering_loss", and "changed", the
        share of rows that had changed their label when the epoch began.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if X had string column names.

    See Also
    --------
    Autoencoder : The network. In a Pipeline before a mixture it is deep clustering in two stages.
    skdistmix.cluster.LandmarkSpectralClustering : Without a network.

    Notes
    -----
    Results vary more between seeds than those of a mixture. Look at clusters of hardly a row.

    Two small arrays a row are held in memory, of its code and of the assignment that it is drawn
    to; rows themselves as described at :class:`Autoencoder`.

    References
    ----------
    Xie, J., Girshick, R. and Farhadi, A. (2016). Unsupervised deep embedding for clustering
    analysis. ICML, 478-487.

    Guo, X., Gao, L., Liu, X. and Yin, J. (2017). Improved deep embedded clustering with local
    structure preservation. IJCAI, 1753-1759.

    Guo, X., Liu, X., Zhu, E. and Yin, J. (2017). Deep clustering with convolutional autoencoders.
    ICONIP, 373-382.

    Yang, B., Fu, X., Sidiropoulos, N. D. and Hong, M. (2017). Towards k-means-friendly spaces:
    simultaneous deep learning and clustering. ICML, 3861-3870.

    Guo, W., Lin, K. and Ye, W. (2021). Deep embedded k-means clustering. ICDM Workshops.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdistmix import DeepEmbeddedClustering
    >>> from skdistmix.deep import Autoencoder
    >>> X, _ = load_digits(return_X_y=True)
    >>> autoencoder = Autoencoder(max_epochs=5)
    >>> model = DeepEmbeddedClustering(10, autoencoder=autoencoder, max_epochs=3, random_state=0)
    >>> model.fit_predict(X).shape
    (1797,)
    >>> model.predict_proba(X[:3]).shape
    (3, 10)
    """

    _parameter_constraints: dict = {
        "n_clusters": [COUNT],
        "autoencoder": [Autoencoder, FrozenEstimator, None],
        "image_shape": [list, tuple, np.ndarray, None],
        "objective": [StrOptions(set(OBJECTIVES))],
        "assignment": [StrOptions(set(ASSIGNMENTS))],
        "alpha": [Interval(Real, 0.0, None, closed="neither"), StrOptions({"auto"})],
        "gamma": [Interval(Real, 0.0, None, closed="left"), StrOptions({"auto"})],
        "target": [StrOptions({"global", "batch"})],
        "update_interval": [COUNT, StrOptions({"auto", "epoch"})],
        "tol": [Interval(Real, 0.0, 1.0, closed="left")],
        "init": [StrOptions(set(INITS)), HasMethods("fit_predict")],
        "augmentation": [StrOptions({"affine"}), callable, None],
        "max_epochs": [Interval(Integral, 0, None, closed="left")],
        "batch_size": [COUNT, StrOptions({"auto"})],
        "learning_rate": [Interval(Real, 0.0, None, closed="neither"), StrOptions({"auto"})],
        "optimizer": [StrOptions(set(OPTIMIZERS)), type],
        "callbacks": [list, None],
        "monitor": [callable, None],
        "memory": [str, HasMethods("cache"), None],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "device": [str, torch.device],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_clusters=8,
        *,
        autoencoder=None,
        image_shape=None,
        objective="idec",
        assignment="student_t",
        alpha="auto",
        gamma="auto",
        target="global",
        update_interval="auto",
        tol=1e-3,
        init="auto",
        augmentation=None,
        max_epochs=50,
        batch_size="auto",
        learning_rate="auto",
        optimizer="adam",
        callbacks=None,
        monitor=None,
        memory=None,
        precision="auto",
        device="auto",
        verbose=0,
        random_state=None,
    ):
        self.n_clusters = n_clusters
        self.autoencoder = autoencoder
        self.image_shape = image_shape
        self.objective = objective
        self.assignment = assignment
        self.alpha = alpha
        self.gamma = gamma
        self.target = target
        self.update_interval = update_interval
        self.tol = tol
        self.init = init
        self.augmentation = augmentation
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.callbacks = callbacks
        self.monitor = monitor
        self.memory = memory
        self.precision = precision
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None):
        """Learn codes and clusters.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            Rows.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there are fewer rows than clusters, `image_shape` does not match the columns, a value
            is missing, the device does not exist, the start has another number of clusters, or the
            loss is no finite number.
        """
        shards = validated_shards(self, X, reset=True, on_host=True)
        if shards.n_rows < self.n_clusters:
            raise ValueError(
                f"n_samples={shards.n_rows} should be >= n_clusters={self.n_clusters}."
            )
        device = chosen_device(self.device)
        checked_choices(self, device)
        rng = check_random_state(self.random_state)
        pretraining_seed, seed = (int(s) for s in rng.randint(np.iinfo(np.int32).max, size=2))
        autoencoder = self._pretrained(shards, pretraining_seed)
        scale = autoencoder.shift_, autoencoder.scale_
        rows = TrainingRows(shards, *scale, np.random.default_rng(seed))
        with seeded(seed, device):
            network = autoencoder.to_torch().to(device)
            module, labels = started(self, network, rows, np.random.RandomState(seed))
            net = joint_net(self, module, labels, rows, device, seed).initialize()
            self.n_epochs_ = train(net, rows, self.max_epochs, what="Training of clusters")
            net.progress.finish(net)
        self._keep(net, autoencoder)
        labels = mapped(self._values("predict", self.n_clusters_), shards, 1)
        self.labels_ = labels if is_sharded(X) else labels[0]
        return self

    def predict(self, X):
        """Nearest cluster of each row.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for `fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,), or one array a shard
            A list for a list (or Shards), a generator of arrays, one a file, for a path or glob,
            and a lazy Dask collection for a Dask collection.
        """
        check_is_fitted(self)
        return row_values(self, X, self._values("predict", self.n_clusters_), 1, on_host=True)

    def predict_proba(self, X):
        """Probabilities of the clusters for each row, from distances of its code from the centres.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for `fit`.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_clusters), or one array a shard
            In the form of X, as `predict`.
        """
        check_is_fitted(self)
        return row_values(self, X, self._values("predict_proba", self.n_clusters_), 1, on_host=True)

    def transform(self, X):
        """Codes of rows.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for `fit`.

        Returns
        -------
        codes : ndarray of shape (n_samples, n_components), float32
            In the form of X, as from :meth:`Autoencoder.transform`.
        """
        check_is_fitted(self)
        return encoded(self, X, self._values("transform", self._n_features_out))

    def score(self, X, y=None):
        """Negative squared distance of codes from the nearest centres, averaged over rows.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for `fit`.
        y : ignored

        Returns
        -------
        float
            It compares rows for one fitted model. Codes of two models have different units: it
            cannot choose between them.
        """
        check_is_fitted(self)
        shards = seen_shards(self, X, on_host=True)
        parts = mapped(self._values("distance", 1), shards, 1)
        return -float(sum(part.sum() for part in parts) / shards.n_rows)

    # ------------------------------------------------------------------ steps

    def _pretrained(self, shards, seed: int) -> Autoencoder:
        """A copy of an autoencoder that has learnt to rebuild the rows."""
        if isinstance(self.autoencoder, FrozenEstimator):
            fitted = self.autoencoder.estimator
            if not isinstance(fitted, Autoencoder):
                raise TypeError(
                    "autoencoder must be an Autoencoder, or a FrozenEstimator with one; the "
                    f"latter holds a value of type {type(fitted).__name__}."
                )
            check_is_fitted(fitted)
            seen_shards(fitted, shards, on_host=True)
            return deepcopy(fitted)
        if self.autoencoder is None:
            autoencoder = Autoencoder(
                image_shape=self.image_shape, augmentation=self.augmentation,
                precision=self.precision, device=self.device, verbose=self.verbose,
            )  # fmt: skip
        else:
            autoencoder = clone(self.autoencoder)
        if autoencoder.random_state is None:
            autoencoder.set_params(random_state=seed)
        return fitted_once(self.memory, autoencoder, shards)

    def _keep(self, net: ClusteringNet, autoencoder: Autoencoder) -> None:
        head, progress = net.module_.head, net.progress
        autoencoder._keep(net.module_.network)
        self.autoencoder_ = autoencoder
        self.cluster_centers_ = head.centers.detach().cpu().numpy().copy()
        self.n_clusters_ = len(self.cluster_centers_)
        self._head = head.facts
        self.start_labels_ = progress.start
        self.converged_, self.n_reseeded_ = progress.converged, progress.n_reseeded
        names = ("train_loss", "reconstruction_loss", "clustering_loss", "changed")
        history = net.history[: self.n_epochs_]
        self.history_ = {name: np.array([epoch[name] for epoch in history]) for name in names}

    def _values(self, method: str, n_values: int) -> NetworkValues:
        name = type(self).__name__
        values = self.autoencoder_._values(method, n_values, name, self.device)
        head = Head.of(self.cluster_centers_, *self._head)
        names = tuple(getattr(self, "feature_names_in_", ())) or None
        return replace(values, head=head.to(values.device), columns=names)

    @property
    def _n_features_out(self):
        return self.cluster_centers_.shape[1]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
