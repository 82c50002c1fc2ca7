"""What other commands left for the page: the record of a fine-tuning beside its weights, and a choice as JSON."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from edgetl_runtime.errors import SourceError

from edgetl.choosing.page import ranking_table
from edgetl.choosing.ranking import Candidate, Ranking
from edgetl.reporting.backbone_section import tuning_parts
from edgetl.reporting.origin_sections import typed_command
from edgetl.reporting.summary import transfer_warnings

__all__ = ["read_choice", "tuning_beside"]

logger = logging.getLogger(__name__)

_FORMAT = 1
_OF_ANOTHER_KIND = (OSError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
_FIGURES = ("loo", "log_evidence", "latency_ms")  # NaN where a backbone could not be judged


def tuning_beside(weights: str | Path | None) -> Mapping[str, Any] | None:
    """The record of the run that made these weights (`edgetl.tuning` says what is in it), where it lies beside them.

    None where there is none; one that does not read, or belongs to other weights, is logged and left.
    """
    from edgetl.tuning import record_path

    if weights is None or not Path(weights).is_file() or not record_path(weights).is_file():
        return None
    path = record_path(weights)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        made, form = record["weights"]["sha256"], record["format"]
        gains, curves = tuning_parts(record)  # all drawn once before minutes of work
        for part in (*gains, *curves):
            part.html()
        typed_command(record), transfer_warnings(record)
    except _OF_ANOTHER_KIND as error:
        logger.warning("%s is not the record of a fine-tuning, and is left out of the report: %s", path, error)
        return None
    if form != _FORMAT or made != hashlib.sha256(Path(weights).read_bytes()).hexdigest():
        logger.warning("%s is of other weights or another version of edgetl; it is left out of the report", path)
        return None
    result: Mapping[str, Any] = record
    return result


def read_choice(path: str | Path) -> Ranking:
    """What `edgetl choose --json` printed; raises SourceError."""
    try:
        plain = json.loads(Path(path).read_text(encoding="utf-8"))
        candidates = tuple(_candidate(row) for row in plain["candidates"])
        ranking = Ranking(str(plain["dataset"]), int(plain["samples"]), bool(plain["numbers"]), candidates)
        ranking_table(ranking, "").html()  # drawn once before minutes of work
        return ranking
    except _OF_ANOTHER_KIND as error:
        raise SourceError(
            f"{path} is not what `edgetl choose --json` prints ({error}); write it: edgetl choose ... --json > {path}"
        ) from error


def _candidate(row: Mapping[str, Any]) -> Candidate:
    """A row as it was printed: no number is null, and tuples are lists."""
    known = {one.name for one in fields(Candidate)}
    plain: dict[str, Any] = {key: value for key, value in row.items() if key in known}
    plain |= {key: float("nan") for key in _FIGURES if plain.get(key) is None}
    plain |= {"size": tuple(row["size"]), "fits": tuple((str(device), bool(fits)) for device, fits in row["fits"])}
    return Candidate(**plain)
