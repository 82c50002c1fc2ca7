"""`edgetl.write_report`: the page of a build, beside its bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime.errors import SourceError

from edgetl.build_page import build_page
from edgetl.build_result import BuildResult
from edgetl.progress import Progress, silent
from edgetl.reporting.story import tell

if TYPE_CHECKING:
    from edgetl.choosing import Ranking
    from edgetl.data import Dataset, TargetDataset

__all__ = ["write_report"]


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
        report.write_text(build_page(result, story), encoding="utf-8")
    except OSError as error:
        raise SourceError(f"the bundle is written, its report {report} is not: {error.strerror or error}") from error
    return report
