"""A frozen sentence encoder with its tokenizer: a folder as Hugging Face keeps it, or an ONNX graph of a user's own."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from edgetl_runtime.errors import EdgetlError
from edgetl_runtime.preprocess import TextPreprocess
from edgetl_runtime.text import MAX_TOKENIZER_BYTES, check_tokenizer

from edgetl.backbones.bert import bert_encoder
from edgetl.backbones.cut import used_keys
from edgetl.backbones.encoder_graph import sentence_graph
from edgetl.backbones.module import from_module, network_example
from edgetl.backbones.request import Request
from edgetl.backbones.weights import fit_weights, read_weights
from edgetl.errors import BackboneError, DatasetError
from edgetl.features import Extractor, run_graph

if TYPE_CHECKING:
    from edgetl.data import Dataset, TargetDataset

__all__ = ["build", "check_texts"]

_LENGTH = 64
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_GRAPHS = ("model.onnx", "onnx/model.onnx")


def build(request: Request) -> Extractor:
    """Extractor of "text:<folder>" or "text:<model.onnx>" with its `tokenizer.json`; raises BackboneError.

    `size` is T, how many tokens of a text are taken, 64 by default and at most what the encoder declares: time grows
    with T. `output` names the tensor of an ONNX graph, hidden states (1, T, D) or a vector (1, D). How hidden states
    become one vector is what the folder says (`1_Pooling`, `modules.json`), else their mean of length 1.
    """
    path = Path(request.name.partition(":")[2])
    options = ("mean", "scale", "resize", "interpolation", "channels", "window", "turn")
    if given := [option for option in options if getattr(request, option) is not None]:
        raise BackboneError(f"{request.name} takes text: leave out {', '.join(given)}")
    if request.size is not None and not isinstance(request.size, int):
        raise BackboneError(f"size of a text is a number of tokens; got {request.size}")
    graph = path if path.is_file() else next((path / name for name in _GRAPHS if (path / name).is_file()), None)
    folder = path if path.is_dir() else path.parent
    if not (folder / "tokenizer.json").is_file() and (folder.parent / "tokenizer.json").is_file():
        folder = folder.parent
    if not path.exists() or not (folder / "tokenizer.json").is_file():
        raise BackboneError(
            f"{path}: expected a folder with tokenizer.json and model.onnx, or {_WEIGHTS[0]} and config.json; or an"
            " ONNX file with tokenizer.json beside it"
        )
    weights = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)
    if request.weights is not None:
        raise BackboneError(f"the weights of {request.name} lie in it; leave `weights` out")
    preprocess = _preprocess(folder, request)
    pooling, normalise = _pooling(folder)
    if graph is not None:
        return _of_graph(request, graph, preprocess, pooling, normalise)
    if weights is None:
        raise BackboneError(f"{folder} has a tokenizer and no model: {', '.join((*_GRAPHS, *_WEIGHTS))}")
    return _of_weights(request, weights, _document(folder / "config.json"), preprocess, pooling, normalise)


def check_texts(extractor: Extractor, samples: Dataset | TargetDataset) -> None:
    """Raises DatasetError unless both are of text, or neither is."""
    from edgetl.data.texts import TextReader

    takes, gives = isinstance(extractor.preprocess, TextPreprocess), isinstance(samples.reader, TextReader)
    if takes and not gives:
        raise DatasetError(
            f"{extractor.name} takes text, and {samples.name} holds none: give a folder with a folder a class of .txt,"
            " or a CSV with the columns text and label"
        )
    if gives and not takes:
        raise DatasetError(f"{samples.name} holds text, and {extractor.name} takes none: use a text:<folder> backbone")


def _of_weights(
    request: Request, weights: Path, config: dict[str, Any], preprocess: TextPreprocess, pooling: str, normalise: bool
) -> Extractor:
    network = bert_encoder(config, preprocess.length, pooling, normalise).eval()
    if preprocess.vocabulary > int(config["vocab_size"]):
        raise BackboneError(
            f"{request.name}: its tokenizer has {preprocess.vocabulary} tokens, the encoder {config['vocab_size']}"
        )
    contents, sha256 = read_weights(weights)
    fit_weights(network, used_keys(network, network_example(preprocess), request.name), contents, str(weights))
    facts = {**_facts(request, preprocess, pooling, normalise), "file": weights.name, "sha256": sha256}
    return from_module(network, preprocess, name=_name(request), provenance=facts)


def _of_graph(
    request: Request, path: Path, preprocess: TextPreprocess, pooling: str, normalise: bool
) -> Extractor:
    graph = path.read_bytes()
    # The last token of the vocabulary: an id beyond the encoder's table would be read from beside it.
    ids = np.full((1, preprocess.length), preprocess.vocabulary - 1, np.float32)
    whole, output = sentence_graph(graph, request, preprocess.length, "", False)
    try:
        if run_graph(whole, output, ids).ndim == 2:
            pooling = ""  # it is one vector already
        whole, output = sentence_graph(graph, request, preprocess.length, pooling, normalise)
        features = run_graph(whole, output, ids)
    except Exception as error:  # onnxruntime has a dozen exceptions of its own
        raise BackboneError(
            f"{path.name} does not run on {preprocess.length} of {preprocess.vocabulary} tokens: {error}"
        ) from error
    if features.ndim != 2 or features.shape[0] != 1:
        raise BackboneError(f"{output!r} of {path.name} gives {features.shape}; expected (1, D)")
    facts = {"file": path.name, "sha256": hashlib.sha256(graph).hexdigest()}
    return Extractor(
        name=_name(request),
        preprocess=preprocess,
        mean=(0.0,),
        scale=(1.0,),
        dim=int(features.shape[1]),
        graph=whole,
        output=output,
        provenance={**_facts(request, preprocess, pooling, normalise), **facts},
    )


def _name(request: Request) -> str:
    return f"text:{Path(request.name.partition(':')[2]).name}"


def _facts(request: Request, preprocess: TextPreprocess, pooling: str, normalise: bool) -> dict[str, Any]:
    return {
        "source": "text", "weights": "file", "tokens": preprocess.length, "pooling": pooling or "its own",
        "normalised": normalise, "tokenizer_sha256": preprocess.tokenizer,
    }  # fmt: skip


def _preprocess(folder: Path, request: Request) -> TextPreprocess:
    path = folder / "tokenizer.json"
    if path.stat().st_size > MAX_TOKENIZER_BYTES:
        raise BackboneError(f"{path} has {path.stat().st_size:,} bytes; devices read {MAX_TOKENIZER_BYTES:,} at most")
    document = _document(path)
    cut, said = document.get("truncation"), _document(folder / "sentence_bert_config.json", {})
    most = said.get("max_seq_length") or (cut.get("max_length") if isinstance(cut, dict) else None)
    length = request.size if isinstance(request.size, int) else min(_LENGTH, most if isinstance(most, int) else _LENGTH)
    # Filling up, cutting and reading back are not a device's: it has T, and turns no token into text.
    content = json.dumps({**document, "truncation": None, "padding": None, "decoder": None}, ensure_ascii=False)
    data = content.encode("utf-8", errors="surrogatepass")
    try:
        vocabulary = 1 + max(_ids(document))
        check_tokenizer(data, vocabulary)
        preprocess = TextPreprocess(length, vocabulary, hashlib.sha256(data).hexdigest(), data)
        preprocess.prepare()
    except (EdgetlError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BackboneError(f"{path} cannot be used on a device: {error}") from error
    return preprocess


def _ids(document: dict[str, Any]) -> list[int]:
    vocab = document["model"]["vocab"]
    added = [token["id"] for token in document.get("added_tokens") or []]
    return [*added, *(vocab.values() if isinstance(vocab, dict) else range(len(vocab)))]


def _pooling(folder: Path) -> tuple[str, bool]:
    """How hidden states become a vector, in the words of sentence-transformers; mean and length 1 where nobody says."""
    said = _document(folder / "1_Pooling" / "config.json", {})
    chosen = [key for key, value in said.items() if key.startswith("pooling_mode_") and value is True]
    if chosen not in ([], ["pooling_mode_mean_tokens"], ["pooling_mode_cls_token"]):
        raise BackboneError(f"{folder} pools by {chosen}; mean and cls are known here")
    modules = _document(folder / "modules.json", [{"type": "Normalize"}], list)
    modules = [str(one.get("type") if isinstance(one, dict) else one) for one in modules]
    normalise = any("Normalize" in one for one in modules)
    if any("Dense" in one for one in modules):
        raise BackboneError(f"{folder} ends in a dense layer, which is not built here: export it whole to ONNX")
    return "cls" if "pooling_mode_cls_token" in chosen else "mean", normalise


def _document(path: Path, default: Any = ..., kind: type = dict) -> Any:
    if default is not ... and not path.is_file():
        return default
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BackboneError(f"{path} cannot be read: {error}") from error
    if not isinstance(document, kind):
        raise BackboneError(f"{path} holds a {type(document).__name__}; expected a {kind.__name__}")
    return document
