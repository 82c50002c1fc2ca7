"""Which board this is: P-number and `compatible` of the device tree, else the kind of CPU."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import List, Optional, Tuple

from edgetl_runtime.board.table import BOARDS, BoardRow
from edgetl_runtime.board.tree import Tree

__all__ = ["Identity", "fingerprint", "identify"]

# The first is a link to the second, and absolute: a copied tree may hold only one of them.
_FOLDERS = ("proc/device-tree", "sys/firmware/devicetree/base")
_P_NUMBER = re.compile(r"p\d{4}-\d{4}")
# What the kernels of an engine are chosen by: maker, model and instructions of the processor.
_CPU = re.compile(r"^(?:vendor_id|model name|flags|Features|CPU (?:implementer|part|variant))\s*:.*$", re.M)
_SOC = re.compile(r"(tegra\d{3}|bcm\d{4})\b")


@dataclass(frozen=True)
class Identity:
    """What the machine says it is, and which profile of devices/ that makes it.

    `board` is None where a machine that calls itself a Jetson or a Raspberry Pi is in no profile.
    `because` names the file and the words that decided.
    """

    board: Optional[str]
    because: str
    model: Optional[str]
    compatible: Tuple[str, ...]
    p_number: Optional[str]
    soc: Optional[str]

    @property
    def row(self) -> Optional[BoardRow]:
        """The row of BOARDS."""
        return next((row for row in BOARDS if row.id == self.board), None)


def identify(tree: Tree, memory_bytes: Optional[int]) -> Identity:
    """Identify the machine under that root; `memory_bytes` tells boards apart that share a P-number."""
    folder = next((f for f in _FOLDERS if tree.has(f + "/compatible") or tree.has(f + "/model")), _FOLDERS[0])
    model = tree.line(folder + "/model")
    compatible = tree.strings(folder + "/compatible")
    told = [*compatible, *tree.strings(folder + "/nvidia,dtsfilename")]
    numbers = [number for words in told for number in _P_NUMBER.findall(words)]
    soc = next((found[1] for found in map(_SOC.search, compatible) if found), None)
    for number in numbers:
        rows = [row for row in BOARDS if number in row.p_numbers]
        if rows:
            row, also = _by_memory(rows, memory_bytes)
            return Identity(row.id, f"P-number {number} in the device tree{also}", model, compatible, number, soc)
    number = next(iter(numbers), None)
    for words in compatible:
        for row in BOARDS:
            if words in row.compatible:
                return Identity(row.id, f"{words} in the device tree", model, compatible, number, soc)
    if compatible or model:
        said = model or compatible[0]
        if soc is None:
            return Identity("cpu", f"the device tree says {said!r}, no board of its own", model, compatible, None, None)
        return Identity(None, f"the device tree says {said!r}, which no profile has", model, compatible, number, soc)
    return _without_device_tree(tree)


def fingerprint(tree: Tree) -> str:
    """12 characters that differ where an engine may compute otherwise: another model of board, CPU or GPU driver."""
    first = (tree.text("proc/cpuinfo") or "").partition("\n\n")[0]
    model = next(filter(None, (tree.line(folder + "/model") for folder in _FOLDERS)), "")
    told = [model, tree.line("proc/driver/nvidia/version") or "", *_CPU.findall(first)]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]


def _by_memory(rows: List[BoardRow], memory_bytes: Optional[int]) -> Tuple[BoardRow, str]:
    if len(rows) == 1:
        return rows[0], ""
    if memory_bytes is None:
        return rows[0], ", shared by " + " and ".join(row.id for row in rows) + "; the memory could not be read"
    # The kernel keeps some: what it shows is below what is soldered on.
    fitting = [row for row in rows if max(row.memory_mib) * 1024 * 1024 >= memory_bytes] or rows[-1:]
    return min(fitting, key=lambda row: max(row.memory_mib)), f" and {memory_bytes / 2**30:.1f} GiB of memory"


def _without_device_tree(tree: Tree) -> Identity:
    model = tree.line("sys/class/dmi/id/product_name")
    cpu = tree.text("proc/cpuinfo")
    if cpu is None:
        return Identity("cpu", "neither a device tree nor /proc/cpuinfo could be read", model, (), None, None)
    if not re.search(r"^vendor_id\s*:", cpu, re.M):
        return Identity("cpu", "no device tree, and /proc/cpuinfo names no x86 vendor", model, (), None, None)
    if tree.has("proc/driver/nvidia/version"):
        return Identity("x86-cuda", "an x86 CPU and /proc/driver/nvidia", model, (), None, None)
    return Identity("x86-openvino", "an x86 CPU and no NVIDIA driver", model, (), None, None)
