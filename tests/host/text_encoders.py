"""A tiny sentence encoder as Hugging Face keeps one: random weights, the tokenizer of tests.runtime.texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from edgetl.backbones.bert import bert_encoder
from tests.runtime import texts

CONFIG = {
    "model_type": "bert", "hidden_size": 16, "num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 24,
    "vocab_size": texts.VOCABULARY, "max_position_embeddings": 64, "type_vocab_size": 2, "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
}  # fmt: skip


def write_encoder(folder: Path, pooling: str = "mean", prefix: str = "bert.", **tokenizer: Any) -> Path:
    """The folder, with files of sentence-transformers around it."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(5)
    network = bert_encoder(CONFIG, 8, pooling, True)
    for parameter in network.parameters():  # far from what layers begin with, so that each of them counts
        torch.nn.init.normal_(parameter, 0.0, 0.4)
    save_file({prefix + name: value.contiguous() for name, value in network.state_dict().items()},
              folder / "model.safetensors")  # fmt: skip
    (folder / "config.json").write_text(json.dumps(CONFIG))
    # As the library saves one: filling up, cutting, and a way back to text.
    saved = {
        "truncation": {"max_length": 32, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 32}, "direction": "Right", "pad_id": 0},
        "decoder": {"type": "WordPiece"},
        **tokenizer,
    }
    (folder / "tokenizer.json").write_text(json.dumps(texts.tokenizer(**saved)))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    mode = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token"}[pooling]
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({mode: True}))
    return folder


def write_onnx(folder: Path, target: Path, pooled: bool = False) -> Path:
    """The same encoder as exporters write one: three integer inputs of any length, hidden states or a vector out."""
    from safetensors.torch import load_file

    weights = {name.removeprefix("bert."): value for name, value in load_file(folder / "model.safetensors").items()}

    class Exported(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = bert_encoder(CONFIG, 16, "mean", True)
            self.bert.load_state_dict(weights)

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            tables, hidden = self.bert.embeddings, self.bert.embeddings["word_embeddings"](input_ids)
            hidden = hidden + tables["position_embeddings"].weight[: hidden.shape[1]]
            hidden = tables["LayerNorm"](hidden + tables["token_type_embeddings"](token_type_ids))
            there = attention_mask.to(torch.float32)
            for layer in self.bert.encoder["layer"]:
                hidden = layer(hidden, (1.0 - there)[:, None, None, :] * -1e4)
            if not pooled:
                return hidden
            mean = (hidden * there[:, :, None]).sum(1) / there.sum(1, keepdim=True)
            return mean / mean.norm(dim=1, keepdim=True)

    example = torch.zeros((1, 16), dtype=torch.int64)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    output = "sentence_embedding" if pooled else "last_hidden_state"
    torch.onnx.export(
        Exported().eval(), (example, torch.ones_like(example), example), str(target), dynamo=False, opset_version=14,
        input_names=names, output_names=[output], dynamic_axes={name: {0: "batch", 1: "length"} for name in names},
    )  # fmt: skip
    return target
