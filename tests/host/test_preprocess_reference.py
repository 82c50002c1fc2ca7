"""The runtime's preprocessing against torchvision's own transforms of the same weights, on PIL images."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torchvision")

from edgetl_runtime.preprocess import ImagePreprocess
from PIL import Image
from torchvision import models

CAMERAS = [(480, 640), (720, 1280), (1280, 720), (224, 224), (256, 256)]
ODD = [(479, 641), (333, 777), (37, 1000), (1000, 37), (3, 2), (1, 1)]
PRESETS = {
    "mobilenet_v3_small": "256 bilinear",
    "mobilenet_v2": "232 bilinear",
    "inception_v3": "342 to 299 bilinear",
    "efficientnet_b0": "256 bicubic",
    "swin_t": "232 bicubic",
    "efficientnet_b2": "288 to 288 bicubic",
}


def scene(height, width, generator):
    """Smooth areas, edges and noise, as a photograph has."""
    coarse = generator.integers(0, 256, (max(1, height // 16), max(1, width // 16), 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return (smooth + generator.integers(-20, 21, smooth.shape)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("model", PRESETS)
def test_pixels_are_at_most_one_grey_level_from_torchvisions(model):
    transforms = models.get_model_weights(model).DEFAULT.transforms()
    size = transforms.crop_size[0]
    preprocess = ImagePreprocess(size, size, transforms.resize_size[0], transforms.interpolation.value)
    mean, std = (np.array(figures, np.float64) for figures in (transforms.mean, transforms.std))
    generator = np.random.default_rng(0)
    for height, width in CAMERAS + ODD:
        for frame in (scene(height, width, generator), generator.integers(0, 256, (height, width, 3), dtype=np.uint8)):
            normalised = transforms(Image.fromarray(frame)).permute(1, 2, 0).numpy().astype(np.float64)
            reference = (normalised * std + mean) * 255.0
            assert np.abs(preprocess.apply(frame)[0] - reference).max() <= 1.001, (height, width)
