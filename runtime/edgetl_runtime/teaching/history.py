"""What happened to a device's head, in words that a field engineer understands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Tuple

from edgetl_runtime.store import Event, Store

__all__ = ["KINDS", "HistoryEntry", "recovery", "told"]

KINDS = (
    "install", "promote", "reversal", "rollback", "forget", "merge", "verdict", "quota", "recovered", "state_corrupt",
    "drift", "journal", "state_missing", "update", "confirmed", "reverted", "discarded",
    "switched", "extracted",
)  # fmt: skip

_MOVES = ("promote", "reversal", "rollback", "forget", "recovered", "update", "reverted", "discarded")


@dataclass(frozen=True)
class HistoryEntry:
    """One thing that happened: `generation` was live after it, `words` say it, `evidence` is the guard's, as data."""

    generation: int
    kind: str
    wall_s: float
    words: str
    evidence: Dict[str, Any] = field(default_factory=dict)


def told(store: Store, newest: int = 100) -> List[HistoryEntry]:
    """The newest entries of the history, oldest first."""
    return [_entry(event) for event in store.facts.events(KINDS, newest)]


def recovery(store: Store) -> Optional[str]:
    """Why another head serves than should, when nothing has moved it since; None when all is well."""
    last = store.facts.events(_MOVES, newest=1)
    return str(last[0].detail.get("reason", "")) if last and last[0].kind == "recovered" else None


def _entry(event: Event) -> HistoryEntry:
    """An entry carries no hash, as nothing is decided by it: one that is damaged says so, and hides no other."""
    try:
        verdict = event.detail.get("verdict")
        evidence = dict(verdict.get("evidence", {})) if isinstance(verdict, dict) else {}
        return HistoryEntry(event.generation, event.kind, event.wall_s, _words(event), evidence)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        words = f"{event.kind}, {_named(event.generation)} is live; the rest of this entry is damaged"
        return HistoryEntry(event.generation, event.kind, event.wall_s, words)


def _words(event: Event) -> str:
    detail = event.detail
    live = _named(event.generation)
    if event.kind == "drift":
        return f"{_SHIFTS.get(str(detail.get('shift')), detail.get('shift'))}: {detail.get('why', '')}; {live} stays"
    if event.kind == "promote" and "adapter" in detail:
        made = f"{detail['adapter']} of {_samples(detail.get('unlabelled', '?'))} without labels"
        return f"{live} went live: it follows {detail.get('shift')}, made by {made}. {_reasoned(detail)}"
    if event.kind == "promote":
        known = f"it learnt from {_samples(detail.get('samples', '?'))} here"
        return f"{live} went live: {known}. {_reasoned(detail)}{_kept(detail)}"
    if event.kind == "reversal":
        return f"went back from {_named(detail.get('from'))} to {live}, by itself. {_reasoned(detail)}"
    if event.kind == "rollback":
        return f"went back from {_named(detail.get('from'))} to {live}, because a person said so"
    if event.kind == "verdict":
        return f"{live} stays. {_reasoned(detail)}"
    if event.kind == "forget":
        gone = detail.get("generations_removed") or []
        also = f"; generations that knew them are gone: {', '.join(map(str, gone))}" if gone else ""
        return f"forgot {_what(detail)}: {_samples(detail.get('count', '?'))}{also}; {live} is live"
    if event.kind == "merge":
        return f"made of the states of {len(detail.get('samples', {}))} devices"
    if event.kind == "quota":
        gone = ", ".join(f"{count} {_QUOTA.get(kind, kind)}" for kind, count in detail.get("gone", {}).items())
        return f"the quota made room: {gone}"
    if event.kind == "recovered":
        return f"recovered at a start: {detail.get('reason', '')}"
    if event.kind == "update":
        return f"{live} went live: what was learnt, fitted again on the head of bundle {_short(detail.get('bundle'))}"
    if event.kind == "confirmed":
        return f"bundle {_short(detail.get('bundle'))} (sequence {detail.get('sequence')}) gave its first answer"
    if event.kind == "reverted":
        return f"went back to bundle {_short(detail.get('bundle'))}: {detail.get('reason', '')}"
    if event.kind == "discarded":
        return f"{detail.get('what', '')} were given up for a bundle with other features, because a person said so"
    if event.kind == "switched":
        return f"bundle {_short(detail.get('bundle'))} came into use, in place of {_short(detail.get('left'))}"
    if event.kind == "extracted":
        taken = _samples(detail.get("samples", "?"))
        return f"{taken}, kept with bundle {_short(detail.get('left'))}, were learnt again with this extractor"
    if event.kind == "journal":
        return (
            f"the last {detail.get('frames', '?')} pages of the journal could not be read at a start: a change that was"
            " cut off before it was acknowledged, or damage; look whether the newest samples are there"
        )
    if event.kind == "state_missing":
        return "the state file was gone at a start, though a bundle was installed; nothing of what was learnt is left"
    if event.kind == "state_corrupt":
        saved = _samples(detail.get("saved"))
        return f"the state file was damaged and is kept as {detail.get('kept_as')}; saved {saved}"
    return f"installed {detail.get('name', '')} ({str(detail.get('bundle', ''))[:12]}) in {detail.get('engine', '')}"


_SHIFTS = {
    "none": "the domain is as it was at the host",
    "label shift": "the classes come in other frequencies (label shift)",
    "covariate shift": "the samples look different (covariate shift)",
    "confidence only": "the answers are surer or less sure than they were",
    "new class": "something came that is like nothing known (new class)",
    "sensor fault": "the sensor gives nearly always the same (sensor fault)",
}
_QUOTA = {"events": "old events", "folded": "old samples summed up", "generations": "old generations"}


def _samples(count: Any) -> str:
    return "1 sample" if count == 1 else f"{count} samples"


def _short(identity: Any) -> str:
    return str(identity)[:12]


def _named(number: Any) -> str:
    return "the factory head" if number == 0 else f"generation {number}"


def _what(detail: Mapping[str, Any]) -> str:
    for key, name in (("id", "sample"), ("label", "label"), ("source", "source")):
        if key in detail:
            return f"{name} {detail[key]}"
    return "something"


def _kept(detail: Mapping[str, Any]) -> str:
    share = detail.get("share")
    if isinstance(share, float):
        return f". It went {100 * share:.0f} % of the way from the factory head to what was learnt"
    return ". The factory head goes on answering what looks like its own samples" if detail.get("anchored") else ""


def _reasoned(detail: Mapping[str, Any]) -> str:
    """The guard's reason, and what the source classes gain or suffer."""
    verdict = detail.get("verdict")
    if not isinstance(verdict, dict):
        return ""
    return ". ".join(part for part in (str(verdict.get("reason", "")), *_on_source(verdict)) if part)


def _on_source(verdict: Mapping[str, Any]) -> List[str]:
    check = verdict.get("evidence", {}).get("source")
    if not isinstance(check, dict) or not sum(check.get("counts", [])):
        return []
    total = sum(check["counts"])
    right = {
        name: sum(n * (1.0 - loss) for n, loss in zip(check["counts"], check[name]))
        for name in ("factory", "champion", "challenger")
    }
    if check.get("classes") == ["numbers"]:
        now, before, first = (sum(check[name]) for name in ("challenger", "champion", "factory"))
        return [
            f"on {total} samples of the source the squared error, in variances, is {now:.3g} with the candidate,"
            f" {before:.3g} with the live head, {first:.3g} with the factory head"
        ]
    words = (
        f"on {total} samples of the source the candidate is right in {round(right['challenger'])}, the live head in"
        f" {round(right['champion'])}, the factory head in {round(right['factory'])}"
    )
    rows: List[Tuple[float, str, int]] = [
        (n * (after - before), str(label), n)
        for label, n, before, after in zip(check["classes"], check["counts"], check["factory"], check["challenger"])
    ]
    worst = max(rows, default=(0.0, "", 0))
    if worst[0] > 0:
        return [words, f"class {worst[1]} suffers most: {round(worst[0])} of {worst[2]} more are wrong"]
    return [words, "no class suffers"]
