"""What the data is: counts a class, the split, sizes, hashes, and some samples of each class."""

from __future__ import annotations

from edgetl.building.result import BuildResult
from edgetl.html.page import Folded, Part, Section, Table
from edgetl.html.pictures import ContactSheet, Strip, Strips, Tile
from edgetl.reporting.story import Story

__all__ = ["data_section"]

_OPEN = 24


def data_section(result: BuildResult, story: Story) -> Section:
    """Facts in a table, then a strip of pictures a class."""
    source = (story.manifest.provenance if story.manifest else {}).get("dataset", {})
    facts: list[list[str | float | int]] = []
    for what, value in (
        ("name", source.get("name", "")),
        ("samples", f"{result.training_samples} to train, {result.held_out_samples} held out"),
        ("split", story.split),
        ("what they are", story.shape),
        ("skipped", ", ".join(f"{count} {reason}" for reason, count in result.skipped.items()) or "none"),
        ("hash over labels and bytes", source.get("hash", "")),
    ):
        if value:
            facts.append([what, str(value)])
    parts: list[Part] = [Table("The hash is the same for the same samples in any order.", ["what", "value"], facts)]
    strips = [
        Strip(one.name, f"{one.training} + {one.held_out} held out", one.images)
        for one in sorted(story.strips, key=lambda one: (-(one.training + one.held_out), one.name))
    ]
    if strips:
        caption = "How many samples each class has to train on and held out, the commonest first; some of the former."
        parts.append(Strips(caption, strips[:_OPEN]))
        if len(strips) > _OPEN:
            rest = Strips("The rarer classes.", strips[_OPEN:])
            parts.append(Folded(f"{len(strips) - _OPEN} more classes", [rest]))
    if story.ladder:
        name = result.outputs[0].name if result.outputs else "value"
        ladder = [Tile(image, f"{value:.3g}", ()) for value, image in story.ladder]
        parts.append(ContactSheet(f"Training samples from the least to the greatest {name}.", [ladder]))
    return Section("The data", "", parts)
