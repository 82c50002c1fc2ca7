"""Networks with real pretrained weights that need no download, as torch modules that can be trained.

The TensorFlow Lite files of the data folder are read by OpenVINO, and what it reads is rebuilt layer by layer in torch
with the weights dequantized: everything up to the pooled features.
"""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from edgetl_runtime.preprocess import ImagePreprocess

import edgetl
from benchmarks.evidence import data_folder
from edgetl.backbones import from_module
from edgetl.backbones.weights import fit_weights, read_weights
from edgetl.features import Extractor

__all__ = ["BACKBONES", "IMAGENET_TOP1", "real_backbone"]

logger = logging.getLogger(__name__)

# name -> (file, scale of the pixels that the file does not apply itself); those of Coral take bytes.
_TFLITE = {
    "mobilenet_v1_1.0": ("coral/mobilenet_v1_1.0_224_quant_embedding_extractor.tflite", 1.0),
    "mobilenet_v1_0.5": ("coral/mobilenet_v1_0.5_160_quant.tflite", 1.0),
    "mobilenet_v1_0.25": ("coral/mobilenet_v1_0.25_128_quant.tflite", 1.0),
    "mobilenet_v2_inat": ("coral/mobilenet_v2_1.0_224_inat_bird_quant.tflite", 1.0),
    "vww_mobilenet": ("mlperf_tiny/vww_96_float.tflite", 1 / 255),
    "resnet8_cifar": ("mlperf_tiny/pretrainedResnet.tflite", 1.0),
}
BACKBONES = ("mobilenet_v2", "squeezenet1_0", "resnet20_cifar", *_TFLITE)

# Top-1 by the authors, in %; None: trained on something else.
IMAGENET_TOP1: dict[str, float | None] = {
    "mobilenet_v2": 71.9, "squeezenet1_0": 58.1, "mobilenet_v1_1.0": 70.9, "mobilenet_v1_0.5": 63.3,
    "mobilenet_v1_0.25": 49.8, "resnet20_cifar": None, "mobilenet_v2_inat": None, "vww_mobilenet": None,
    "resnet8_cifar": None,
}  # fmt: skip


@cache
def real_backbone(name: str, size: int) -> Extractor:
    """Extractor of RGB images stretched to `size`, with the real weights of that name."""
    models = data_folder() / "models"
    if name == "mobilenet_v2":
        return edgetl.extractor(
            "torchvision/mobilenet_v2", models / "mobilenet_v2_torchvision_fp16.safetensors", mean=127.5,
            scale=1 / 127.5, size=size, resize="stretch",
        )  # fmt: skip
    if name == "squeezenet1_0":
        return edgetl.extractor(
            "torchvision/squeezenet1_0", models / "squeezenet_dc" / "squeezenet1_0_torchvision_fp16.pth",
            mean=(104, 117, 123), scale=1.0, channels="BGR", size=size, resize="stretch",
        )  # fmt: skip
    preprocess = ImagePreprocess(size, size)
    if name == "resnet20_cifar":
        network = _ResNet20()
        contents, _ = read_weights(models / "cifar_resnet" / "resnet20-12fca82f.th")
        needed = [key for key in network.state_dict() if "num_batches" not in key]
        fit_weights(network, needed, contents, "resnet20")
        mean, spread = np.array([0.485, 0.456, 0.406]) * 255, np.array([0.229, 0.224, 0.225]) * 255
        return from_module(network, preprocess, mean.tolist(), (1 / spread).tolist(), name=name)
    path, scale = _TFLITE[name]
    return from_module(_rebuilt(models / path), preprocess, 0.0, scale, name=name)


class _ResNet20(torch.nn.Module):
    """He et al. 2016 for CIFAR, with parameter-free short cuts, up to the pooled features (64)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = torch.nn.Conv2d(3, 16, 3, 1, 1, bias=False), torch.nn.BatchNorm2d(16)
        for number, (inner, outer) in enumerate(((16, 16), (16, 32), (32, 64)), 1):
            blocks = [_Block(inner if first else outer, outer, 2 if first and number > 1 else 1) for first in (1, 0, 0)]
            self.add_module(f"layer{number}", torch.nn.Sequential(*blocks))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        inner = torch.relu(self.bn1(self.conv1(images)))
        for layer in (self.layer1, self.layer2, self.layer3):
            inner = layer(inner)
        return inner.mean(dim=(2, 3))


class _Block(torch.nn.Module):
    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.stride, self.more = stride, outer - inner
        self.conv1, self.bn1 = torch.nn.Conv2d(inner, outer, 3, stride, 1, bias=False), torch.nn.BatchNorm2d(outer)
        self.conv2, self.bn2 = torch.nn.Conv2d(outer, outer, 3, 1, 1, bias=False), torch.nn.BatchNorm2d(outer)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        inner = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(images)))))
        if self.more or self.stride > 1:
            side = self.more // 2
            images = torch.nn.functional.pad(images[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, side, side))
        return torch.relu(inner + images)


class _Rebuilt(torch.nn.Module):
    """A graph of convolutions, sums and clamps, run in order; `steps` are (what, inputs, output, settings)."""

    def __init__(self, layers: list[torch.nn.Module], steps: list[tuple[str, list[int], int, Any]]) -> None:
        super().__init__()
        self.layers, self.steps = torch.nn.ModuleList(layers), steps

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        values = {-1: images}
        for what, inputs, output, setting in self.steps:
            given = [values[i] for i in inputs]
            if what == "conv":
                layer, pads = setting
                values[output] = self.layers[layer](torch.nn.functional.pad(given[0], pads))
            elif what == "sum":
                values[output] = given[0] + given[1]
            elif what == "clamp":
                values[output] = given[0].clamp(*setting)
            elif what == "affine":
                values[output] = given[0] * setting[0] + setting[1]
            last = values[output]
        return last.mean(dim=(2, 3))


def _rebuilt(path: Path) -> _Rebuilt:
    import openvino as ov

    core = ov.Core()
    model = core.read_model(path)
    place: dict[str, int] = {}
    layers: list[Any] = []
    steps: list[tuple[str, list[int], int, Any]] = []

    def source(node: Any, position: int) -> Any:
        return node.input_value(position).get_node()

    def constant(node: Any) -> bool:
        return node.get_type_name() == "Constant" or (
            node.get_type_name() != "Parameter" and all(constant(source(node, i)) for i in range(len(node.inputs())))
        )

    def value(node: Any) -> np.ndarray:
        return np.array(core.compile_model(ov.Model([node.output(0)], []), "CPU")([])[0], dtype=np.float32)

    for number, node in enumerate(model.get_ordered_ops()):
        kind, name = node.get_type_name(), node.get_friendly_name()
        if kind == "Parameter":
            place[name] = -1
            continue
        if constant(node):
            continue
        moving = [i for i in range(len(node.inputs())) if not constant(source(node, i))]
        given = [place[source(node, i).get_friendly_name()] for i in moving]
        if kind == "AvgPool":
            return _Rebuilt(layers, steps)
        if kind in ("Convolution", "GroupConvolution"):
            weights, told = value(source(node, 1)), node.get_attributes()
            groups = weights.shape[0] if kind == "GroupConvolution" else 1
            weights = weights.reshape(-1, *weights.shape[-3:])
            layer = torch.nn.Conv2d(
                weights.shape[1] * groups, len(weights), weights.shape[-2:], told["strides"], groups=groups
            )
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(weights))
                layer.bias.zero_()
            # "same" pads by the size it sees: as for the even sides that these networks have, at any of them.
            wide, step = weights.shape[-1], told["strides"][0]
            total = max(wide - step, 0)
            pads = (total // 2, total - total // 2) * 2
            # Folded away in the file; an identity is put back, so that the network can also be trained from scratch.
            layers.append(torch.nn.Sequential(layer, torch.nn.BatchNorm2d(len(weights))))
            steps.append(("conv", given, number, (len(layers) - 1, pads)))
        elif kind == "Add" and len(given) == 2:
            steps.append(("sum", given, number, None))
        elif kind in ("Add", "Subtract", "Multiply"):
            figures = value(source(node, 1 - moving[0])).reshape(-1)
            if kind == "Add" and steps and steps[-1][0] == "conv" and steps[-1][2] == given[0]:
                with torch.no_grad():
                    bias = layers[steps[-1][3][0]][0].bias
                    bias += torch.from_numpy(np.broadcast_to(figures, bias.shape).copy())
                place[name] = given[0]
                continue
            factor, offset = {
                "Add": (1.0, float(figures[0])), "Subtract": (1.0, -float(figures[0])),
                "Multiply": (float(figures[0]), 0.0),
            }[kind]  # fmt: skip
            steps.append(("affine", given, number, (factor, offset)))
        elif kind == "Clamp":
            told = node.get_attributes()
            steps.append(("clamp", given, number, (told["min"], told["max"])))
        elif kind == "Relu":
            steps.append(("clamp", given, number, (0.0, None)))
        elif kind == "FakeQuantize":  # rounding is left out; what it maps and cuts off stays
            low, high, to_low, to_high = (float(value(source(node, i)).reshape(-1)[0]) for i in range(1, 5))
            factor = (to_high - to_low) / (high - low)
            steps.append(("clamp", given, number, (low, high)))
            steps.append(("affine", [number], number, (factor, to_low - low * factor)))
        elif kind in ("Convert", "Transpose"):
            place[name] = given[0]
            continue
        else:
            raise SystemExit(f"{path.name}: no rule for {kind} {name}")
        place[name] = number
    raise SystemExit(f"{path.name} has no pooling")
