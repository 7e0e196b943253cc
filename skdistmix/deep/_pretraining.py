"""Autoencoders learn to rebuild rows, as a whole or layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import LRScheduler
from skorch.helper import predefined_split
from torch import nn

from ._net import train, with_settings
from ._rows import Batches, TrainingRows

__all__ = ["EarlyStop", "Recipe", "pretrained"]

LOWEST_RATE = 0.02  # of the learning rate, at the end of a cosine


@dataclass
class EarlyStop:
    """Ends training when the loss of held-out rows has not improved for some epochs.

    Attributes
    ----------
    rows : TrainingRows
    patience : int
    """

    rows: TrainingRows
    patience: int
    best: float = field(default=np.inf, init=False)
    waited: int = field(default=0, init=False)
    state: dict | None = field(default=None, init=False)

    def __call__(self, net: NeuralNet) -> bool:
        loss = net.history[-1]["valid_loss"]
        if loss < self.best:
            self.best, self.waited, self.state = loss, 0, deepcopy(net.module_.state_dict())
        else:
            self.waited += 1
        return self.waited >= self.patience

    def restore(self, net: NeuralNet) -> None:
        """Give the net its best weights back."""
        if self.state is not None:
            net.module_.load_state_dict(self.state)


@dataclass(frozen=True)
class Recipe:
    """How an autoencoder learns.

    Attributes
    ----------
    n_epochs : int
        End to end.
    n_layer_epochs : int
        For each layer before that; 0: none.
    corruption : float
        Share of the numbers of a row that are set to zero before it is encoded.
    augment : callable or None
        Changes a tensor of rows, and so what they are rebuilt to.
    cosine : bool
        Whether learning rates fall to a fiftieth in the course of the epochs.
    """

    n_epochs: int
    n_layer_epochs: int
    corruption: float
    augment: Callable | None
    cosine: bool


def pretrained(
    net: NeuralNet, rows: TrainingRows, recipe: Recipe, stop: EarlyStop | None = None
) -> tuple[NeuralNet, int]:
    """Train the module of a net.

    Returns
    -------
    net : NeuralNet
        As trained; its history is that of the epochs end to end.
    n_done : int
        These epochs.
    """
    for depth in range(len(net.module.pairs) if recipe.n_layer_epochs else 0):
        _learn_layer(net, rows, recipe, depth)
    change = None
    if recipe.corruption or recipe.augment is not None:
        change = partial(_changed, corruption=recipe.corruption, augment=recipe.augment)
    net = _ready(net, rows, change, recipe.n_epochs if recipe.cosine else None, stop)
    after = None if stop is None else partial(stop, net)
    done = train(net, rows, recipe.n_epochs, after, "Training of the autoencoder")
    if stop is not None:
        stop.restore(net)
    return net, done


def _ready(net: NeuralNet, rows, change, n_cosine_epochs, stop=None, **settings) -> NeuralNet:
    """A net like another that is initialised and has our batches and a falling learning rate."""
    settings = {
        "iterator_train": Batches, "iterator_train__device": net.device,
        "iterator_train__change": change, "iterator_valid": Batches,
        "iterator_valid__device": net.device, "iterator_valid__in_order": True,
        "callbacks": _callbacks_of(net), **settings,
    }  # fmt: skip
    if stop is not None:
        settings["train_split"] = predefined_split(stop.rows)
    if n_cosine_epochs is not None:
        n_steps = n_cosine_epochs * max(-(-len(rows) // net.batch_size), 1)
        cosine = LRScheduler(
            torch.optim.lr_scheduler.CosineAnnealingLR, T_max=n_steps, step_every="batch",
            eta_min=LOWEST_RATE * net.lr,
        )  # fmt: skip
        settings["callbacks"] = [*(settings["callbacks"] or []), ("lr_scheduler", cosine)]
    return with_settings(net, **settings).initialize()


def _callbacks_of(net: NeuralNet) -> list:
    # "disable" would leave out those of skorch too, that note the loss.
    return [] if net.callbacks in (None, "disable") else list(net.callbacks)


def _changed(rows: torch.Tensor, numbers, corruption: float, augment) -> tuple:
    """(what is encoded, what it is rebuilt to)."""
    target = rows if augment is None else augment(rows)
    return (nn.functional.dropout(target, corruption) if corruption else target), target


def _learn_layer(net: NeuralNet, rows: TrainingRows, recipe: Recipe, depth: int) -> None:
    """Train a pair of layers as a denoising autoencoder of what the layers before give.

    Vincent, Larochelle, Lajoie, Bengio and Manzagol (2010), as in Xie, Girshick and Farhadi (2016).
    """
    pairs = net.module.pairs
    layer = _LayerPair(*pairs[depth], depth == 0, depth == len(pairs) - 1, recipe.corruption)
    before = nn.Sequential(*(part for there, _ in pairs[:depth] for part in (there, nn.ReLU())))
    change = _LayerInput(before, recipe.augment)
    n_epochs = recipe.n_layer_epochs
    cosine = n_epochs if recipe.cosine else None
    one = _ready(net, rows, change, cosine, module=layer, callbacks=None)
    train(one, rows, n_epochs, None, f"Training of layer {depth + 1}")


class _LayerPair(nn.Module):
    def __init__(self, there, back, is_first: bool, is_last: bool, corruption: float):
        super().__init__()
        self.there, self.back = there, back
        self.is_first, self.is_last, self.corruption = is_first, is_last, corruption

    def forward(self, X):
        code = self.there(self._noisy(X))
        if not self.is_last:
            code = torch.relu(code)
        back = self.back(self._noisy(code))
        return back if self.is_first else torch.relu(back)

    def _noisy(self, X):
        return nn.functional.dropout(X, self.corruption, training=self.training)


@dataclass(frozen=True)
class _LayerInput:
    before: nn.Module
    augment: Callable | None

    @torch.no_grad()
    def __call__(self, rows, numbers) -> tuple:
        X = self.before(rows if self.augment is None else self.augment(rows))
        return X, X
