"""Trained autoencoders that are kept on disk."""

from __future__ import annotations

from copy import deepcopy

import torch
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_memory

__all__ = ["fitted_once"]


def fitted_once(memory, autoencoder: BaseEstimator, shards) -> BaseEstimator:
    """A fitted autoencoder, from the memory if it has one with these parameters and rows."""
    cached = check_memory(memory).cache(_fitted, ignore=["autoencoder"])
    return cached(autoencoder, _told_apart(clone(autoencoder)), shards)


def _fitted(autoencoder: BaseEstimator, key, shards) -> BaseEstimator:
    return autoencoder.fit(shards)


def _told_apart(value):
    """A copy that is pickled to the same bytes each time: a tensor is not, an array is."""
    if isinstance(value, torch.nn.Module):
        module = deepcopy(value)
        for part in module.modules():
            for tensors in (part._parameters, part._buffers):
                arrays = {k: t.detach().cpu().numpy() for k, t in tensors.items() if t is not None}
                tensors.update(arrays)
        return module
    if isinstance(value, BaseEstimator):
        parameters = value.get_params(deep=False)
        return type(value), {name: _told_apart(p) for name, p in parameters.items()}
    return value
