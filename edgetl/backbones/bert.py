"""A sentence encoder of the family of BERT (Devlin et al. 2019), as torch runs it, with the names of its weights.

Only what inference needs: token ids to hidden states. MiniLM, E5, BGE, GTE and most small sentence encoders are this.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgetl.errors import BackboneError

if TYPE_CHECKING:
    import torch

__all__ = ["bert_encoder"]

_MOST, _MOST_LAYERS = 1 << 30, 256  # figures of one matrix
_MASKED = -1e4  # also within float16; e^-10000 is zero in every precision
_ACTIVATIONS = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}


def bert_encoder(config: Mapping[str, Any], length: int, pooling: str, normalise: bool) -> torch.nn.Module:
    """A network (N, T = `length`) float32 of token ids, -1 where there is none -> (N, D).

    `config` is the content of a `config.json`; `pooling` "mean" over the tokens that are there, or "cls", the first.
    With `normalise` a vector has length 1. Raises BackboneError.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    try:
        dim, heads, layers = (
            int(config[key]) for key in ("hidden_size", "num_attention_heads", "num_hidden_layers")
        )
        inner, words, places = (
            int(config[key]) for key in ("intermediate_size", "vocab_size", "max_position_embeddings")
        )
        approximate = _ACTIVATIONS[config.get("hidden_act", "gelu")]
        epsilon, kinds = float(config.get("layer_norm_eps", 1e-12)), int(config.get("type_vocab_size", 2))
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise BackboneError(f"config.json is not that of a BERT that is known here: {error!r}") from error
    if config.get("model_type") != "bert" or config.get("position_embedding_type", "absolute") != "absolute":
        raise BackboneError(
            f"config.json is of a {config.get('model_type')!r} with {config.get('position_embedding_type')!r}"
            " positions; only bert with absolute ones is built here. Export it to ONNX: text:MODEL.onnx"
        )
    sides = (dim, heads, layers, inner, words, places, kinds)
    if min(sides) < 1 or dim * max(sides) > _MOST or layers > _MOST_LAYERS or not 0 <= epsilon < 1:
        raise BackboneError(f"config.json gives sizes that no encoder here has: {sides}, epsilon {epsilon}")
    if length > places or dim % heads:
        raise BackboneError(f"this encoder has {places} positions, {dim} features and {heads} heads; asked: {length}")

    class Attention(nn.Module):
        """(N, T, D), mask (N, 1, 1, T) -> (N, T, D)."""

        def __init__(self) -> None:
            super().__init__()
            self.self = nn.ModuleDict({name: nn.Linear(dim, dim) for name in ("query", "key", "value")})
            self.output = nn.ModuleDict({"dense": nn.Linear(dim, dim), "LayerNorm": nn.LayerNorm(dim, epsilon)})

        def forward(self, hidden: torch.Tensor, masked: torch.Tensor) -> torch.Tensor:
            # By getattr: `self.self`, as the weights are named, is more than type checkers take.
            own: nn.ModuleDict = getattr(self, "self")  # noqa: B009
            query, key, value = (
                own[name](hidden).unflatten(2, (heads, dim // heads)).transpose(1, 2)
                for name in ("query", "key", "value")
            )
            scores = query @ key.transpose(2, 3) / math.sqrt(dim // heads) + masked
            mixed = (scores.softmax(dim=3) @ value).transpose(1, 2).flatten(2)
            result: torch.Tensor = self.output["LayerNorm"](self.output["dense"](mixed) + hidden)
            return result

    class Layer(nn.Module):
        """(N, T, D), mask -> (N, T, D)."""

        def __init__(self) -> None:
            super().__init__()
            self.attention = Attention()
            self.intermediate = nn.ModuleDict({"dense": nn.Linear(dim, inner)})
            self.output = nn.ModuleDict({"dense": nn.Linear(inner, dim), "LayerNorm": nn.LayerNorm(dim, epsilon)})

        def forward(self, hidden: torch.Tensor, masked: torch.Tensor) -> torch.Tensor:
            attended = self.attention(hidden, masked)
            grown = functional.gelu(self.intermediate["dense"](attended), approximate=approximate)
            result: torch.Tensor = self.output["LayerNorm"](self.output["dense"](grown) + attended)
            return result

    class Encoder(nn.Module):
        """(N, T) -> (N, D)."""

        def __init__(self) -> None:
            super().__init__()
            tables = {"word": words, "position": places, "token_type": kinds}
            self.embeddings = nn.ModuleDict(
                {f"{name}_embeddings": nn.Embedding(rows, dim) for name, rows in tables.items()}
            )
            self.embeddings["LayerNorm"] = nn.LayerNorm(dim, epsilon)
            self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Layer() for _ in range(layers))})

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            tables: Any = self.embeddings
            layers: Any = self.encoder["layer"]
            there = (ids >= 0).to(torch.float32)
            hidden: torch.Tensor = tables["word_embeddings"](ids.clamp(min=0).long())
            hidden = hidden + tables["position_embeddings"].weight[:length]
            hidden = tables["LayerNorm"](hidden + tables["token_type_embeddings"].weight[0])
            masked = (1.0 - there)[:, None, None, :] * _MASKED
            for layer in layers:
                hidden = layer(hidden, masked)
            if pooling == "cls":
                pooled = hidden[:, 0]
            else:
                pooled = (hidden * there[:, :, None]).sum(dim=1) / there.sum(dim=1, keepdim=True).clamp(min=1.0)
            if normalise:
                pooled = pooled / (pooled * pooled).sum(dim=1, keepdim=True).sqrt().clamp(min=1e-12)
            return pooled

    return Encoder()
