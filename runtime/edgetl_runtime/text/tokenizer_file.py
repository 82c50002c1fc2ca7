"""A `tokenizer.json` (Hugging Face tokenizers), read strictly: only parts whose work is bounded by the text's length.

The library that runs it follows whatever the file says: regular expressions that never end, replacements that double
a text thirty times, padding to 2^40. So every part is named here with what it may hold, and the rest is refused.
"""

from __future__ import annotations

import json
from typing import Any, Dict, FrozenSet, List, Mapping

from edgetl_runtime.documents import parse_document
from edgetl_runtime.errors import BundleCorruptError, BundleFormatError

__all__ = ["MAX_TOKENIZER_BYTES", "MAX_VOCABULARY", "check_tokenizer"]

MAX_TOKENIZER_BYTES = 8 << 20
_MAX_CONTAINERS = 1 << 19  # each takes some 64 bytes once read, and 2 in the file
MAX_VOCABULARY = 1 << 20
_MAX_TOKEN = 256
_MAX_ADDED = 4096
_MAX_PARTS = 8
_MAX_TEMPLATE = 16
_MAX_WORD = 1000  # the work on a word grows with its square

# Parts by type, each with the keys that it may have; their values are flags, small numbers and short texts.
_NORMALIZERS = {
    "BertNormalizer": "clean_text handle_chinese_chars strip_accents lowercase",
    "Lowercase": "", "NFC": "", "NFD": "", "NFKC": "", "NFKD": "", "Nmt": "", "StripAccents": "",
    "Strip": "strip_left strip_right", "Prepend": "prepend",
}  # fmt: skip
_PRE_TOKENIZERS = {
    "BertPreTokenizer": "", "Whitespace": "", "WhitespaceSplit": "", "Digits": "individual_digits",
    "ByteLevel": "add_prefix_space trim_offsets use_regex", "Punctuation": "behavior",
    "Metaspace": "replacement prepend_scheme split add_prefix_space str_rep",
}  # fmt: skip
_POST_PROCESSORS = {
    "TemplateProcessing": "single pair special_tokens", "BertProcessing": "sep cls",
    "RobertaProcessing": "sep cls trim_offsets add_prefix_space",
    "ByteLevel": "add_prefix_space trim_offsets use_regex",
}  # fmt: skip
_MODELS = {
    "WordPiece": "unk_token continuing_subword_prefix max_input_chars_per_word vocab",
    "WordLevel": "vocab unk_token",
    "BPE": "dropout unk_token continuing_subword_prefix end_of_word_suffix fuse_unk byte_fallback ignore_merges"
    " vocab merges",
    "Unigram": "unk_id vocab byte_fallback",
}
_LISTS = {"normalizer": "normalizers", "pre_tokenizer": "pretokenizers", "post_processor": "processors"}
_TOP = frozenset(
    ["version", "truncation", "padding", "added_tokens", "decoder", "model", *_LISTS]
)
_ADDED = frozenset(["id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"])


def check_tokenizer(data: bytes, vocabulary: int) -> str:
    """The same tokenizer as JSON that was written here, after every part of it was checked.

    Its ids are below `vocabulary`, V. Raises BundleCorruptError (not JSON) or BundleFormatError (a part that is not
    known here, or beyond its limit).
    """
    if len(data) > MAX_TOKENIZER_BYTES:
        raise BundleFormatError(f"tokenizer.json has {len(data):,} bytes; at most {MAX_TOKENIZER_BYTES:,} are read")
    if data.count(b"[") + data.count(b"{") > _MAX_CONTAINERS:
        raise BundleFormatError(f"tokenizer.json holds more than {_MAX_CONTAINERS:,} lists and tables; none needs that")
    try:
        document = parse_document(data)
        # What is checked is what runs: the library does not get to see the bytes of the file.
        text = json.dumps(document, ensure_ascii=False)
        text.encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise BundleCorruptError(f"tokenizer.json cannot be read: {error}; build the bundle again") from error
    top = _table(document, "it", _TOP)
    if any(top.get(key) is not None for key in ("truncation", "padding", "decoder")):
        raise _refused("truncation, padding and decoder must be null: the bundle says how long a text is")
    for part, known in (
        ("normalizer", _NORMALIZERS), ("pre_tokenizer", _PRE_TOKENIZERS), ("post_processor", _POST_PROCESSORS),
    ):  # fmt: skip
        if top.get(part) is not None:
            _check_part(top[part], part, known, vocabulary)
    _check_model(_of_type(top.get("model"), "model", _MODELS), vocabulary)
    for token in _listed(top.get("added_tokens") or [], "added_tokens", _MAX_ADDED):
        added = _table(token, "added_tokens", _ADDED)
        _id(added.get("id"), vocabulary)
        _short_text(added.get("content"), "added_tokens")
        _plain({key: value for key, value in added.items() if key not in ("id", "content")}, "added_tokens")
    return text


def _check_part(value: Any, where: str, known: Mapping[str, str], vocabulary: int) -> None:
    if isinstance(value, dict) and value.get("type") == "Sequence":
        table = _table(value, where, frozenset(("type", _LISTS[where])))
        parts = _listed(table.get(_LISTS[where]), where, _MAX_PARTS)
    else:
        parts = [value]
    for part in parts:
        table = _of_type(part, where, known)
        if table["type"] == "TemplateProcessing":
            _check_template(table, vocabulary)
        elif where == "post_processor":
            for key in ("sep", "cls"):
                pair = table.pop(key, None)
                if pair is not None:
                    text, number = _pair(pair, key)
                    _short_text(text, key)
                    _id(number, vocabulary)
            _plain(table, where)
        else:
            _plain(table, where)


def _check_template(table: Dict[str, Any], vocabulary: int) -> None:
    where = "post_processor"
    for key in ("single", "pair"):
        for piece in _listed(table.get(key), where, _MAX_TEMPLATE):
            for inner in _table(piece, where, frozenset(("SpecialToken", "Sequence"))).values():
                _plain(_table(inner, where, frozenset(("id", "type_id"))), where)
    specials = table.get("special_tokens")
    if not isinstance(specials, dict) or len(specials) > _MAX_TEMPLATE:
        raise _refused(f"{where} has special_tokens that are no table of at most {_MAX_TEMPLATE}")
    for name, special in specials.items():
        _short_text(name, where)
        told = _table(special, where, frozenset(("id", "ids", "tokens")))
        _short_text(told.get("id"), where)
        for number in _listed(told.get("ids"), where, _MAX_TEMPLATE):
            _id(number, vocabulary)
        for token in _listed(told.get("tokens"), where, _MAX_TEMPLATE):
            _short_text(token, where)


def _check_model(table: Dict[str, Any], vocabulary: int) -> None:
    vocab, merges = table.pop("vocab", None), table.pop("merges", [])
    if table["type"] == "Unigram":
        for entry in _listed(vocab, "model", vocabulary):
            token, score = _pair(entry, "model")
            _short_text(token, "model")
            if type(score) not in (int, float):
                raise _refused("model has a token whose score is no number")
        unknown = table.pop("unk_id", None)
        if unknown is not None:
            _id(unknown, len(vocab))
    else:
        if not isinstance(vocab, dict) or len(vocab) > vocabulary:
            raise _refused(f"model has no table of at most {vocabulary} tokens")
        for token, number in vocab.items():
            _short_text(token, "model")
            _id(number, vocabulary)
    if table.get("dropout") is not None:
        raise _refused("model drops merges at random (dropout)")
    longest = table.pop("max_input_chars_per_word", 100)
    if type(longest) is not int or not 0 < longest <= _MAX_WORD:
        raise _refused(f"max_input_chars_per_word must be 1..{_MAX_WORD}")
    for merge in _listed(merges, "model", MAX_VOCABULARY):
        halves = merge.split(" ") if isinstance(merge, str) else merge
        for half in _pair(halves, "model"):
            _short_text(half, "model")
    _plain(table, "model")


def _of_type(value: Any, where: str, known: Mapping[str, str]) -> Dict[str, Any]:
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in known:
        raise _refused(f"{where} is {str(kind)[:60]!r}; this edgetl-runtime knows {', '.join(sorted(known))}")
    return _table(value, f"{where} {kind}", frozenset(["type", *known[kind].split()]))


def _table(value: Any, where: str, keys: FrozenSet[str]) -> Dict[str, Any]:
    if not isinstance(value, dict):
        raise _refused(f"{where} is no table")
    if not set(value) <= keys:
        raise _refused(f"{where} has the keys {sorted(set(value) - keys)[:4]}, which are not known here")
    return dict(value)


def _listed(value: Any, where: str, most: int) -> List[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise _refused(f"{where} has no list of at most {most}")
    return value


def _pair(value: Any, where: str) -> List[Any]:
    if not isinstance(value, list) or len(value) != 2:
        raise _refused(f"{where} has an entry that is no pair")
    return value


def _plain(table: Mapping[str, Any], where: str) -> None:
    """Only flags, nothing, small numbers and short texts are left."""
    for key, value in table.items():
        small = type(value) is int and 0 <= value <= _MAX_WORD
        if not (value is None or type(value) is bool or small or (isinstance(value, str) and len(value) <= 64)):
            raise _refused(f"{where}: {key!r} is {str(value)[:60]!r}")


def _short_text(value: Any, where: str) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_TOKEN:
        raise _refused(f"{where} has a token that is no text of 1..{_MAX_TOKEN} characters")


def _id(value: Any, vocabulary: int) -> None:
    if type(value) is not int or not 0 <= value < vocabulary:
        raise _refused(f"a token has the id {str(value)[:20]}; ids are 0..{vocabulary - 1}")


def _refused(why: str) -> BundleFormatError:
    return BundleFormatError(f"tokenizer.json: {why}; use a tokenizer without it, or a newer edgetl-runtime")
