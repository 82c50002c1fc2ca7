"""The page of a build: is it good, what it was made of, where it errs, what it costs, and how to make it again."""

from __future__ import annotations

from edgetl.build_result import BuildResult
from edgetl.report import Section, Table, Text, page
from edgetl.reporting.backbone_section import backbone_sections
from edgetl.reporting.class_sections import class_sections
from edgetl.reporting.data_section import data_section
from edgetl.reporting.device_section import device_section
from edgetl.reporting.number_sections import number_sections
from edgetl.reporting.origin_sections import content_section, origin_section
from edgetl.reporting.story import Story
from edgetl.reporting.summary import summary
from edgetl.variants_page import variant_sections

__all__ = ["build_page"]


def build_page(result: BuildResult, story: Story | None = None) -> str:
    """The whole page as one text; nothing in it needs a network.

    Without the `story` (`edgetl.reporting.tell`) it says what the result says, and shows no sample.
    """
    known = story or Story()
    sections = [summary(result, known), data_section(result, known), *backbone_sections(result, known)]
    if result.output_errors:
        sections += number_sections(result, known)
    elif result.held_out_samples:
        sections += class_sections(result, known)
    else:
        sections.append(Section("How well it does", "", [Text(["Nothing was held out, so nothing was measured."])]))
    sections += [_parity(result), *variant_sections(result), device_section(result, known)]
    sections += [content_section(result, known), origin_section(result, known)]
    return page(
        f"The bundle {result.path.name}",
        f"{_said(result)} from {result.training_samples} training samples, {result.dim} features.",
        sections,
        f"Written by edgetl build beside {result.path.name}; nothing in it needs a network.",
        contents=True,
    )


def _said(result: BuildResult) -> str:
    names = ", ".join(output.name for output in result.outputs)
    return f"The numbers {names}" if result.outputs else f"{len(result.classes)} classes"


def _parity(result: BuildResult) -> Section:
    parity = result.parity
    return Section(
        "Parity",
        f"{parity.samples} samples through the framework the network comes from and through the exported graph.",
        [
            Table(
                "Features and decisions",
                ["what", "value"],
                [
                    ["largest difference of a feature", f"{parity.max_abs:.2e}"],
                    ["the same, of the largest feature", f"{parity.max_rel:.2e}"],
                    ["cosine of the least similar pair", f"{parity.cosine_min:.9f}"],
                    ["decisions that agree", f"{100 * result.decisions_agreed:.1f} %"],
                ],
            )
        ],
    )
