"""Deep clustering: autoencoders, and clusters that are learnt together with their codes."""

try:
    import skorch  # noqa: F401 - only whether it is there
    import torch  # noqa: F401 - the same
except ImportError as error:
    raise ImportError(
        'skdistmix.deep needs PyTorch and skorch: pip install "skdistmix[deep]"'
    ) from error

from ._augmentation import ImageAugmentation
from ._autoencoder import Autoencoder
from ._embedded import DeepEmbeddedClustering
from ._net import AutoencoderNet

__all__ = ["Autoencoder", "AutoencoderNet", "DeepEmbeddedClustering", "ImageAugmentation"]
