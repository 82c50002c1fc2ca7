"""A sentence encoder from a folder or a graph: the features of torch's own transformer; and texts as data."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import edgetl
from edgetl.errors import BackboneError, DatasetError, EdgetlError, WeightsError
from edgetl.features import reference_features
from tests.host.changed_json import changed
from tests.host.text_encoders import CONFIG, write_encoder, write_onnx
from tests.runtime import texts

pytest.importorskip("tokenizers")
SAID = [text for text, _ in texts.TEXTS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


def features(extractor, said=SAID):
    return reference_features(extractor, np.concatenate([extractor.preprocess.apply(text) for text in said]))


def by_torch(folder, text, pooling):
    """The features of one text (D,) by torch.nn.TransformerEncoder, without anything behind the text."""
    weights = {name.removeprefix("bert."): value for name, value in load_file(folder / "model.safetensors").items()}
    ids = [int(i) for i in texts.preprocess().apply(text)[0] if i >= 0]
    tables = (weights[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type"))
    words, places, kinds = tables
    hidden = words[ids] + places[: len(ids)] + kinds[0]
    size = (CONFIG["hidden_size"],)
    norm = (weights["embeddings.LayerNorm.weight"], weights["embeddings.LayerNorm.bias"], CONFIG["layer_norm_eps"])
    hidden = torch.nn.functional.layer_norm(hidden, size, *norm)[None]
    for number in range(CONFIG["num_hidden_layers"]):
        layer = torch.nn.TransformerEncoderLayer(
            size[0], CONFIG["num_attention_heads"], CONFIG["intermediate_size"], 0.0, "gelu", 1e-5, batch_first=True
        ).eval()
        own = {k.removeprefix(f"encoder.layer.{number}."): v for k, v in weights.items() if f"layer.{number}." in k}
        three = [own[f"attention.self.{name}.weight"] for name in ("query", "key", "value")]
        biases = [own[f"attention.self.{name}.bias"] for name in ("query", "key", "value")]
        named = {"self_attn.in_proj_weight": torch.cat(three), "self_attn.in_proj_bias": torch.cat(biases)}
        for mine, theirs in (
            ("self_attn.out_proj", "attention.output.dense"), ("linear1", "intermediate.dense"),
            ("linear2", "output.dense"), ("norm1", "attention.output.LayerNorm"), ("norm2", "output.LayerNorm"),
        ):  # fmt: skip
            named |= {f"{mine}.{part}": own[f"{theirs}.{part}"] for part in ("weight", "bias")}
        layer.load_state_dict(named)
        hidden = layer(hidden)
    vector = hidden[0].mean(0) if pooling == "mean" else hidden[0, 0]
    return (vector / vector.norm()).detach().numpy()


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_features_are_those_of_torchs_own_transformer(pooling, tmp_path):
    folder = write_encoder(tmp_path / "tiny", pooling)
    extractor = edgetl.extractor(f"text:{folder}")
    expected = np.stack([by_torch(folder, text, pooling) for text in SAID])
    np.testing.assert_allclose(features(extractor), expected, atol=2e-6)
    assert extractor.dim == 16 and extractor.preprocess.length == 32  # as its tokenizer was saved
    assert len({tuple(row) for row in np.round(expected, 3)}) == len(SAID)


def test_what_fills_up_a_text_changes_nothing(folder):
    short, long = edgetl.extractor(f"text:{folder}", size=8), edgetl.extractor(f"text:{folder}", size=64)
    np.testing.assert_allclose(features(short), features(long), atol=2e-6)


@pytest.mark.parametrize("pooled", [False, True])
def test_a_graph_of_ones_own_gives_the_same_features(pooled, folder, tmp_path):
    shutil.copy(folder / "tokenizer.json", tmp_path / "tokenizer.json")
    write_onnx(folder, tmp_path / "model.onnx", pooled)
    wanted = features(edgetl.extractor(f"text:{folder}", size=16))
    for name in (tmp_path, tmp_path / "model.onnx"):
        extractor = edgetl.extractor(f"text:{name}", size=16)
        np.testing.assert_allclose(features(extractor), wanted, atol=5e-6)


def test_what_cannot_be_used_is_refused_with_what_to_do(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    cases = [
        (tmp_path / "empty", {}, "tokenizer.json"), (tmp_path / "none", {}, "tokenizer.json"),
        (folder, {"size": 4}, "8..4096"), (folder, {"size": 65}, "64 positions"),
        (folder, {"size": (8, 8)}, "number of"),
        (folder, {"mean": 1.0}, "leave out mean"), (folder, {"weights": "DEFAULT"}, "leave `weights` out"),
        (write_encoder(tmp_path / "a", normalizer={"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}), {},
         "'Replace'"),
        (write_encoder(tmp_path / "b", pre_tokenizer={"type": "Split", "pattern": {"Regex": "a+"}}), {}, "'Split'"),
    ]  # fmt: skip
    for path, options, words in cases:
        with pytest.raises(BackboneError, match=words):
            edgetl.extractor(f"text:{path}", **options)
    other = write_encoder(tmp_path / "c")
    for change in ({"vocab_size": 5}, {"model_type": "t5"}, {"hidden_size": 32}, {"hidden_act": "silly"}):
        (other / "config.json").write_text(json.dumps({**CONFIG, **change}))
        with pytest.raises((BackboneError, WeightsError)):
            edgetl.extractor(f"text:{other}")
    (write_encoder(tmp_path / "d") / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')
    with pytest.raises(BackboneError, match="pooling_mode_max_tokens"):
        edgetl.extractor(f"text:{tmp_path / 'd'}")


FILES = {
    "config.json": CONFIG, "modules.json": [{"type": "Transformer"}, {"type": "Normalize"}],
    "1_Pooling/config.json": {"pooling_mode_mean_tokens": True}, "sentence_bert_config.json": {"max_seq_length": 16},
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_file_with_any_value_of_another_kind_is_an_encoder_or_refused(name, tmp_path):
    path, refused = write_encoder(tmp_path / "encoder"), 0
    for document in [*changed(FILES[name]), "["]:
        (path / name).write_text("[" * 100_000 if document == "[" else json.dumps(document))
        try:
            assert np.isfinite(features(edgetl.extractor(f"text:{path}"), SAID[:1])).all()
        except EdgetlError:
            refused += 1
    assert refused > 5


def test_texts_come_from_folders_tables_and_lists(tmp_path):
    for number, (text, label) in enumerate(texts.TEXTS):
        (tmp_path / "said" / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "said" / label / f"{number}.txt").write_text(text + "\n")
    (tmp_path / "said" / "music" / "bad.txt").write_bytes(b"\xff\xfe\x00")
    lines = [f'"{text}",{label},{"anna" if number % 2 else "ben"}' for number, (text, label) in enumerate(texts.TEXTS)]
    (tmp_path / "said.csv").write_text("\n".join(["text,label,who", *lines, ",music,ben"]) + "\n")
    folder, table = edgetl.dataset(tmp_path / "said"), edgetl.dataset(tmp_path / "said.csv", split="group:who")
    in_memory = edgetl.dataset(SAID, [label for _, label in texts.TEXTS])
    for data in (folder, table, in_memory):
        assert data.counts == {"lights": 4, "music": 4}
        assert {sample.tobytes().decode() for sample, _ in data} == set(SAID)
    assert folder.skipped == table.skipped == {"damaged": 1}
    assert folder.hash == table.hash == in_memory.hash
    held = {sample.tobytes().decode() for sample, _ in table.held_out}
    assert held in ({text for text, _ in texts.TEXTS[0::2]}, {text for text, _ in texts.TEXTS[1::2]})
    with pytest.raises(DatasetError, match="sample 1"):
        edgetl.dataset(["fine", ""], ["a", "b"])
    (tmp_path / "wrong.csv").write_text("text,class\nhello,a\n")
    with pytest.raises(DatasetError, match="text and label"):
        edgetl.dataset(tmp_path / "wrong.csv")
