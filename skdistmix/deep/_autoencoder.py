"""Autoencoder: a network that rebuilds rows from a code of few numbers, as a transformer."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from skorch import NeuralNet

from .._row_values import mapped, seen_shards
from .._validation import validated_shards
from ._assembly import augmentation_of, autoencoder_net, blueprint_of
from ._inference import PADDED, NetworkValues, encoded, in_batches
from ._networks import built, checked_module
from ._pretraining import EarlyStop, Recipe, pretrained
from ._rows import TrainingRows, scale_of
from ._runtime import OPTIMIZERS, chosen_device, seeded

__all__ = ["Autoencoder"]


class Autoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A network that rebuilds rows from a code of few numbers.

    `transform` gives the codes, `inverse_transform` rebuilds rows from them. In a Pipeline before a
    mixture or k-means it is deep clustering in two stages; :class:`DeepEmbeddedClustering` learns
    codes and clusters together, from one.

    Parameters
    ----------
    network : {"auto", "dense", "conv"} or torch.nn.Module, default="auto"
        "dense": layers that connect everything. "conv": convolutions (Guo, Liu, Zhu and Yin 2017),
        for images. "auto": "conv" if there is an `image_shape`. A module of your own has methods
        ``encode(X)`` and ``decode(code)``, and its ``forward(X)`` returns the reconstruction, or
        that and the code; it is copied, and starts from the weights that it has.
    n_components : int or "auto", default="auto"
        Numbers of a code. "auto": ten, or as many as X has columns if they are fewer.
    hidden : "auto", "dec" or sequence of int, default="auto"
        Widths of the layers of a dense network between rows and codes. "dec": 500, 500, 2000 (Xie,
        Girshick and Farhadi 2016). "auto": these, or for d columns below 250 the narrower 2d, 2d
        and 8d.
    image_shape : tuple of int, optional
        (height, width) or (n_channels, height, width) of the images that rows are.
    pretraining : {"end_to_end", "layerwise"}, default="end_to_end"
        "layerwise": each layer of a dense network first learns to clean what the layers before it
        give from `corruption` (Vincent et al. 2010), for a fifth of the epochs.
    corruption : float, default=0.0
        Share of the numbers of a row that are set to zero before it is encoded, the others being
        divided by one minus it (dropout); what it is rebuilt to is whole.
    augmentation : {"affine"}, callable or None, default=None
        Random changes of the rows in every epoch. "affine" is :class:`ImageAugmentation`. A
        callable takes a tensor of rows and `image_shape`, and returns a tensor like the first.
    max_epochs : int or "auto", default="auto"
        "auto": 50, or 60 with convolutions; up to twice as many if these are fewer than 500 steps.
    batch_size : int or "auto", default="auto"
        Rows of a step. "auto": 256, or 64 below 3,000 rows.
    learning_rate : float, default=1e-3
    schedule : {"auto", "cosine", "constant"}, default="auto"
        "cosine": the learning rate falls to a fiftieth in the course of the epochs. "auto": so
        with `augmentation`, constant without.
    optimizer : {"adam", "sgd", "madgrad"} or class, default="adam"
        "sgd" has a momentum of 0.9; "madgrad" needs the package of this name.
    early_stopping : bool, default=False
        Whether training ends when the error of held-out rows no longer falls; the best weights are
        kept.
    validation_fraction : float, default=0.1
        Share of rows that are held out for that.
    n_iter_no_change : int, default=10
        Epochs that may pass without a smaller error.
    rescale : bool, default=True
        Whether the network sees all columns shifted and scaled together so that they lie between 0
        and 1, as pixels do. Columns of different units should be scaled before.
    net : skorch.NeuralNet, optional
        A skorch net that trains, for what has no parameter here: callbacks, other losses, weight
        decay. :class:`AutoencoderNet` uses the network and settings from here where its own are
        None; any other net has its own module, which has `encode` and `decode`, and its own
        optimiser, `lr`, `max_epochs` and `batch_size`. Its parameters are ``net__...``.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Type of forward passes in training. "auto": bfloat16 if the processor has instructions for
        it.
    device : str or torch.device, default="auto"
        "auto": a GPU if there is one.
    verbose : int, default=0
        1: a line an epoch.
    random_state : int, RandomState instance or None, default=None
        Seed of first weights, the order of rows, corruption and augmentation. The random numbers of
        torch that others use stay as they are.

    Attributes
    ----------
    n_components_ : int
    n_epochs_ : int
        Epochs that were run.
    history_ : dict of ndarray of shape (n_epochs,)
        "train_loss", and with early stopping "valid_loss": squared errors, averaged over columns
        and rows, in units of the square of `scale_`.
    state_dict_ : dict of torch.Tensor
        Weights, on the CPU.
    shift_, scale_ : float
        The network sees ``(X - shift_) / scale_``.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if X had string column names.

    See Also
    --------
    DeepEmbeddedClustering : Learns codes and clusters together.

    Notes
    -----
    X is what all estimators here take: arrays, memmaps, lists of arrays, paths, Dask collections,
    Shards. Up to 256 MB of rows are held in memory as float32; more are read anew in every epoch.

    References
    ----------
    Vincent, P., Larochelle, H., Lajoie, I., Bengio, Y. and Manzagol, P.-A. (2010). Stacked
    denoising autoencoders. JMLR 11, 3371-3408.

    Xie, J., Girshick, R. and Farhadi, A. (2016). Unsupervised deep embedding for clustering
    analysis. ICML, 478-487.

    Guo, X., Liu, X., Zhu, E. and Yin, J. (2017). Deep clustering with convolutional autoencoders.
    ICONIP, 373-382.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.pipeline import make_pipeline
    >>> from skdistmix import DistributedGMM
    >>> from skdistmix.deep import Autoencoder
    >>> X, _ = load_digits(return_X_y=True)
    >>> autoencoder = Autoencoder(max_epochs=5, random_state=0)
    >>> make_pipeline(autoencoder, DistributedGMM(10, random_state=0)).fit_predict(X).shape
    (1797,)
    >>> codes = autoencoder.transform(X)
    >>> codes.shape, autoencoder.inverse_transform(codes).shape
    ((1797, 10), (1797, 64))
    """

    _parameter_constraints: dict = {
        "network": [StrOptions({"auto", "dense", "conv"}), torch.nn.Module],
        "n_components": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "hidden": [StrOptions({"auto", "dec"}), list, tuple, np.ndarray],
        "image_shape": [list, tuple, np.ndarray, None],
        "pretraining": [StrOptions({"end_to_end", "layerwise"})],
        "corruption": [Interval(Real, 0.0, 1.0, closed="left")],
        "augmentation": [StrOptions({"affine"}), callable, None],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "learning_rate": [Interval(Real, 0.0, None, closed="neither")],
        "schedule": [StrOptions({"auto", "cosine", "constant"})],
        "optimizer": [StrOptions(set(OPTIMIZERS)), type],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0.0, 1.0, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "rescale": ["boolean"],
        "net": [NeuralNet, None],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "device": [str, torch.device],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        network="auto",
        *,
        n_components="auto",
        hidden="auto",
        image_shape=None,
        pretraining="end_to_end",
        corruption=0.0,
        augmentation=None,
        max_epochs="auto",
        batch_size="auto",
        learning_rate=1e-3,
        schedule="auto",
        optimizer="adam",
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        rescale=True,
        net=None,
        precision="auto",
        device="auto",
        verbose=0,
        random_state=None,
    ):
        self.network = network
        self.n_components = n_components
        self.hidden = hidden
        self.image_shape = image_shape
        self.pretraining = pretraining
        self.corruption = corruption
        self.augmentation = augmentation
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.optimizer = optimizer
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.rescale = rescale
        self.net = net
        self.precision = precision
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn to rebuild rows.

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
            If `image_shape` does not match the columns, a value is missing, the device does not
            exist, or the loss is no finite number.
        """
        shards = validated_shards(self, X, reset=True, on_host=True)
        device = chosen_device(self.device)
        random_state = check_random_state(self.random_state)
        seed, order_seed = (int(s) for s in random_state.randint(np.iinfo(np.int32).max, size=2))
        with seeded(seed, device):
            self._blueprint = blueprint_of(self)
            held_out = self._held_out(shards.n_rows, np.random.default_rng([order_seed, 1]))
            n_train = shards.n_rows if held_out is None else int((~held_out).sum())
            net = autoencoder_net(self, self._blueprint, n_train, device)
            checked_module(net.module, self.n_features_in_)
            low, extent = scale_of(shards)
            self.shift_, self.scale_ = (low, extent) if self.rescale else (0.0, 1.0)
            rows, stop = self._training_rows(shards, held_out, order_seed)
            net, self.n_epochs_ = pretrained(net, rows, self._recipe(net), stop)
            self._keep(net.module_)
        names = ["train_loss"] + ["valid_loss"] * (stop is not None)
        history = net.history[: self.n_epochs_]
        self.history_ = {name: np.array([e[name] for e in history]) for name in names}
        return self

    def transform(self, X):
        """Codes of rows.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for `fit`.

        Returns
        -------
        codes : ndarray of shape (n_samples, n_components), float32
            A list for a list, a lazy Dask collection for a Dask collection, and for a path or glob
            lazy ``Shards`` whose rows are encoded each time they are read.
        """
        check_is_fitted(self)
        return encoded(self, X, self._values("transform", self.n_components_))

    def inverse_transform(self, X):
        """Rows rebuilt from codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components), or list of them

        Returns
        -------
        rows : ndarray of shape (n_samples, n_features), or list of them
        """
        check_is_fitted(self)
        if isinstance(X, (list, tuple)) and all(np.ndim(x) == 2 for x in X):
            return [self.inverse_transform(x) for x in X]
        codes = check_array(X, dtype=np.float32, input_name="X")
        if codes.shape[1] != self.n_components_:
            raise ValueError(
                f"X has {codes.shape[1]} columns, but codes have {self.n_components_}: "
                "inverse_transform takes codes, as transform gives them."
            )
        device = chosen_device(self.device)
        module = self.to_torch().to(device)
        rows = in_batches(module.decode, torch.from_numpy(codes), device, PADDED, padded=True)
        return rows.astype(np.float64) * self.scale_ + self.shift_

    def score(self, X, y=None):
        """Negative squared error of rebuilt rows, averaged over columns and rows.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for `fit`.
        y : ignored

        Returns
        -------
        float
            In units of the square of X. For rows that were not in `fit` it tells of two networks
            which one to use.
        """
        check_is_fitted(self)
        shards = seen_shards(self, X, on_host=True)
        parts = mapped(self._values("error", 1), shards, 1)
        return -float(sum(part.sum() for part in parts) / shards.n_rows) * self.scale_**2

    def to_torch(self):
        """A copy of the network.

        Returns
        -------
        torch.nn.Module
            On the CPU, for ``(X - shift_) / scale_`` in float32.
        """
        check_is_fitted(self)
        with seeded(0, torch.device("cpu")):  # first weights, which are overwritten
            module = built(self._blueprint)
        module.load_state_dict(self.state_dict_)
        return module.eval()

    # ------------------------------------------------------------------ steps

    def _recipe(self, net: NeuralNet) -> Recipe:
        layerwise = self.pretraining == "layerwise"
        if layerwise and not hasattr(net.module, "pairs"):
            raise ValueError("pretraining='layerwise' is for network='dense'.")
        schedule = self.schedule
        if schedule == "auto":  # plain codes that are not polished hold classes better
            schedule = "constant" if self.augmentation is None else "cosine"
        return Recipe(
            n_epochs=net.max_epochs,
            n_layer_epochs=max(net.max_epochs // 5, 1) if layerwise else 0,
            corruption=self.corruption,
            augment=augmentation_of(self.augmentation, self.image_shape),
            cosine=schedule == "cosine",
        )

    def _held_out(self, n_rows: int, rng) -> np.ndarray | None:
        if not self.early_stopping:
            return None
        size = max(round(self.validation_fraction * n_rows), 1)
        if size >= n_rows:
            raise ValueError(
                f"early_stopping holds out {size} of {n_rows} rows: give more rows, or a smaller "
                "validation_fraction."
            )
        held_out = np.zeros(n_rows, dtype=bool)
        held_out[rng.choice(n_rows, size, replace=False)] = True
        return held_out

    def _training_rows(self, shards, held_out, seed: int):
        scale = self.shift_, self.scale_
        rng = np.random.default_rng([seed, 0])
        if held_out is None:
            return TrainingRows(shards, *scale, rng), None
        rows = TrainingRows(shards, *scale, rng, keep=~held_out)
        return rows, EarlyStop(
            TrainingRows(shards, *scale, rng, keep=held_out), self.n_iter_no_change
        )

    def _keep(self, module: torch.nn.Module) -> None:
        """Note the weights of a trained module, and the length of its codes."""
        state = module.state_dict()
        self.state_dict_ = {name: value.detach().cpu().clone() for name, value in state.items()}
        if isinstance(self._blueprint, torch.nn.Module):
            self._blueprint = self._blueprint.cpu()
        probe = torch.zeros(2, self.n_features_in_)
        with torch.inference_mode():
            self.n_components_ = int(self.to_torch().encode(probe).shape[1])

    def _values(
        self, method: str, n_values: int, prefix="Autoencoder", device=None
    ) -> NetworkValues:
        device = chosen_device(self.device if device is None else device)
        return NetworkValues(
            self.to_torch().to(device), None, method, self.shift_, self.scale_,
            self.n_features_in_, n_values, prefix,
            tuple(getattr(self, "feature_names_in_", ())) or None,
        )  # fmt: skip

    @property
    def _n_features_out(self):
        return self.n_components_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
