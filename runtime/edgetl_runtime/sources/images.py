"""Pictures in files: read safely, turned upright, as the frames that a camera would give."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import List, Optional, Tuple, Union

import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from edgetl_runtime.errors import SourceError

__all__ = ["IMAGE_SUFFIXES", "MAX_PIXELS", "decode_image", "image_paths", "image_size", "read_image"]

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
# Only these decoders are ever started: Pillow also knows formats that run other programs (EPS). They are
# imported here because Pillow otherwise loads all of its forty on the first file.
_DECODERS = (
    BmpImagePlugin.BmpImageFile,
    JpegImagePlugin.JpegImageFile,
    PngImagePlugin.PngImageFile,
    PpmImagePlugin.PpmImageFile,
    TiffImagePlugin.TiffImageFile,
    WebPImagePlugin.WebPImageFile,
)
_FORMATS = tuple(str(decoder.format) for decoder in _DECODERS)
# The largest phone photographs have 50 million pixels, 150 MB once decoded.
MAX_PIXELS = 64_000_000

_Path = Union[str, "os.PathLike[str]"]


def image_paths(folder: _Path) -> List[Path]:
    """All pictures below `folder`, by suffix, sorted by path; hidden files and folders are left out.

    Raises SourceError when there is no such folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise SourceError(f"no such folder: {root}" + ("; it is a file" if root.exists() else ""))
    found: List[Path] = []
    for directory, folders, files in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(directory, name)
            for name in files
            if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")
        ]
    return sorted(found)


def image_size(path: _Path, max_pixels: int = MAX_PIXELS) -> Tuple[int, int]:
    """(height, width) in pixels as stored, from the header alone; raises SourceError as `read_image` does."""
    with _opened(path, max_pixels) as image:
        return image.size[1], image.size[0]


def read_image(path: _Path, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Frame (H, W, 3) uint8 in RGB order, turned as its EXIF orientation says; alpha is dropped.

    Of a file with several pictures the first is read; 16 bits a channel become 8. Raises SourceError when
    there is no file, when it is no picture of a known kind or is truncated, and when it would decode to
    more than `max_pixels` pixels (known from the header, before any pixel is decoded).
    """
    return _frame(path, max_pixels)


def decode_image(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Frame (H, W, 3) uint8 of the bytes of a picture's file, as `read_image` gives it; `name` is for errors."""
    return _frame(name, max_pixels, data)


def _frame(path: _Path, max_pixels: int, data: Optional[bytes] = None) -> NDArray[np.uint8]:
    with _opened(path, max_pixels, data) as image:
        try:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            elif upright.mode == "F":
                raise SourceError(f"{path} holds floating-point pixels; store it with 8 or 16 bits a channel")
            frame: NDArray[np.uint8] = np.asarray(upright.convert("RGB"))
        except SourceError:
            raise
        # Decoders raise nearly anything on damaged bytes: OSError, SyntaxError, struct.error, ValueError...
        except Exception as error:
            raise SourceError(f"{path} is damaged: {error}; copy it again, or remove it") from error
    return frame


def _opened(path: _Path, max_pixels: int, data: Optional[bytes] = None) -> Image.Image:
    try:
        image = Image.open(path if data is None else io.BytesIO(data), formats=_FORMATS)
    except FileNotFoundError as error:
        raise SourceError(f"no such file: {path}") from error
    except Image.DecompressionBombError as error:
        raise SourceError(f"{path} is too large: {error}") from error
    except UnidentifiedImageError as error:
        raise SourceError(f"{path} is not a picture in a known format ({', '.join(_FORMATS)})") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error
    if image.size[0] * image.size[1] > max_pixels:
        width, height = image.size
        image.close()
        raise SourceError(
            f"{path} is too large: {width} x {height} pixels, at most {max_pixels:,}; scale it down"
        )
    return image
