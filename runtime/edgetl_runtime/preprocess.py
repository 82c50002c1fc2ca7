"""From a sensor sample to the input tensor of the extractor: one implementation, on host and device.

Images are resized by Pillow's antialiased `resize(box=...)`: resizing and centre crop in one pass, which
gives the pixels of torchvision's `Resize` + `CenterCrop` on PIL images to within one grey level: the box
follows torchvision's own integer rounding, and is chosen so that Pillow, which keeps it in single
precision, loses nothing by it where that is cheap. Layout and normalisation are inside the graph.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple, Union

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgetl_runtime.errors import SampleError
from edgetl_runtime.text import MAX_VOCABULARY, Tokens, tokens_of
from edgetl_runtime.types import TensorSpec
from edgetl_runtime.windows import WindowSpec, parse_window

__all__ = ["ArrayPreprocess", "ImagePreprocess", "Preprocess", "TextPreprocess", "parse_preprocess"]

# Filter and its support in source pixels at scale 1 (Pillow, libImaging/Resample.c).
_FILTERS = {"nearest": (0, 0.5), "bilinear": (2, 1.0), "bicubic": (3, 2.0), "lanczos": (1, 3.0)}
_CHANNELS = {"L": 1, "RGB": 3, "BGR": 3}
MAX_SIDE = 16384
MAX_VALUES = 2**26
MAX_TOKENS = 4096
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_SEARCH = 3


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
        height, width = frame.shape[:2]
        new_width, new_height = self._resized(width, height)
        code, support = _FILTERS[self.interpolation]
        x = _axis(width, new_width, self.width, support)
        y = _axis(height, new_height, self.height, support)
        image = _to_image(frame[y.first : y.last, x.first : x.last], grey=self.channels == "L")
        # Two calls, because in one Pillow 13 takes the vertical pass first where that is less work, Pillow 12
        # never does, and a device must see what the host saw. A pass that changes nothing is skipped by Pillow.
        image = image.resize((x.made, image.height), code, box=(x.low, 0, x.high, image.height))
        image = image.resize((x.made, y.made), code, box=(0, y.low, x.made, y.high))
        pixels: NDArray[np.uint8] = np.asarray(image)
        pixels = pixels[y.skip : y.skip + self.height, x.skip : x.skip + self.width]
        if self.channels == "L":
            return np.ascontiguousarray(pixels)[None, :, :, None]
        if image.mode == "L":
            return np.repeat(pixels[None, :, :, None], 3, axis=3)
        if self.channels == "BGR":
            pixels = pixels[:, :, ::-1]
        return np.ascontiguousarray(pixels)[None]

    def _resized(self, width: int, height: int) -> Tuple[int, int]:
        """Width and height of the whole frame after resizing, before the crop; torchvision's rounding."""
        if self.resize is None:
            return self.width, self.height
        if width <= height:
            return self.resize, int(self.resize * height / width)
        return int(self.resize * width / height), self.resize


@dataclass(frozen=True)
class ArrayPreprocess:
    """Sample of exactly `shape` (numbers, finite) -> tensor (1, *shape) float32: windows, spectra, raw vectors.

    `window` says how a stream is cut into such samples (T, C).
    """

    shape: Tuple[int, ...]
    window: Optional[WindowSpec] = None

    def __post_init__(self) -> None:
        if not self.shape or not all(0 < side <= MAX_SIDE for side in self.shape):
            raise ValueError(f"shape must be sides of 1..{MAX_SIDE}, got {self.shape}")
        if math.prod(self.shape) > MAX_VALUES:
            raise ValueError(f"a sample may hold at most {MAX_VALUES} values, got {self.shape}")
        if self.window is not None:
            columns = (len(self.window.channels),) if self.window.channels else self.shape[1:2]
            if self.shape != (self.window.length, *columns):
                raise ValueError(f"windows of {self.window.length} steps do not have the shape {self.shape}")

    @property
    def input(self) -> TensorSpec:
        """The tensor that `apply` returns."""
        return TensorSpec("array", "float32", (1, *self.shape))

    def to_json(self) -> Dict[str, Any]:
        """The declaration as it stands in the manifest."""
        declared: Dict[str, Any] = {"kind": "array", "shape": list(self.shape)}
        return declared if self.window is None else {**declared, "window": self.window.to_json()}

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


@dataclass(frozen=True)
class TextPreprocess:
    """Text, a str or its UTF-8 (N,) uint8 -> tensor (1, T = `length`) float32: token ids, and -1 after the last.

    Ids are below `vocabulary` and so exact as float32, which every engine takes. `tokenizer` is the sha256 of the
    `tokenizer.json` whose bytes are `content`; a manifest holds the hash alone. Tokens beyond T are left out.
    """

    length: int
    vocabulary: int
    tokenizer: str
    content: bytes = field(default=b"", repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 8 <= self.length <= MAX_TOKENS or not 0 < self.vocabulary <= MAX_VOCABULARY:
            raise ValueError(
                f"a text has 8..{MAX_TOKENS} tokens of a vocabulary of 1..{MAX_VOCABULARY}; got {self.length} of"
                f" {self.vocabulary}"
            )
        if not _SHA256.match(self.tokenizer):
            raise ValueError(f"tokenizer is the sha256 of a tokenizer.json, got {self.tokenizer[:80]!r}")

    @property
    def input(self) -> TensorSpec:
        """The tensor that `apply` returns."""
        return TensorSpec("text", "float32", (1, self.length))

    def to_json(self) -> Dict[str, Any]:
        """The declaration as it stands in the manifest."""
        return {
            "kind": "text", "length": self.length, "vocabulary": self.vocabulary, "tokenizer": self.tokenizer,
        }  # fmt: skip

    def apply(self, sample: Any) -> NDArray[np.float32]:
        """Tensor (1, T) float32 of one text; raises SampleError, and as `prepare`."""
        ids = self.prepare().ids(sample)
        tensor = np.full((1, self.length), -1.0, np.float32)
        tensor[0, : len(ids)] = ids
        return tensor

    def prepare(self) -> Tokens:
        """The tokenizer itself; raises BundleError when it is refused, EngineUnavailableError without its package."""
        return tokens_of(self.content, self.vocabulary, self.length)


Preprocess = Union[ImagePreprocess, ArrayPreprocess, TextPreprocess]


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
        for key in ("interpolation", "channels"):
            if type(fields[key]) is not str:
                raise ValueError(f"{key} must be a string, got {fields[key]!r}")
        return ImagePreprocess(**fields)
    if kind == "array":
        shape, window = fields.pop("shape", None), fields.pop("window", None)
        if window is not None and not isinstance(window, dict):
            raise ValueError(f"the window of an array preprocess must be a table; got {window!r}")
        if fields or not isinstance(shape, list) or any(type(side) is not int for side in shape):
            raise ValueError(f"an array preprocess has a list `shape` and maybe a `window`; got {dict(declared)!r}")
        return ArrayPreprocess(tuple(shape), parse_window(window) if window is not None else None)
    if kind == "text":
        if set(fields) != {"length", "vocabulary", "tokenizer"}:
            raise ValueError(f"a text preprocess does not have exactly the keys it should: {sorted(fields)}")
        if type(fields["length"]) is not int or type(fields["vocabulary"]) is not int:
            raise ValueError("length and vocabulary of a text preprocess must be integers")
        if type(fields["tokenizer"]) is not str:
            raise ValueError(f"tokenizer must be a string, got {fields['tokenizer']!r}")
        return TextPreprocess(**fields)
    raise ValueError(f"preprocess kind must be 'image', 'array' or 'text', got {kind!r}")


class _Axis(NamedTuple):
    """One axis of a resize: source pixels first..last, of which low..high become `made`; `skip` are cropped off."""

    first: int
    last: int
    low: float
    high: float
    made: int
    skip: int


def _axis(length: int, new: int, out: int, support: float) -> _Axis:
    """How to make the middle `out` of `new` pixels that `length` source pixels are resized to.

    Pillow keeps the box in single precision: an edge that is off by 1e-5 pixels moves sums that fall on a tie
    to the other side, and where that happens along both axes a pixel ends two grey levels off. Edges at a
    multiple of the step after which source and result meet again are whole numbers, thus exact; so a few
    pixels more than needed are made and cut off. That is cheap along the shorter side, of which a crop keeps
    most, and exactness along one axis is enough for one grey level. With the negative lobes of bicubic it is
    not quite, where there are ties along the other axis too: a small frame that is enlarged is made exact along
    both. Elsewhere the edges nearby with the least error are taken.
    """
    start = round((new - out) / 2.0)
    stop = start + out
    step = new // math.gcd(length, new)
    step //= step & -step  # halves, quarters, ... are exact too
    low, high = start // step * step, min(new, -(-stop // step) * step)
    if high - low > (MAX_SIDE if new > length else 1.15 * out):
        low = min(range(max(0, start - _SEARCH), start + 1), key=lambda edge: _rounding(edge, length, new))
        high = min(range(stop, min(new, stop + _SEARCH) + 1), key=lambda edge: _rounding(edge, length, new))
    margin = math.ceil(support * max(1.0, length / new)) + 2
    # Only the pixels under the filter are handed to Pillow, whose copy of a frame is not free.
    first = max(0, low * length // new - margin)
    last = min(length, -(-high * length // new) + margin)
    return _Axis(first, last, low * length / new - first, high * length / new - first, high - low, start - low)


def _rounding(edge: int, length: int, new: int) -> float:
    position = edge * length / new
    return abs(float(np.float32(position)) - position)


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
