"""Random changes of images that leave what they show as it is."""

from __future__ import annotations

import math

import torch
from sklearn.base import BaseEstimator

from ._networks import image_shape_of

__all__ = ["ImageAugmentation"]


class ImageAugmentation(BaseEstimator):
    """Turn and shift images at random (Guo, Zhu, Liu and Yin 2018).

    All images of a batch are changed in one step, each in its own way; pixels from outside are
    zero, that is the darkest value of the data.

    Parameters
    ----------
    rotation : float, default=10.0
        Largest angle, in degrees.
    shift : float, default=0.1
        Largest shift, as a share of height and width.

    References
    ----------
    Guo, X., Zhu, E., Liu, X. and Yin, J. (2018). Deep embedded clustering with data augmentation.
    ACML, 550-565.

    Examples
    --------
    >>> import torch
    >>> from skdistmix.deep import ImageAugmentation
    >>> images = torch.rand(5, 64)
    >>> ImageAugmentation(rotation=0, shift=0)(images, (8, 8)).allclose(images, atol=1e-5)
    True
    """

    def __init__(self, rotation=10.0, shift=0.1):
        self.rotation = rotation
        self.shift = shift

    def __call__(self, X, image_shape):
        """Changed copies of images.

        Parameters
        ----------
        X : tensor of shape (n_images, n_pixels)
        image_shape : tuple
            (height, width) or (n_channels, height, width).

        Returns
        -------
        tensor of shape (n_images, n_pixels)
        """
        shape = image_shape_of(image_shape, X.shape[1])
        _, height, width = shape
        images = X.reshape(len(X), *shape)
        draws = torch.rand(3, len(X), device=X.device) * 2 - 1
        angle = draws[0] * math.radians(self.rotation)
        cos, sin = torch.cos(angle), torch.sin(angle)
        # Places are in [-1, 1], a unit of height being another length than one of width.
        theta = torch.stack(
            [
                torch.stack([cos, -sin * height / width, 2 * self.shift * draws[1]], dim=1),
                torch.stack([sin * width / height, cos, 2 * self.shift * draws[2]], dim=1),
            ],
            dim=1,
        ).to(X.dtype)
        grid = torch.nn.functional.affine_grid(theta, images.shape, align_corners=False)
        changed = torch.nn.functional.grid_sample(images, grid, align_corners=False)
        return changed.reshape(len(X), -1)
