"""From a sensor sample to the input tensor of the extractor: one implementation, on host and device.

Images are resized by Pillow's antialiased `resize(box=...)`: resizing and centre crop in one pass, which
gives the pixels of torchvision's `Resize` + `CenterCrop` on PIL images to within one grey level (the box
is computed with torchvision's own integer rounding). Layout and normalisation are inside the graph.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Tuple, Union

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgetl_runtime.errors import SampleError
from edgetl_runtime.types import TensorSpec

__all__ = ["ArrayPreprocess", "ImagePreprocess", "Preprocess", "parse_preprocess"]

# Filter and its support in source pixels at scale 1 (Pillow, libImaging/Resample.c).
_FILTERS = {"nearest": (0, 0.5), "bilinear": (2, 1.0), "bicubic": (3, 2.0), "lanczos": (1, 3.0)}
_CHANNELS = {"L": 1, "RGB": 3, "BGR": 3}
MAX_SIDE = 16384


@dataclass(frozen=True)
class ImagePreprocess:
    """Frame (H, W, C) uint8 in RGB order, or (H, W) grey -> tensor (1, height, width, channels) uint8.

    `resize` is the length of the shorter side before the centre crop to (height, width); None stretches
    the whole frame to (height, width). `channels` is what the network wants: "RGB", "BGR" or "L".
    """

    height: int
    width: int
    resize: Optional[int] = None
    interpolation: str = "bilinear"
    channels: str = "RGB"

    def __post_init__(self) -> None:
        if self.interpolation not in _FILTERS:
            raise ValueError(f"interpolation must be one of {sorted(_FILTERS)}, got {self.interpolation!r}")
        if self.channels not in _CHANNELS:
            raise ValueError(f"channels must be one of {sorted(_CHANNELS)}, got {self.channels!r}")
        if not (0 < self.height <= MAX_SIDE and 0 < self.width <= MAX_SIDE):
            raise ValueError(f"height and width must be 1..{MAX_SIDE}, got {self.height} x {self.width}")
        if self.resize is not None and not max(self.height, self.width) <= self.resize <= MAX_SIDE:
            raise ValueError(
                f"resize is the shorter side before the crop, so at least {max(self.height, self.width)}"
                f" and at most {MAX_SIDE}; got {self.resize}"
            )

    @property
    def input(self) -> TensorSpec:
        """The tensor that `apply` returns."""
        return TensorSpec("image", "uint8", (1, self.height, self.width, _CHANNELS[self.channels]))

    def to_json(self) -> Dict[str, Any]:
        """The declaration as it stands in the manifest."""
        return {
            "kind": "image",
            "height": self.height,
            "width": self.width,
            "resize": self.resize,
            "interpolation": self.interpolation,
            "channels": self.channels,
        }

    def apply(self, sample: Any) -> NDArray[np.uint8]:
        """Tensor (1, height, width, channels) uint8 of one frame; raises SampleError. Never keeps the frame."""
        frame = _checked_frame(sample)
        left, top, right, bottom = self._box(frame.shape[1], frame.shape[0])
        code, support = _FILTERS[self.interpolation]
        # Only the pixels under the filter are handed to Pillow, whose copy of a frame is not free.
        margin_x = math.ceil(support * max(1.0, (right - left) / self.width)) + 2
        margin_y = math.ceil(support * max(1.0, (bottom - top) / self.height)) + 2
        x0, y0 = max(0, int(left) - margin_x), max(0, int(top) - margin_y)
        x1 = min(frame.shape[1], math.ceil(right) + margin_x)
        y1 = min(frame.shape[0], math.ceil(bottom) + margin_y)
        image = _to_image(frame[y0:y1, x0:x1], grey=self.channels == "L")
        box = (left - x0, top - y0, min(right - x0, x1 - x0), min(bottom - y0, y1 - y0))
        if box != (0, 0, self.width, self.height) or image.size != (self.width, self.height):
            image = image.resize((self.width, self.height), code, box=box)
        pixels: NDArray[np.uint8] = np.asarray(image)
        if self.channels == "L":
            return pixels[None, :, :, None]
        if image.mode == "L":
            return np.repeat(pixels[None, :, :, None], 3, axis=3)
        if self.channels == "BGR":
            return np.ascontiguousarray(pixels[None, :, :, ::-1])
        return pixels[None]

    def _box(self, width: int, height: int) -> Tuple[float, float, float, float]:
        """The part (left, top, right, bottom) of a frame, in its pixels, that ends up in the tensor."""
        if self.resize is None:
            return 0.0, 0.0, float(width), float(height)
        if width <= height:
            new_width, new_height = self.resize, int(self.resize * height / width)
        else:
            new_width, new_height = int(self.resize * width / height), self.resize
        left = round((new_width - self.width) / 2.0)
        top = round((new_height - self.height) / 2.0)
        scale_x, scale_y = width / new_width, height / new_height
        return (
            left * scale_x,
            top * scale_y,
            min((left + self.width) * scale_x, float(width)),
            min((top + self.height) * scale_y, float(height)),
        )


@dataclass(frozen=True)
class ArrayPreprocess:
    """Sample of exactly `shape` (numbers, finite) -> tensor (1, *shape) float32: windows, spectra, raw vectors."""

    shape: Tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.shape or not all(0 < side <= MAX_SIDE for side in self.shape):
            raise ValueError(f"shape must be sides of 1..{MAX_SIDE}, got {self.shape}")

    @property
    def input(self) -> TensorSpec:
        """The tensor that `apply` returns."""
        return TensorSpec("array", "float32", (1, *self.shape))

    def to_json(self) -> Dict[str, Any]:
        """The declaration as it stands in the manifest."""
        return {"kind": "array", "shape": list(self.shape)}

    def apply(self, sample: Any) -> NDArray[np.float32]:
        """Tensor (1, *shape) float32 of one sample; raises SampleError on another shape, dtype, NaN or inf."""
        array = _as_array(sample)
        if array.dtype.kind not in "fiu":
            raise SampleError(f"a sample must hold numbers; got dtype {array.dtype}")
        if array.shape != self.shape:
            raise SampleError(f"a sample must have shape {self.shape}; got {array.shape}")
        with np.errstate(over="ignore"):
            tensor = np.array(array, dtype=np.float32)[None]
        if not np.isfinite(tensor).all():
            raise SampleError("the sample holds NaN or infinite values; check the sensor, nothing was learnt from it")
        return tensor


Preprocess = Union[ImagePreprocess, ArrayPreprocess]


def parse_preprocess(declared: Mapping[str, Any]) -> Preprocess:
    """The record for a declaration of `to_json`; raises ValueError on an unknown kind, key or value."""
    fields = dict(declared)
    kind = fields.pop("kind", None)
    if kind == "image":
        if set(fields) != {"height", "width", "resize", "interpolation", "channels"}:
            raise ValueError(f"an image preprocess does not have exactly the keys it should: {sorted(fields)}")
        for key in ("height", "width"):
            if type(fields[key]) is not int:
                raise ValueError(f"{key} must be an integer, got {fields[key]!r}")
        if fields["resize"] is not None and type(fields["resize"]) is not int:
            raise ValueError(f"resize must be an integer or null, got {fields['resize']!r}")
        return ImagePreprocess(**fields)
    if kind == "array":
        shape = fields.pop("shape", None)
        if fields or not isinstance(shape, list) or any(type(side) is not int for side in shape):
            raise ValueError(f"an array preprocess has one key, a list `shape`; got {dict(declared)!r}")
        return ArrayPreprocess(tuple(shape))
    raise ValueError(f"preprocess kind must be 'image' or 'array', got {kind!r}")


def _as_array(sample: Any) -> NDArray[Any]:
    if sample is None:
        raise SampleError("the sample is None: the camera or sensor gave no frame")
    try:
        return np.asarray(sample)
    except (TypeError, ValueError) as error:
        raise SampleError(f"a sample must be one array; got {type(sample).__name__}: {error}") from error


def _checked_frame(sample: Any) -> NDArray[np.uint8]:
    frame = _as_array(sample)
    if frame.dtype != np.uint8:
        hint = "; a float image in 0..1 becomes one by (frame * 255).round().astype('uint8')"
        raise SampleError(f"a frame must have dtype uint8; got {frame.dtype}{hint if frame.dtype.kind == 'f' else ''}")
    if frame.ndim == 3 and frame.shape[2] == 1:
        frame = frame[:, :, 0]
    if not (frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] == 3)):
        raise SampleError(f"a frame must have shape (H, W, 3) in RGB order, or (H, W); got {frame.shape}")
    if not (0 < frame.shape[0] <= MAX_SIDE and 0 < frame.shape[1] <= MAX_SIDE):
        raise SampleError(f"a frame must have sides of 1..{MAX_SIDE} pixels; got {frame.shape[:2]}")
    return frame


def _to_image(frame: NDArray[np.uint8], grey: bool) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(frame))
    return image.convert("L") if grey and image.mode != "L" else image
