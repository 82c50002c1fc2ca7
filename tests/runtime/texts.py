"""A tiny bundle of text, made by hand without torch or onnx: a tokenizer of 40 words and a mean of word vectors."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
from edgetl_runtime.bundle import write_bundle
from edgetl_runtime.bundle.members import GoldenSamples, GuardSet, HeadMember
from edgetl_runtime.engines import open_engine
from edgetl_runtime.heads import fit_head
from edgetl_runtime.preprocess import TextPreprocess
from edgetl_runtime.statistics import Statistics
from edgetl_runtime.text import text_array
from edgetl_runtime.types import TensorSpec
from numpy.typing import NDArray

from tests.runtime import golden
from tests.runtime.engines.test_graph import field, tensor

SAID = (
    "turn on off the a light lights lamp kitchen hall set volume up down music louder quieter play stop next song"
    " please in room bed make it brighter dim switch mute all now my radio warm cold heating degrees"
)
WORDS = SAID.split()
LENGTH, DIM, SPACE = 16, 12, "7e" * 32
TEXTS: List[Tuple[str, str]] = [
    ("turn on the light", "lights"), ("switch off the lamp", "lights"), ("dim the lights in the hall", "lights"),
    ("make the kitchen light brighter", "lights"), ("play the next song", "music"), ("volume up please", "music"),
    ("make the music quieter", "music"), ("stop the radio now", "music"),
]  # fmt: skip


def tokenizer(**changes: Any) -> Dict[str, Any]:
    """The document of a `tokenizer.json` in the manner of BERT, with other parts where `changes` says so."""
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, "##s"])}

    def special(name: str) -> Dict[str, Any]:
        return {"id": name, "ids": [vocabulary[name]], "tokens": [name]}

    template = [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0", "truncation": None, "padding": None, "decoder": None,
        "added_tokens": [
            {"id": vocabulary[name], "content": name, **flags} for name in ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
        ],
        "normalizer": {
            "type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [*template, {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [*template, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {name: special(name) for name in ("[CLS]", "[SEP]")},
        },
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocabulary,
        },
        **changes,
    }  # fmt: skip


def tokenizer_bytes(**changes: Any) -> bytes:
    return json.dumps(tokenizer(**changes)).encode()


VOCABULARY = len(tokenizer()["model"]["vocab"])


def preprocess(content: bytes = b"", vocabulary: int = VOCABULARY) -> TextPreprocess:
    content = content or tokenizer_bytes()
    return TextPreprocess(LENGTH, vocabulary, hashlib.sha256(content).hexdigest(), content)


def graph() -> bytes:
    """ONNX by hand: ids + 1 -> vectors of words, zeros where nothing is -> their mean over T."""
    vectors = np.random.default_rng(0).normal(size=(VOCABULARY + 1, DIM)).astype("<f4")
    vectors[0] = 0.0
    one = np.ones(1, "<f4")

    def node(operator: bytes, inputs: Tuple[bytes, ...], output: bytes, *attributes: bytes) -> bytes:
        named = b"".join(field(1, name) for name in inputs) + field(2, output) + field(4, operator)
        return field(1, named + b"".join(field(5, attribute) for attribute in attributes))

    def value(number: int, name: bytes, *sides: int) -> bytes:
        dims = b"".join(field(1, field(1, side)) for side in sides)
        return field(number, field(1, name) + field(2, field(1, field(1, 1) + field(2, dims))))

    def whole(name: bytes, number: int) -> bytes:
        return field(1, name) + field(3, number) + field(20, 2)

    # Float32 to float32, as exporters write it: OpenVINO makes one tensor of both names.
    body = node(b"Cast", (b"text",), b"a_cast", whole(b"to", 1))
    body += node(b"Add", (b"a_cast", b"one"), b"shifted")
    body += node(b"Cast", (b"shifted",), b"ids", whole(b"to", 7))
    body += node(b"Gather", (b"vectors", b"ids"), b"found", whole(b"axis", 0))
    axes = field(1, b"axes") + field(8, 1) + field(20, 7)
    body += node(b"ReduceMean", (b"found",), b"features", axes, whole(b"keepdims", 0))
    body += field(2, b"tiny")
    body += field(5, tensor(b"vectors", [VOCABULARY + 1, DIM], more=field(9, vectors.tobytes())))
    body += field(5, tensor(b"one", [1], more=field(9, one.tobytes())))
    body += value(11, b"text", 1, LENGTH) + value(12, b"features", 1, DIM)
    return field(1, 8) + field(7, body) + field(8, field(1, b"") + field(2, 13))


def features(texts: List[str]) -> NDArray[np.float32]:
    """(N, DIM) of the graph itself."""
    takes, engine = preprocess(), open_engine("onnxruntime", graph(), threads=1)
    try:
        return np.stack([np.asarray(engine.run({"text": takes.apply(text)})["features"][0]) for text in texts])
    finally:
        engine.close()


def member() -> HeadMember:
    """The head of both classes, fitted on `TEXTS`."""
    rows, labels = features([text for text, _ in TEXTS]), [label for _, label in TEXTS]
    source = Statistics(DIM, rows.mean(axis=0), SPACE)
    source.add(rows, labels)
    return HeadMember(source, "slda", {}, fit_head("slda", Statistics(DIM, source.shift, SPACE), prior=source))


def head_bytes() -> bytes:
    return member().pack()


def write(path: Path, content: bytes = b"", **fields: Any) -> Path:
    """A bundle of two classes, lights and music; `content` is another tokenizer.json."""
    content = content or tokenizer_bytes()
    rows, factory = features([text for text, _ in TEXTS]), member().factory
    order = np.array([factory.classes.index(label) for label in factory.predict(rows)], np.int64)
    base = golden.bundle().manifest
    takes = fields.pop("preprocess", preprocess(content))
    variant = dataclasses.replace(
        base.variants[0], input=takes.input, features=TensorSpec("features", "float32", (1, DIM)), feature_space=SPACE
    )
    members = {
        variant.extractor: graph(),
        variant.head: head_bytes(),
        "guard.safetensors": GuardSet({variant.name: rows}, order).pack(),
        "golden.safetensors": GoldenSamples(
            tuple(text_array(text) for text, _ in TEXTS), {variant.name: rows}, order
        ).pack(),
        "tokenizer.json": content,
    }
    manifest = dataclasses.replace(
        base, **{"name": "house", "classes": factory.classes, "preprocess": takes, "variants": (variant,), **fields}
    )
    write_bundle(path, manifest, members)
    return path
