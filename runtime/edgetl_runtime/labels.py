"""What a label may be, and the one order in which classes stand everywhere."""

from __future__ import annotations

import json
import math
import unicodedata
from typing import Any, Iterable, List, Sequence, Tuple, Union

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.errors import LabelError
from edgetl_runtime.types import Label

__all__ = [
    "MAX_LABEL_BYTES",
    "MAX_LABEL_CHARACTERS",
    "checked_label",
    "checked_labels",
    "label_array",
    "ordered_labels",
    "parsed_targets",
    "plain_text",
    "targets_text",
]

MAX_LABEL_CHARACTERS = 256
MAX_LABEL_BYTES = 256  # of what a device stores, so never more characters than that
# Control characters, ends of lines and paragraphs; and what shows the rest of a text in another order than it has.
_OBEYED = ("Cc", "Zl", "Zp")
_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def checked_label(label: Any) -> Label:
    """The label as a Python str or int; raises LabelError when it is empty, too long or of another type."""
    if isinstance(label, str):
        if not label.strip():
            raise LabelError("a label is empty; give the class a name")
        if len(label) > MAX_LABEL_CHARACTERS:
            raise LabelError(f"a label has {len(label)} characters; {MAX_LABEL_CHARACTERS} are allowed")
        return str(label)
    if isinstance(label, (int, np.integer)) and not isinstance(label, (bool, np.bool_)):
        number = int(label)
        if not -(2**63) <= number < 2**63:
            raise LabelError(f"the label {number} does not fit in 64 bits")
        return number
    raise LabelError(f"a label must be a str or an int; got {type(label).__name__}: {str(label)[:80]!r}")


def checked_labels(labels: Union[Sequence[Any], NDArray[Any]], count: int) -> List[Label]:
    """Exactly `count` checked labels; raises LabelError."""
    if isinstance(labels, (str, bytes)) or not hasattr(labels, "__len__"):
        raise LabelError(f"labels must be a sequence, one for each of {count} samples; got {type(labels).__name__}")
    if len(labels) != count or getattr(labels, "ndim", 1) != 1:
        raise LabelError(f"labels must be one for each of {count} samples; got {np.shape(labels)}")
    return [checked_label(label) for label in labels]


def ordered_labels(labels: Iterable[Label]) -> Tuple[Label, ...]:
    """The distinct labels in the order that every record here uses: integers by size, then strings."""
    return tuple(sorted(set(labels), key=lambda label: (isinstance(label, str), label)))


def label_array(labels: Sequence[Label]) -> NDArray[Any]:
    """Labels (K) as an array of integers or strings when they are all one, else of objects."""
    if labels and all(isinstance(label, int) for label in labels):
        return np.array(labels, dtype=np.int64)
    if labels and all(isinstance(label, str) for label in labels):
        return np.array(labels)
    mixed = np.empty(len(labels), dtype=object)
    mixed[:] = labels
    return mixed


def plain_text(text: Any, what: str = "label") -> str:
    """The one spelling under which a label, or a source, is stored: NFC, without spaces at its ends.

    `what` names it in errors. Raises LabelError when it is no text, is empty, takes more than
    `MAX_LABEL_BYTES` bytes of UTF-8 or holds control characters.
    """
    if not isinstance(text, str):
        raise LabelError(f"a {what} must be text; got {type(text).__name__} {str(text)[:60]!r}")
    name = unicodedata.normalize("NFC", text).strip()
    if not name:
        raise LabelError(f"the {what} is empty; give it a name")
    try:
        size_bytes = len(name.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise LabelError(f"the {what} {name[:60]!r} is not valid text: {error}") from error
    if size_bytes > MAX_LABEL_BYTES:
        raise LabelError(f"the {what} has {size_bytes} bytes, at most {MAX_LABEL_BYTES} are kept: {name[:40]!r}...")
    if any(unicodedata.category(character) in _OBEYED or character in _TURNS for character in name):
        raise LabelError(f"the {what} holds control characters (a tab, a line end): {name[:60]!a}")
    return name


def targets_text(values: Sequence[float]) -> str:
    """The one spelling under which the targets (Q) of a sample are stored in place of a label: every digit of them."""
    return json.dumps([float(value) for value in values], allow_nan=False)


def parsed_targets(text: str, count: int) -> Tuple[float, ...]:
    """The targets (Q = `count`) of `targets_text`; raises LabelError on anything else."""
    try:
        values = json.loads(text)
        if type(values) is list and len(values) == count and all(type(v) is float and math.isfinite(v) for v in values):
            return tuple(values)
    except (ValueError, RecursionError):
        pass
    raise LabelError(f"a sample must have {count} numbers as its targets; got {text[:80]!r}")
