"""Networks of autoencoders, and random changes of images."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

torch = pytest.importorskip("torch")
pytest.importorskip("skorch")

from torch import nn  # noqa: E402

from skdistmix.deep import Autoencoder, ImageAugmentation  # noqa: E402
from skdistmix.deep._networks import ConvAutoencoder, DenseAutoencoder  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


# --------------------------------------------------------------------------- networks


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "size",
    [*((n, n) for n in range(4, 41)), (4, 40), (40, 4), (8, 20), (20, 8), (9, 12), (5, 33)],
)
def test_images_come_back_in_their_size(size, channels):
    module = ConvAutoencoder((channels, *size), 5, filters=(3, 4, 5)).eval()
    images = torch.rand(2, channels * size[0] * size[1])
    back, code = module(images)
    assert code.shape == (2, 5) and back.shape == images.shape
    codes = module.encode(images)
    module.divide_code(7.0)
    with torch.no_grad():
        assert_allclose(module.encode(images), codes.detach() / 7, rtol=1e-4, atol=1e-6)
        assert_allclose(module(images)[0], back.detach(), rtol=1e-4, atol=1e-5)


def test_convolutions_are_those_of_the_paper():
    """28 x 28 pixels become 3 x 3 of 128 filters (Guo, Liu, Zhu and Yin 2017)."""
    module = ConvAutoencoder((1, 28, 28), 10)
    shapes = [tuple(layer.weight.shape) for layer in module.encoder if hasattr(layer, "weight")]
    assert shapes == [(32, 1, 5, 5), (64, 32, 5, 5), (128, 64, 3, 3), (10, 1152)]
    assert not isinstance(module.encoder[-1], nn.ReLU)
    assert isinstance(module.decoder[-2], nn.ConvTranspose2d)  # a linear output


def test_dense_layers():
    module = DenseAutoencoder(6, (5, 4), 2)
    shapes = [tuple(layer.weight.shape) for layer in module.encoder if hasattr(layer, "weight")]
    assert shapes == [(5, 6), (4, 5), (2, 4)]
    kinds = [type(layer) for layer in module.decoder]
    assert kinds == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert [back.out_features for _, back in module.pairs] == [6, 5, 4]
    rows = torch.rand(4, 6)
    with torch.no_grad():
        back, codes = module(rows)
        module.divide_code(0.3)
        assert_allclose(module.encode(rows), codes / 0.3, rtol=1e-4)
        assert_allclose(module(rows)[0], back, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "n_features, widths", [(6, [12, 12, 48]), (249, [498, 498, 1992]), (300, [500, 500, 2000])]
)
def test_widths(n_features, widths):
    auto = Autoencoder(max_epochs=1, random_state=0).fit(np.eye(2, n_features)).to_torch()
    found = [layer.out_features for layer in auto.encoder if isinstance(layer, nn.Linear)]
    assert found[:-1] == [max(w, least) for w, least in zip(widths, (32, 32, 64))]
    assert found[-1] == min(10, n_features)


# --------------------------------------------------------------------------- augmentation


def pixel_at(row, column, size=(21, 31), channels=1):
    images = torch.zeros(channels, *size)
    images[:, row, column] = 1.0
    return images.reshape(1, -1).repeat(400, 1)


def centre_of(images, size):
    """Rows and columns of the centres of mass, from the middle, in pixels."""
    images = images.reshape(len(images), -1, *size)[:, -1]
    mass = images.sum(dim=(1, 2))
    rows = (images.sum(dim=2) * (torch.arange(size[0]) - (size[0] - 1) / 2)).sum(dim=1) / mass
    columns = (images.sum(dim=1) * (torch.arange(size[1]) - (size[1] - 1) / 2)).sum(dim=1) / mass
    return rows.numpy(), columns.numpy()


@pytest.mark.parametrize("channels", [1, 3])
def test_shifts(channels):
    torch.manual_seed(0)
    size = (21, 31)
    images = pixel_at(10, 15, size, channels)
    rows, columns = centre_of(ImageAugmentation(rotation=0)(images, (channels, *size)), size)
    for shift, length in ((rows, 21), (columns, 31)):
        assert 0.09 * length < np.abs(shift).max() <= 0.1 * length + 1e-4
        assert abs(shift.mean()) < 0.02 * length
    assert len(np.unique(rows.round(3))) > 300  # each image in its own way


def test_rotations_keep_distances():
    """Also in images that are not square."""
    torch.manual_seed(0)
    size = (21, 31)
    for row, column in ((10, 27), (2, 15)):
        changed = ImageAugmentation(rotation=10, shift=0)(pixel_at(row, column, size), size)
        rows, columns = centre_of(changed, size)
        radius = np.hypot(row - 10, column - 15)
        assert_allclose(np.hypot(rows, columns), radius, rtol=0.02)
        angle = np.degrees(np.arctan2(rows, columns) - np.arctan2(row - 10, column - 15))
        assert 9 < np.abs(angle).max() < 10.5 and abs(angle.mean()) < 1


def test_nothing_to_change_and_wrong_shape():
    images = torch.rand(3, 3 * 5 * 7)
    same = ImageAugmentation(rotation=0, shift=0)(images, (3, 5, 7))
    assert_allclose(same, images, atol=1e-5)
    with pytest.raises(ValueError, match=r"image_shape=\(5, 7\) has 35 numbers, but X has 105"):
        ImageAugmentation()(images, (5, 7))
