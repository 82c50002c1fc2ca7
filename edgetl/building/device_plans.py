"""Which precisions a device's profile asks for, in which engine, and what the bundle then tells the device to try.

A wish is what a profile would have; a verdict is what came of it: a way to run the bundle and why, or why not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgetl_runtime.bundle import ANY_DEVICE, EngineChoice

from edgetl.errors import QuantizeError
from edgetl.profiles import DeviceProfile
from edgetl.quantize.recipes import FP16, FP32, INT8, S8S8, U8S8, recipes_of
from edgetl.quantize.speed import host_family

__all__ = ["Verdict", "Wish", "measurable_here", "plans_of", "wishes"]

_MOST_WHY = 1000
# What an engine gains from, and on x86; anything else would be served slower than float32, or is not known to gain.
_GAINS: dict[str, tuple[str, ...]] = {"tensorrt": (FP16.name, S8S8.name)}
_GAINS_ON_X86: dict[str, tuple[str, ...]] = {"openvino": (U8S8.name,), "onnxruntime": (U8S8.name,)}
# What an engine is told: OpenVINO's own choice may be bfloat16, which changes every feature.
_OPTIONS: dict[str, dict[str, Any]] = {"openvino": {"precision": "f32"}}


@dataclass(frozen=True)
class Wish:
    """One way that `device` might run a bundle. `why` is what is recorded for it; `asked` says that a user did.

    `options` are those of the engine.
    """

    device: str
    family: str
    engine: str
    precision: str
    why: str
    asked: bool = False
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What came of a wish: offered or not, and why.

    `speedup` over float32 in the same engine, and `feature_tolerance`, are there where they were measured here.
    """

    wish: Wish
    offered: bool
    why: str
    feature_tolerance: float | None = None
    speedup: float | None = None


def wishes(profiles: Sequence[DeviceProfile], precisions: Sequence[str] | None = None) -> tuple[Wish, ...]:
    """What the profiles ask for, a device after the other, best first; float32 is always among it.

    `precisions` (names of `edgetl.quantize.PRECISIONS`, or "int8") takes the place of those of the profiles; they
    say the order even then. Raises QuantizeError for a name that there is not, or precisions for no device.
    """
    if precisions is not None and not profiles:
        raise QuantizeError("precisions are chosen for devices: name them too, devices=['x86-openvino']")
    asked = None if precisions is None else {row for name in precisions for row in recipes_of(name)}
    found: list[Wish] = []
    for profile in profiles:
        listed = profile.precisions.value
        for engine in profile.engines.value:
            gains = _gains(engine, profile)
            for precision in listed:
                if precision == FP32.name or (precision in gains and (asked is None or precision in asked)):
                    found += _ways(profile, engine, precision, profile.precisions.why)
        found += _unlisted(profile, precisions or ())
    return tuple(found)


def measurable_here(wish: Wish) -> bool:
    """Whether the speed of that wish can be measured on this host: the same kind of processor, no accelerator."""
    family = "x86" if wish.family == "x86" else "arm"
    cpu = wish.options.get("provider", "cpu") == "cpu"
    return wish.engine in ("onnxruntime", "openvino") and cpu and family == host_family()


def plans_of(verdicts: Iterable[Verdict]) -> dict[str, tuple[EngineChoice, ...]]:
    """The plans of a bundle: for each device what is offered to it, in order, and float32 for any other device."""
    plans: dict[str, tuple[EngineChoice, ...]] = {
        ANY_DEVICE: (
            EngineChoice(FP32.name, "onnxruntime", "float32 runs everywhere"),
            EngineChoice(FP32.name, "openvino", "where onnxruntime is missing", dict(_OPTIONS["openvino"])),
        )
    }
    for verdict in verdicts:
        if verdict.offered:
            wish = verdict.wish
            choice = EngineChoice(
                wish.precision, wish.engine, _plain(verdict.why), dict(wish.options), verdict.feature_tolerance
            )
            others = plans.get(wish.device, ())
            plans[wish.device] = (choice, *others) if wish.asked and verdict.speedup else (*others, choice)
    return plans


def _ways(profile: DeviceProfile, engine: str, precision: str, why: str, asked: bool = False) -> list[Wish]:
    def wish(**options: Any) -> Wish:
        told = {**_OPTIONS.get(engine, {}), **options}
        return Wish(profile.id, profile.family, engine, precision, why, asked, told)

    # A board that has TensorRT has CUDA, which an onnxruntime for it may offer; it comes before the processor.
    if engine == "onnxruntime" and "tensorrt" in profile.engines.value and precision == FP32.name:
        return [wish(provider="cuda"), wish()]
    return [wish()]


def _gains(engine: str, profile: DeviceProfile) -> tuple[str, ...]:
    if engine in _GAINS:
        return _GAINS[engine]
    return _GAINS_ON_X86.get(engine, ()) if profile.family == "x86" else ()


def _unlisted(profile: DeviceProfile, precisions: Sequence[str]) -> list[Wish]:
    """What a user asks for beyond a profile: tried last, unless it is found faster here."""
    why = "asked for; whether it is faster than float32 on such a board is not known, so float32 comes first"
    found: list[Wish] = []
    for name in precisions:
        rows = recipes_of(name)
        if not {*rows} & {*profile.precisions.value, FP32.name}:
            row = S8S8.name if name == INT8 and profile.family != "x86" else rows[-1]
            found += _ways(profile, profile.engines.value[0], row, why, asked=True)
    return found


def _plain(text: str) -> str:
    """As a manifest takes it."""
    return "".join(c if c.isprintable() else " " for c in text)[:_MOST_WHY]
