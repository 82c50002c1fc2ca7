"""The boards that edgetl knows, by what their device tree says.

The rows repeat devices/*.toml, which names the sources: Python 3.8 reads no TOML. A test of the host holds both
equal.
"""

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple

__all__ = ["BOARDS", "BoardRow"]


class BoardRow(NamedTuple):
    """One profile of devices/, as far as a device needs it.

    `engines` in the order in which they are to be tried. `reach` is "native", or "container" where the
    system's own Python is too old for the runtime. `threads` are those of an engine on the CPU, `workspace_bytes`
    what the TensorRT builder may use; None leaves it to them.
    """

    id: str
    name: str
    p_numbers: Tuple[str, ...] = ()
    compatible: Tuple[str, ...] = ()
    memory_mib: Tuple[int, ...] = ()
    engines: Tuple[str, ...] = ("onnxruntime",)
    reach: str = "native"
    threads: Optional[int] = None
    workspace_bytes: Optional[int] = None


_TENSORRT = ("tensorrt", "onnxruntime")
_MIB = 1 << 20

BOARDS: Tuple[BoardRow, ...] = (
    BoardRow(
        "jetson-nano", "NVIDIA Jetson Nano", ("p3448-0000", "p3448-0002", "p3448-0003"), ("nvidia,jetson-nano",),
        (2048, 4096), reach="container", threads=3,
    ),
    BoardRow(
        "jetson-tx2", "NVIDIA Jetson TX2", ("p3310-1000", "p3489-0000", "p3489-0888", "p3636-0001"),
        ("nvidia,quill", "nvidia,lightning"), (4096, 8192), reach="container", threads=3,
    ),
    BoardRow(
        "jetson-xavier-nx", "NVIDIA Jetson Xavier NX", ("p3668-0000", "p3668-0001", "p3668-0003"), (),
        (8192, 16384), _TENSORRT, threads=4, workspace_bytes=1024 * _MIB,
    ),
    BoardRow(
        "jetson-agx-xavier", "NVIDIA Jetson AGX Xavier",
        ("p2888-0001", "p2888-0003", "p2888-0004", "p2888-0005", "p2888-0006", "p2888-0008"),
        ("nvidia,jetson-xavier",), (8192, 16384, 32768, 65536), _TENSORRT, threads=4, workspace_bytes=1024 * _MIB,
    ),
    BoardRow(
        "jetson-orin-nano-4gb", "NVIDIA Jetson Orin Nano 4 GB", ("p3767-0004",), (), (4096,), _TENSORRT,
        threads=4, workspace_bytes=512 * _MIB,
    ),
    BoardRow(
        "jetson-orin-nano-8gb", "NVIDIA Jetson Orin Nano 8 GB", ("p3767-0003", "p3767-0005"), (), (8192,), _TENSORRT,
        threads=4, workspace_bytes=1024 * _MIB,
    ),
    BoardRow(
        "jetson-orin-nx-8gb", "NVIDIA Jetson Orin NX 8 GB", ("p3767-0001",), (), (8192,), _TENSORRT,
        threads=4, workspace_bytes=1024 * _MIB,
    ),
    BoardRow(
        "jetson-orin-nx-16gb", "NVIDIA Jetson Orin NX 16 GB", ("p3767-0000",), (), (16384,), _TENSORRT,
        threads=4, workspace_bytes=1024 * _MIB,
    ),
    # Developer kits of both sizes say p3701-0000: there the memory decides.
    BoardRow(
        "jetson-agx-orin-32gb", "NVIDIA Jetson AGX Orin 32 GB", ("p3701-0000", "p3701-0004"), (), (32768,), _TENSORRT,
        workspace_bytes=1024 * _MIB,
    ),
    BoardRow(
        "jetson-agx-orin-64gb", "NVIDIA Jetson AGX Orin 64 GB", ("p3701-0000", "p3701-0005"), (), (65536,), _TENSORRT,
        threads=4, workspace_bytes=1024 * _MIB,
    ),
    BoardRow(
        "jetson-t4000", "NVIDIA Jetson T4000 (Thor)", ("p3834-0000",), (), (65536,), _TENSORRT,
        threads=4, workspace_bytes=1024 * _MIB,
    ),
    BoardRow(
        "jetson-t5000", "NVIDIA Jetson T5000 (Thor)", ("p3834-0008",), (), (131072,), _TENSORRT,
        threads=4, workspace_bytes=1024 * _MIB,
    ),
    BoardRow(
        "raspberry-pi-4", "Raspberry Pi 4", (), ("raspberrypi,4-model-b",), (1024, 2048, 4096, 8192), threads=3,
    ),
    BoardRow("raspberry-pi-5", "Raspberry Pi 5", (), ("raspberrypi,5-model-b",), (4096, 8192), threads=3),
    BoardRow("x86-openvino", "x86-64 with OpenVINO", engines=("openvino", "onnxruntime")),
    BoardRow("x86-cuda", "x86-64 with an NVIDIA GPU", engines=_TENSORRT, workspace_bytes=1024 * _MIB),
    BoardRow("cpu", "any CPU"),
)  # fmt: skip
