"""`make extractors`: every backbone that is promised exports, and torch and onnxruntime agree on its features.

The weights are random and always the same. Batch normalisation is settled on two images first: at its
neutral start it would hide a wrong export, and features would shrink to 1e-14 in some networks. The first two
lists are also a test (tests/host/backbones/test_list.py); `--all` adds larger members of the families.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np

from benchmarks.evidence import write_evidence
from edgetl.backbones import extractor, from_module
from edgetl.errors import EdgetlError
from edgetl.export import export_onnx
from edgetl.features import Extractor, reference_features
from edgetl.parity import compare

__all__ = ["LARGE", "MAX_REL", "TIMM", "TORCHVISION", "measure", "settled"]

MAX_REL = 1e-4
TORCHVISION = tuple(f"torchvision/{name}" for name in (
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_b1", "efficientnet_v2_s", "googlenet",
    "inception_v3", "maxvit_t", "mnasnet0_5", "mnasnet1_0", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small",
    "regnet_x_400mf", "regnet_y_400mf", "resnet18", "resnet50", "resnext50_32x4d", "shufflenet_v2_x0_5",
    "shufflenet_v2_x1_0", "squeezenet1_0", "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11", "vit_b_32",
    "wide_resnet50_2",
))  # fmt: skip
TIMM = tuple(f"timm/{name}" for name in (
    "convnextv2_atto", "deit_tiny_distilled_patch16_224", "edgenext_xx_small", "efficientformerv2_s0", "ghostnet_050",
    "mobilenetv3_small_050", "mobilenetv4_conv_small_050", "mobilevitv2_050", "regnetx_002", "repvgg_a0", "resnet10t",
    "test_nfnet", "vit_tiny_patch16_224", "xcit_nano_12_p16_224",
))  # fmt: skip
LARGE = (
    "torchvision/convnext_base", "torchvision/densenet201", "torchvision/efficientnet_b4",
    "torchvision/efficientnet_v2_m", "torchvision/mnasnet1_3", "torchvision/regnet_y_8gf", "torchvision/resnet152",
    "torchvision/resnext101_32x8d", "torchvision/shufflenet_v2_x2_0", "torchvision/swin_b", "torchvision/swin_v2_b",
    "torchvision/vgg19_bn", "torchvision/vit_b_16", "timm/convnext_small", "timm/efficientnet_b4",
    "timm/hiera_tiny_224", "timm/mambaout_femto", "timm/swin_tiny_patch4_window7_224", "timm/tf_efficientnetv2_s",
    "timm/vit_base_patch16_224",
)  # fmt: skip


def settled(original: Extractor, images: Any) -> Extractor:
    """The same network with the batch statistics of `images` (N, H, W, C) uint8 in place of zeros and ones."""
    import copy

    import torch

    assert original.module is not None
    network = copy.deepcopy(original.module)
    layers = [m for m in network.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for layer in layers:
        layer.momentum = None  # the mean over all batches seen: exactly this one
        layer.reset_running_stats()
        layer.train()
    mean, scale = torch.tensor(original.mean), torch.tensor(original.scale)
    with torch.no_grad():
        network(((torch.from_numpy(images).float() - mean) * scale).permute(0, 3, 1, 2))
        for layer in layers:
            # Channels that these images hardly move would be blown up, and with them every rounding error.
            layer.running_var.clamp_(min=float(layer.running_var.mean()))
    return from_module(network, original.preprocess, original.mean, original.scale, name=original.name)


def measure(name: str) -> tuple[dict[str, Any], bytes]:
    """One row of the table, and the exported graph."""
    import onnxruntime

    start = time.perf_counter()
    backbone = extractor(name)
    spec = backbone.preprocess.input
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, spec.shape, dtype=np.uint8)
    ramp = np.broadcast_to(np.linspace(0, 255, spec.shape[2])[:, None], spec.shape).astype(np.uint8)
    samples = np.concatenate([noise, ramp])
    backbone = settled(backbone, samples)
    graph = export_onnx(backbone)
    seconds = time.perf_counter() - start
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    features = np.concatenate([session.run(["features"], {spec.name: sample[None]})[0] for sample in samples])
    parity = compare(reference_features(backbone, samples), features)
    row = {
        "name": name,
        "dim": backbone.dim,
        "size": list(spec.shape[1:]),
        "parity_max_rel": parity.max_rel,
        "onnx_bytes": len(graph),
        "seconds": seconds,
    }
    return row, graph


def main() -> int:
    import torch

    torch.set_num_threads(1)  # tracing is serial; on a busy machine more threads only wait for one another
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="larger members of the families too")
    parser.add_argument("names", nargs="*", help="these backbones only; no evidence is written")
    options = parser.parse_args()
    names = options.names or [*TORCHVISION, *TIMM, *(LARGE if options.all else ())]
    rows: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    print(f"{'backbone':42} {'D':>5} {'input':>12} {'max rel':>9} {'ONNX':>9} {'build and export':>17}")
    for name in names:
        try:
            row, _ = measure(name)
        except EdgetlError as error:
            failed.append({"name": name, "error": str(error)})
            print(f"{name:42} FAILED: {error}", flush=True)
            continue
        rows.append(row)
        bad = row["parity_max_rel"] > MAX_REL
        if bad:
            failed.append({"name": name, "error": f"parity {row['parity_max_rel']:.1e}"})
        size = "x".join(map(str, row["size"]))
        print(f"{name:42} {row['dim']:5} {size:>12} {row['parity_max_rel']:9.1e} {row['onnx_bytes'] / 1e6:6.1f} MB"
              f" {row['seconds']:15.1f} s{'  NO PARITY' if bad else ''}", flush=True)  # fmt: skip
    worst = max((row["parity_max_rel"] for row in rows), default=float("nan"))
    print(f"{len(rows)} of {len(names)} exported, worst relative difference {worst:.1e} (at most {MAX_REL:g}); "
          f"{len(failed)} failed")  # fmt: skip
    if not options.names:
        write_evidence("extractors", {"rows": rows, "failed": failed, "max_rel_allowed": MAX_REL})
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
