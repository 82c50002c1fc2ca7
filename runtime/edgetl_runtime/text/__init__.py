"""Text as a sample: what a text may be, the tokenizer that a bundle carries, and the tokens of a text."""

from __future__ import annotations

from edgetl_runtime.text.plain import MAX_TEXT_BYTES, checked_text, text_array
from edgetl_runtime.text.tokenizer_file import MAX_TOKENIZER_BYTES, MAX_VOCABULARY, check_tokenizer
from edgetl_runtime.text.tokenizing import Tokens, tokens_of

__all__ = [
    "MAX_TEXT_BYTES",
    "MAX_TOKENIZER_BYTES",
    "MAX_VOCABULARY",
    "Tokens",
    "check_tokenizer",
    "checked_text",
    "text_array",
    "tokens_of",
]
