"""The page of a build: is it good, what it was made of, where it errs, what it costs, and how to make it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime.errors import SourceError

from edgetl.building.result import BuildResult
from edgetl.html.page import Section, Table, Text, page
from edgetl.progress import Progress, silent
from edgetl.reporting.backbone_section import backbone_sections
from edgetl.reporting.class_sections import class_sections
from edgetl.reporting.data_section import data_section
from edgetl.reporting.device_section import device_section
from edgetl.reporting.number_sections import number_sections
from edgetl.reporting.origin_sections import content_section, origin_section
from edgetl.reporting.story import Story, tell
from edgetl.reporting.summary import summary
from edgetl.reporting.variant_sections import variant_sections

if TYPE_CHECKING:
    from edgetl.choosing import Ranking
    from edgetl.data import Dataset, TargetDataset

__all__ = ["build_page", "write_report"]


def write_report(
    result: BuildResult,
    dataset: Dataset | TargetDataset | None = None,
    *,
    out: str | Path | None = None,
    tuning: Mapping[str, Any] | None = None,
    ranking: Ranking | None = None,
    commands: Sequence[str] = (),
    progress: Progress = silent,
) -> Path:
    """Write the page of a build, by default beside the bundle, and return its path.

    With the `dataset` it was built from it shows samples, errors, what answers rest on, and what a frame costs here.
    `tuning` is what `edgetl.tuning.record_of` gives, `ranking` what `edgetl.choose` gives, `commands` are shown as the
    way to repeat the build. One file, no script, no network. Raises SourceError, BundleError.
    """
    story = tell(result, dataset, tuning=tuning, ranking=ranking, commands=commands, progress=progress)
    report = Path(out) if out is not None else result.path.with_suffix(".html")
    try:
        report.write_text(build_page(result, story), encoding="utf-8", errors="xmlcharrefreplace")
    except OSError as error:
        raise SourceError(f"the bundle is written, its report {report} is not: {error.strerror or error}") from error
    return report


def build_page(result: BuildResult, story: Story | None = None) -> str:
    """The whole page as one text; nothing in it needs a network.

    Without the `story` (`edgetl.reporting.story.tell`) it says what the result says, and shows no sample.
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
