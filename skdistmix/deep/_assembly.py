"""What estimators choose, made into networks and skorch nets."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from sklearn.base import clone
from skorch import NeuralNet

from ._augmentation import ImageAugmentation
from ._heads import Head
from ._inference import codes_of
from ._joint import ClusteringNet, JointModule, Progress, squared_distances
from ._net import AutoencoderNet, with_settings
from ._networks import (
    DEC_WIDTHS,
    ConvAutoencoder,
    DenseAutoencoder,
    built,
    image_shape_of,
)
from ._objectives import OBJECTIVES
from ._rows import Batches, TrainingRows
from ._runtime import autocast_type, optimizer_options
from ._starts import centers_of, start_labels

__all__ = [
    "augmentation_of",
    "autoencoder_net",
    "blueprint_of",
    "checked_choices",
    "joint_net",
    "started",
]

FEW_ROWS, SMALL_BATCH, BATCH = 3000, 64, 256
DENSE_EPOCHS, CONV_EPOCHS = 50, 60
FEW_STEPS, MORE_EPOCHS = 500, 2  # steps for which up to so many times the epochs are run
N_COMPONENTS, NARROWEST = 10, (32, 32, 64)

START_EPOCHS = 5  # in which augmented rows are drawn to their clusters at the start
AUGMENTED_GAMMA, IMAGE_RATE = 1.0, 1e-3
# With 1 assignments in ten directions stay so vague that clusters of MNIST merge; with 9 they are
# so sure that those of USPS, which begin well, do not get better.
AUGMENTED_ALPHA = 3.0
FEWEST_STEPS = 20  # between refreshes


def augmentation_of(augmentation, image_shape) -> Callable | None:
    """A function that changes a tensor of rows, or None."""
    if augmentation is None:
        return None
    if augmentation == "affine":
        augmentation = ImageAugmentation()
    if isinstance(augmentation, ImageAugmentation) and image_shape is None:
        raise ValueError("augmentation='affine' needs image_shape, the shape of the images.")
    return partial(augmentation, image_shape=image_shape)


# ------------------------------------------------------------------ an Autoencoder


def blueprint_of(choices):
    """What the network of an Autoencoder is built from: a module, or its class and arguments."""
    if choices.net is not None and choices.net.module is not None:
        net = clone(choices.net).set_params(optimizer=_no_optimizer)  # it may have none yet
        return net.initialize().module_
    if isinstance(choices.network, torch.nn.Module):
        return deepcopy(choices.network)
    n_features, n_components = choices.n_features_in_, choices.n_components
    if n_components == "auto":
        n_components = min(N_COMPONENTS, n_features)
    shape = choices.image_shape
    if shape is not None:
        shape = image_shape_of(shape, n_features)
    if choices.network == "dense" or (choices.network == "auto" and shape is None):
        widths = _widths(choices.hidden, n_features)
        return DenseAutoencoder, n_features, widths, n_components
    if shape is None:
        raise ValueError("network='conv' needs image_shape, the shape of the images.")
    return ConvAutoencoder, shape, n_components


def _no_optimizer(*args, **kwargs) -> torch.optim.Optimizer:
    """In place of an optimiser where only a module is asked for."""
    return torch.optim.SGD([torch.zeros(1)], lr=0.1)


def _widths(hidden, n_features: int) -> tuple[int, ...]:
    if isinstance(hidden, str):
        if hidden == "dec":
            return DEC_WIDTHS
        limits = zip((2, 2, 8), DEC_WIDTHS, NARROWEST, strict=True)
        return tuple(max(min(m * n_features, widest), least) for m, widest, least in limits)
    if any(width != int(width) or width < 1 for width in hidden):
        raise ValueError(f"hidden must hold positive integers, got {hidden!r}.")
    return tuple(int(width) for width in hidden)


def autoencoder_net(choices, blueprint, n_rows: int, device: torch.device) -> NeuralNet:
    """An untrained skorch net of an Autoencoder, with its settings where it has none of its own."""
    template = AutoencoderNet() if choices.net is None else clone(choices.net)
    given = template.get_params(deep=False)
    size = given["batch_size"] or _batch_size(choices.batch_size, n_rows)
    ours = {"batch_size": size}
    if given["max_epochs"] is None:
        ours["max_epochs"] = _n_epochs(choices.max_epochs, blueprint, -(-n_rows // size))
    if given["lr"] is None:
        ours["lr"] = choices.learning_rate
    if given["optimizer"] is None:
        ours |= optimizer_options(choices.optimizer, device)
    if given.get("autocast", 0) is None:
        ours["autocast"] = autocast_type(choices.precision, device)
    ours |= {"device": device, "verbose": int(choices.verbose), "train_split": None}
    for name in [name for name in given if name.startswith("module__")]:
        delattr(template, name)  # the module has been built with them
    return with_settings(template, module=built(blueprint), **ours)


def _batch_size(batch_size, n_rows: int) -> int:
    if batch_size != "auto":
        return batch_size
    return SMALL_BATCH if n_rows < FEW_ROWS else BATCH


def _n_epochs(max_epochs, blueprint, n_steps: int) -> int:
    if max_epochs != "auto":
        return max_epochs
    is_dense = isinstance(blueprint, tuple) and blueprint[0] is DenseAutoencoder
    n_epochs = DENSE_EPOCHS if is_dense else CONV_EPOCHS
    return min(max(n_epochs, -(-FEW_STEPS // n_steps)), MORE_EPOCHS * n_epochs)


# ------------------------------------------------------------------ a DeepEmbeddedClustering


def checked_choices(choices, device: torch.device) -> None:
    """Raise for choices of the second stage before the first has taken its time.

    Raises
    ------
    ValueError
        If images are not of `image_shape`, or have none and are to be changed.
    ImportError
        If an optimiser is not installed.
    """
    optimizer_options(choices.optimizer, device)
    shape = _shape_of_images(choices)
    if shape is not None:
        image_shape_of(shape, choices.n_features_in_)
    augmentation_of(choices.augmentation, shape)


def _shape_of_images(choices):
    if choices.image_shape is not None or choices.autoencoder is None:
        return choices.image_shape
    autoencoder = getattr(choices.autoencoder, "estimator", choices.autoencoder)
    return getattr(autoencoder, "image_shape", None)  # what it is instead, fit says


def started(choices, network, rows: TrainingRows, rng) -> tuple[JointModule, np.ndarray]:
    """A network with a head whose centres are means of clusters of codes, and these clusters."""
    device = next(network.parameters()).device
    codes = codes_of(network, rows)
    augmented = choices.augmentation is not None
    init = choices.init
    if init == "auto":
        init = "landmark_spectral" if augmented else "kmeans"
    if hasattr(network, "divide_code"):
        spread = float(codes.std())
        if spread > 0:  # distances at which assignments are neither sure nor even, whatever the
            # unit in which the autoencoder learnt its codes
            network.divide_code(spread)
            codes = codes / spread
    labels = start_labels(init, codes, choices.n_clusters, rng)
    centers = centers_of(codes, labels, choices.n_clusters)
    centers = torch.as_tensor(centers, dtype=torch.float32, device=device)
    alpha = choices.alpha
    if alpha == "auto":
        alpha = AUGMENTED_ALPHA if augmented else 1.0
    head = Head(centers, choices.assignment, float(alpha)).to(device)
    head.measure(squared_distances(codes, head))
    return JointModule(network, head, OBJECTIVES[choices.objective].reconstructs), labels


def joint_net(
    choices, module: JointModule, labels, rows: TrainingRows, device, seed: int
) -> ClusteringNet:
    """An untrained skorch net of a DeepEmbeddedClustering."""
    objective = OBJECTIVES[choices.objective]()
    module.head.centers.requires_grad_(objective.learns_centers)
    augmented = choices.augmentation is not None
    gamma, rate, interval = choices.gamma, choices.learning_rate, choices.update_interval
    if gamma == "auto":
        gamma = AUGMENTED_GAMMA if augmented else objective.gamma
    if rate == "auto":
        has_images = getattr(module.network, "has_images", False)
        rate = IMAGE_RATE if has_images else objective.learning_rate
    size = _batch_size(choices.batch_size, len(rows))
    if interval == "auto":
        interval = objective.update_interval
        if interval == "epoch" and -(-len(rows) // size) < FEWEST_STEPS:
            interval = FEWEST_STEPS  # after a few steps no row has another label, and it would end
    progress = Progress(
        rows,
        objective,
        interval=interval,
        tol=choices.tol,
        start=labels,
        n_start_epochs=START_EPOCHS if augmented and objective.soft else 0,
        seed=seed,
        from_batch=choices.target == "batch" and objective.soft,
        watch=choices.monitor,
    )
    augment = augmentation_of(choices.augmentation, _shape_of_images(choices))
    return ClusteringNet(
        module,
        progress=progress,
        gamma=gamma,
        lr=rate,
        max_epochs=choices.max_epochs,
        batch_size=size,
        callbacks=choices.callbacks,
        autocast=autocast_type(choices.precision, device),
        device=device,
        verbose=int(choices.verbose),
        iterator_train=Batches,
        iterator_train__device=device,
        iterator_train__change=_Numbered(augment),
        **optimizer_options(choices.optimizer, device),
    )


@dataclass(frozen=True)
class _Numbered:
    """Rows of a batch, changed at random, and their numbers."""

    augment: Callable | None

    def __call__(self, rows, numbers) -> tuple:
        changed = rows if self.augment is None else self.augment(rows)
        return changed, torch.from_numpy(numbers)
