"""What a text may be, and the array that stands for it where samples are arrays: its bytes of UTF-8."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.errors import SampleError

__all__ = ["MAX_TEXT_BYTES", "checked_text", "text_array"]

MAX_TEXT_BYTES = 65536
# A control character ends no word silently: "on\x00off" are two words, as are two lines.
_CONTROL = dict.fromkeys([*range(32), *range(127, 160)], " ")


def checked_text(sample: Any) -> str:
    """The text of a sample, a str or its UTF-8 (N,) uint8, with control characters and line ends made spaces.

    Raises SampleError when it is no text, not valid Unicode, empty, or above 65,536 bytes of UTF-8.
    """
    if isinstance(sample, np.ndarray) and sample.dtype == np.uint8 and sample.ndim == 1:
        if sample.size > MAX_TEXT_BYTES:
            raise SampleError(f"a text of {sample.size:,} bytes; at most {MAX_TEXT_BYTES:,} are read: cut it")
        try:
            text = sample.tobytes().decode("utf-8")
        except UnicodeDecodeError as error:
            raise SampleError(f"the text is not valid UTF-8: {error}") from error
    elif isinstance(sample, str):
        text = str(sample)
        if len(text) > MAX_TEXT_BYTES:
            raise SampleError(f"a text of {len(text):,} characters; at most {MAX_TEXT_BYTES:,} bytes are read: cut it")
        try:
            size_bytes = len(text.encode("utf-8"))
        except UnicodeEncodeError as error:
            raise SampleError(f"the text is not valid Unicode: {error}") from error
        if size_bytes > MAX_TEXT_BYTES:
            raise SampleError(f"a text of {size_bytes:,} bytes; at most {MAX_TEXT_BYTES:,} are read: cut it")
    else:
        got = f"an array {sample.dtype} {sample.shape}" if isinstance(sample, np.ndarray) else type(sample).__name__
        raise SampleError(f"this bundle takes text: a str, or its UTF-8 as uint8 (N,); got {got}")
    text = text.translate(_CONTROL).strip()
    if not text:
        raise SampleError("the text is empty; nothing can be said of it")
    return text


def text_array(sample: Any) -> NDArray[Any]:
    """A sample as an array (N,): a text as its UTF-8, anything else as NumPy has it."""
    return np.frombuffer(sample.encode("utf-8"), np.uint8) if isinstance(sample, str) else np.asarray(sample)
