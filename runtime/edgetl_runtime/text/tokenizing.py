"""The tokens of a text, by the package `tokenizers` (Hugging Face): the only file that imports it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Callable, List

from edgetl_runtime.errors import BundleFormatError, EngineUnavailableError, SampleError
from edgetl_runtime.text.plain import checked_text
from edgetl_runtime.text.tokenizer_file import check_tokenizer

__all__ = ["Tokens", "tokens_of"]


class Tokens:
    """The token ids of texts, at most `length` (T) of them each; what goes beyond is left out. Safe to share."""

    def __init__(self, tokenizer: Any, length: int) -> None:
        self._tokenizer = tokenizer
        self._length = length

    def ids(self, sample: Any) -> List[int]:
        """Ids (at most T) of one text, those that the encoder wants around it included; raises SampleError."""
        text = checked_text(sample)
        encoded = _guarded(lambda: self._tokenizer.encode(text), SampleError, "the tokenizer cannot read this text")
        ids: List[int] = encoded.ids
        if len(ids) > self._length:
            raise SampleError(f"the tokenizer gave {len(ids)} tokens, {self._length} are taken; build the bundle again")
        if all(encoded.special_tokens_mask):
            raise SampleError("the text holds no word, only signs that the tokenizer leaves out")
        return ids


@lru_cache(maxsize=4)
def tokens_of(data: bytes, vocabulary: int, length: int) -> Tokens:
    """The tokenizer of a `tokenizer.json` whose ids are below `vocabulary`.

    Raises BundleError when it is refused, EngineUnavailableError when the package `tokenizers` is not installed.
    """
    text = check_tokenizer(data, vocabulary)
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise EngineUnavailableError(
            f"this bundle takes text, which needs the package tokenizers ({error}): pip install 'edgetl-runtime[text]'"
        ) from error
    what = "tokenizer.json is refused by the package tokenizers"
    tokenizer = _guarded(lambda: Tokenizer.from_str(text), BundleFormatError, what)
    _guarded(lambda: tokenizer.enable_truncation(length), BundleFormatError, what)
    # "[SEP]" in what somebody says is five signs, not the end of a sentence.
    tokenizer.encode_special_tokens = True
    _guarded(lambda: tokenizer.encode("a"), BundleFormatError, what)
    return Tokens(tokenizer, length)


def _guarded(action: Callable[[], Any], kind: Any, what: str) -> Any:
    """The result of a call into the library; whatever it raises, a Rust panic too, as an error of ours."""
    try:
        return action()
    except Exception as error:
        raise kind(f"{what}: {error}") from error
    except BaseException as error:  # pyo3's PanicException is none of Python's, and cannot be imported
        if type(error).__name__ != "PanicException":
            raise
        raise kind(f"{what}: {error}") from error
