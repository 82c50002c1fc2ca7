"""Latency and memory: what was measured on this machine, and what the profile of each board says, with its source."""

from __future__ import annotations

from edgetl.building.result import BuildResult
from edgetl.errors import ProfileError
from edgetl.html.charts import Bar, Bars
from edgetl.html.page import Columns, Part, Section, Table, Text
from edgetl.profiles import DeviceProfile, load_profile
from edgetl.quantize.recipes import S8S8
from edgetl.quantize.speed import host_family
from edgetl.reporting.costs import Costs
from edgetl.reporting.story import Story

__all__ = ["device_section"]

_TOLD = {
    "memory_mib": "memory, MiB", "memory_gb_s": "memory bandwidth, GB/s", "power_w": "power, W", "cpu_cores": "cores",
}  # fmt: skip


def device_section(result: BuildResult, story: Story) -> Section:
    """No figure of a board is computed from one of this machine: there is none."""
    parts: list[Part] = []
    if story.costs is not None:
        parts += _here(story.costs)
    else:
        parts.append(Text(["Nothing was measured: the samples were not at hand when this page was written."]))
    targets = story.manifest.targets if story.manifest is not None else ()
    for target in targets:
        try:
            profile = load_profile(target)
        except ProfileError:
            continue
        parts.append(_board(profile, story.costs))
    if not targets:
        parts.append(Text(["The build was for no board in particular (--device; edgetl devices lists them)."]))
    lead = "Measured on this machine and nowhere else; how fast it is on a board, edgetl-runtime bench says there."
    return Section("Latency and memory", lead, parts)


def _here(costs: Costs) -> list[Part]:
    first = costs.variants[0]
    rows: list[list[str | float | int]] = []
    for one in costs.variants:
        if one.error:
            rows.append([one.variant, one.error, "", ""])
            continue
        rows.append(
            [
                one.variant, f"{one.latency_ms:.3g}", f"{one.latency_ms / first.latency_ms:.2f}",
                f"{one.peak_bytes / 2**20:.0f}",
            ]
        )  # fmt: skip
    columns = ["variant", "extractor, ms", "times float32's", "peak memory, MiB"]
    caption = f"This machine: {costs.machine}. Medians in turns, batch 1; memory of a process that only runs the graph."
    if any(one.variant == S8S8.name for one in costs.variants) and host_family() == "x86":
        caption += f" {S8S8.name} is the INT8 of TensorRT, and slow on this kind of processor."
    steps = [Bar(name, value, f"{value:.3g} ms") for name, value in costs.steps.items()]
    return [Columns([Table(caption, columns, rows), Bars("One frame in float32, by step.", steps)])]


def _board(profile: DeviceProfile, costs: Costs | None) -> Part:
    rows: list[list[str | float | int]] = []
    for name, words in _TOLD.items():
        figure = profile.figures().get(name)
        if figure is not None:
            value = " to ".join(map(str, figure.value)) if isinstance(figure.value, tuple) else str(figure.value)
            rows.append([words, value, f"{figure.verified}: {figure.source}"])
    budget = profile.memory_bytes
    fits = ""
    if costs is not None and costs.variants[0].peak_bytes:
        least = min(one.peak_bytes for one in costs.variants if not one.error)
        fits = f"; the process here took {least / 2**20:.0f} MiB, {'within it' if least <= budget.value else 'MORE'}"
    rows.append(["memory budget, MiB", f"{budget.value / 2**20:.0f}", f"our choice, {budget.why}{fits}"])
    engines = profile.engines
    measured = "measured on such a board" if engines.measured else "not measured"
    rows.append(["engines to try", ", ".join(engines.value), f"our choice, {measured}: {engines.why}"])
    here = profile.family == host_family()
    rows.append(
        ["latency", "above", "this machine is of that kind; yours may be faster or slower"]
        if here
        else ["latency", "not measured", "no such board was here"]
    )
    return Table(f"{profile.name} ({profile.id}): what its profile says.", ["what", "value", "source"], rows)
