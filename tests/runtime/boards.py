"""Files of real boards, as their owners have published them, to be laid out under a root."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Tuple

Files = Dict[str, bytes]

MODEL, COMPATIBLE = "proc/device-tree/model", "proc/device-tree/compatible"
RELEASE, MODES, MODE = "etc/nv_tegra_release", "etc/nvpmodel.conf", "var/lib/nvpmodel/status"


def lay_out(root: Path, files: Files) -> Path:
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


def machine(memory_kb: int, cores: int, online: str = "") -> Files:
    last = cores - 1
    return {
        "proc/meminfo": f"MemTotal: {memory_kb} kB\nMemFree: 99 kB\nMemAvailable: {memory_kb // 2} kB\n".encode(),
        "sys/devices/system/cpu/present": f"0-{last}\n".encode(),
        "sys/devices/system/cpu/online": (online or f"0-{last}").encode() + b"\n",
        "proc/cpuinfo": b"".join(b"processor\t: %d\nCPU implementer\t: 0x41\n\n" % i for i in range(cores)),
    }


def zone(number: int, name: str, temp: str, *trips: Tuple[str, int]) -> Files:
    folder = f"sys/class/thermal/thermal_zone{number}"
    files = {f"{folder}/type": name.encode() + b"\n", f"{folder}/temp": temp.encode() + b"\n"}
    for i, (kind, celsius) in enumerate(trips):
        files[f"{folder}/trip_point_{i}_type"] = kind.encode() + b"\n"
        files[f"{folder}/trip_point_{i}_temp"] = f"{celsius * 1000}\n".encode()
    return files


def device_tree(model: str, *compatible: str) -> Files:
    return {MODEL: model.encode() + b"\0", COMPATIBLE: b"".join(words.encode() + b"\0" for words in compatible)}


def release(major: int, revision: str, date: str) -> Files:
    first = f"# R{major} (release), REVISION: {revision}, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: {date}\n"
    return {RELEASE: first.encode() + b"# KERNEL_VARIANT: oot\nTARGET_USERSPACE_LIB_DIR=nvidia\n"}


def power(default: int, status: str, *names: str) -> Files:
    text = "# power models\n< PARAM TYPE=FILE NAME=CPU_ONLINE >\nCORE_0 /sys/devices/system/cpu/cpu0/online\n"
    for i, name in enumerate(names):
        text += f"\n< POWER_MODEL ID={i} NAME={name} >\nCPU_ONLINE CORE_0 1\nGPU MIN_FREQ 0\nGPU MAX_FREQ -1\n"
    return {MODES: f"{text}\n< PM_CONFIG DEFAULT={default} >\n".encode(), MODE: status.encode() + b"\n"}


ORIN_NANO: Files = {
    **device_tree(
        "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
        "nvidia,p3768-0000+p3767-0005-super", "nvidia,p3767-0005", "nvidia,tegra234",
    ),
    **release(36, "4.3", "Wed Jan  8 01:51:37 UTC 2025"),
    **power(1, "pmode:0002", "15W", "25W", "MAXN_SUPER", "7W"),
    **machine(7650336, 6),
    **zone(0, "cpu-thermal", "52343", ("passive", 99), ("critical", 104), ("active", 50)),
    **zone(1, "gpu-thermal", "51125", ("passive", 99), ("critical", 104)),
    **zone(10, "tj-thermal", "52343", ("hot", 70)),
}  # fmt: skip

AGX_ORIN: Files = {
    **device_tree(
        "NVIDIA Jetson AGX Orin Developer Kit",
        "nvidia,p3737-0000+p3701-0000", "nvidia,p3701-0000", "nvidia,tegra234",
    ),
    **release(35, "2.1", "Sun Jan 22 03:18:23 UTC 2023"),
    **power(2, "pmode:0002", "MAXN", "MODE_15W", "MODE_30W", "MODE_50W"),
    **machine(31299608, 12, "0-7"),
    **zone(0, "CPU-therm", "44000", ("critical", 104)),
}  # fmt: skip

XAVIER_NX: Files = {
    **device_tree("NVIDIA Jetson Xavier NX Developer Kit", "nvidia,p3509-0000+p3668-0000", "nvidia,tegra194"),
    **release(35, "4.1", "Tue Aug  1 19:57:35 UTC 2023"),
    **power(
        5, "pmode:0008 fmode:quiet", "MODE_15W_2CORE", "MODE_15W_4CORE", "MODE_15W_6CORE", "MODE_10W_2CORE",
        "MODE_10W_4CORE", "MODE_10W_DESKTOP", "MODE_20W_2CORE", "MODE_20W_4CORE", "MODE_20W_6CORE",
    ),
    **machine(7024032, 6),
    **zone(0, "CPU-therm", "90800", ("passive", 90), ("critical", 96)),
}  # fmt: skip

THOR: Files = {
    **device_tree(
        "NVIDIA Jetson AGX Thor Developer Kit", "nvidia,p4071-0000+p3834-0008", "nvidia,p3834-0008", "nvidia,tegra264"
    ),
    **release(38, "2.0", "Fri Aug 22 00:55:42 UTC 2025"),
    **power(1, "pmode:0001", "MAXN", "120W", "90W", "70W"),
    **machine(128825804, 14),
    **zone(0, "cpu-thermal", "40000", ("critical", 114)),
}

NANO: Files = {
    **device_tree(
        "NVIDIA Jetson Nano Developer Kit",
        "nvidia,p3449-0000-b00+p3448-0000-b00", "nvidia,jetson-nano", "nvidia,tegra210",
    ),
    **release(32, "7.2", "Wed Apr 20 21:34:48 UTC 2022"),
    **power(0, "pmode:0000", "MAXN", "5W"),
    **machine(4059292, 4),
    **zone(0, "AO-therm", "41500"),
}  # fmt: skip

RASPBERRY_PI_5: Files = {
    **device_tree("Raspberry Pi 5 Model B Rev 1.0", "raspberrypi,5-model-b", "brcm,bcm2712"),
    **machine(8254672, 4),
    **zone(0, "cpu-thermal", "48500", ("critical", 110)),
}

X86: Files = {
    **machine(16318480, 8),
    "proc/cpuinfo": b"processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Core(TM) i7\n\n",
    "sys/class/dmi/id/product_name": b"NUC11PAHi7\n",
    **zone(0, "acpitz", "27800", ("critical", 119)),
    **zone(1, "x86_pkg_temp", "41000"),
}

BOARDS: Dict[str, Files] = {
    "orin nano": ORIN_NANO, "agx orin": AGX_ORIN, "xavier nx": XAVIER_NX, "thor": THOR, "nano": NANO,
    "raspberry pi 5": RASPBERRY_PI_5, "x86": X86,
}  # fmt: skip
