"""Networks of autoencoders: an encoder to a code of few numbers, and a decoder back."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise

import torch
from torch import nn

__all__ = [
    "DEC_WIDTHS",
    "ConvAutoencoder",
    "DenseAutoencoder",
    "built",
    "checked_module",
    "image_shape_of",
]

DEC_WIDTHS = (500, 500, 2000)  # Xie, Girshick and Farhadi (2016)
FILTERS = (32, 64, 128)  # Guo, Liu, Zhu and Yin (2017)


class _Autoencoder(nn.Module):
    """An autoencoder made of `encoder` and `decoder`; `forward` gives (reconstruction, code)."""

    has_images = False

    def encode(self, X):
        """Codes of rows, shape (n_rows, n_components)."""
        return self.encoder(X)

    def decode(self, code):
        """Rows from codes, shape (n_rows, n_features)."""
        return self.decoder(code)

    def forward(self, X):
        code = self.encode(X)
        return self.decode(code), code

    @torch.no_grad()
    def divide_code(self, by: float) -> None:
        """Divide codes by a number, with the same reconstructions."""
        last = [layer for layer in self.encoder if isinstance(layer, nn.Linear)][-1]
        first = next(layer for layer in self.decoder if isinstance(layer, nn.Linear))
        last.weight /= by
        last.bias /= by
        first.weight *= by


class DenseAutoencoder(_Autoencoder):
    """Layers that connect everything: n_features - hidden - n_components, and mirrored.

    Rectifiers inside; the code and the reconstruction are linear (Xie, Girshick and Farhadi 2016).

    Parameters
    ----------
    n_features : int
    hidden : sequence of int
        Widths of the layers between rows and codes.
    n_components : int
        Numbers of a code.
    """

    def __init__(self, n_features: int, hidden: Sequence[int], n_components: int):
        super().__init__()
        widths = [n_features, *hidden, n_components]
        self.encoder, self.decoder = _dense(widths), _dense(widths[::-1])

    @property
    def pairs(self) -> list[tuple[nn.Linear, nn.Linear]]:
        """Layers of the encoder from the outside in, each with its mirror image."""
        there = [layer for layer in self.encoder if isinstance(layer, nn.Linear)]
        back = [layer for layer in self.decoder if isinstance(layer, nn.Linear)]
        return list(zip(there, back[::-1], strict=True))


def _dense(widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        layers += [_started(nn.Linear(n_in, n_out)), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class ConvAutoencoder(_Autoencoder):
    """Convolutions of stride 2 for images, and mirrored (Guo, Liu, Zhu and Yin 2017).

    Filters 5x5, 5x5 and 3x3. Images of any size come back in their size.

    Parameters
    ----------
    image_shape : (n_channels, height, width)
    n_components : int
        Numbers of a code.
    filters : sequence of three int
    """

    has_images = True

    def __init__(self, image_shape, n_components: int, filters: Sequence[int] = FILTERS):
        super().__init__()
        channels, *size = image_shape
        borders = (2, 2, 1 if all(n % 8 == 0 for n in size) or min(size) <= 8 else 0)
        widths = (channels, *filters)
        there: list[nn.Module] = []
        back: list[nn.Module] = []  # from the outside in
        for n_in, n_out, kernel, border in zip(widths, filters, (5, 5, 3), borders):
            after = [(n + 2 * border - kernel) // 2 + 1 for n in size]
            missing = [n - 2 * (m - 1) + 2 * border - kernel for n, m in zip(size, after)]
            there += [_started(nn.Conv2d(n_in, n_out, kernel, 2, border)), nn.ReLU()]
            back += [
                _started(nn.ConvTranspose2d(n_out, n_in, kernel, 2, border, tuple(missing))),
                nn.ReLU(),
            ]
            size = after
        inner = (filters[-1], *size)
        flat = inner[0] * inner[1] * inner[2]
        self.encoder = nn.Sequential(
            nn.Unflatten(1, tuple(image_shape)), *there, nn.Flatten(),
            _started(nn.Linear(flat, n_components)),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            _started(nn.Linear(n_components, flat)), nn.Unflatten(1, inner), *back[::-1],
            nn.Flatten(),
        )  # fmt: skip


def _started(layer: nn.Module) -> nn.Module:
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def image_shape_of(image_shape, n_features: int) -> tuple[int, int, int]:
    """(n_channels, height, width), from that or (height, width).

    Raises
    ------
    ValueError
        If images of this shape do not have as many pixels as rows have columns.
    """
    shape = tuple(int(length) for length in image_shape)
    full = (1, *shape) if len(shape) == 2 else shape
    if len(full) != 3 or min(full) < 1:
        raise ValueError(
            f"image_shape={image_shape!r} must be (height, width) or (n_channels, height, width)."
        )
    if full[0] * full[1] * full[2] != n_features:
        raise ValueError(
            f"image_shape={image_shape!r} has {full[0] * full[1] * full[2]} numbers, but X has "
            f"{n_features} columns: rows must be images of this shape, flattened channel by "
            "channel and line by line."
        )
    return full


def built(blueprint) -> nn.Module:
    """A module from its class and what that takes, or a copy of a module."""
    if isinstance(blueprint, nn.Module):
        return deepcopy(blueprint)
    kind, *arguments = blueprint
    return kind(*arguments)


def checked_module(module: nn.Module, n_features: int) -> nn.Module:
    """A user's module, if it can encode and decode a row.

    Raises
    ------
    TypeError
        If it has no methods `encode` and `decode`.
    ValueError
        If it refuses rows of so many columns, or gives back others.
    """
    if not (
        callable(getattr(module, "encode", None)) and callable(getattr(module, "decode", None))
    ):
        raise TypeError(
            f"The network {type(module).__name__} must have methods encode(X), which gives codes "
            "of shape (n_rows, n_components), and decode(code), which gives rows back; its "
            "forward(X) returns decode(encode(X)), or that and the code."
        )
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            device = next((p.device for p in module.parameters()), None)
            code = module.encode(torch.zeros(2, n_features, device=device))
            back = module.decode(code)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"The network {type(module).__name__} cannot encode rows of {n_features} columns: "
            f"{reason}"
        ) from error
    module.train(was_training)
    if code.ndim != 2 or back.shape != (2, n_features):
        raise ValueError(
            f"The network {type(module).__name__} makes codes of shape {tuple(code.shape)} and "
            f"rows of shape {tuple(back.shape)} of 2 rows of {n_features} columns: codes must be "
            f"of shape (2, n_components), rows of shape (2, {n_features})."
        )
    return module
