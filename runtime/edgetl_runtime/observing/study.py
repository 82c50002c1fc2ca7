"""A recorded stream gone through again: what the drift tests saw, what each adapter would have done, what the guard
decided. Nothing of it is learnt or stored."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.bundle.members import HeadMember
from edgetl_runtime.drift import DETECTORS, KINDS
from edgetl_runtime.errors import SourceError
from edgetl_runtime.guard import Guard, Trial
from edgetl_runtime.learner import Fitted
from edgetl_runtime.observing.contenders import Contenders
from edgetl_runtime.observing.looking import GuardSamples, base_reference, diagnosed, offers
from edgetl_runtime.observing.policy import ObservePolicy
from edgetl_runtime.observing.seen import Seen

__all__ = ["rehearsed"]

_LEAST = 40


def rehearsed(
    features: NDArray[np.float32], stamps_s: Sequence[float], labels: Optional[Sequence[Optional[str]]],
    member: HeadMember, source: Optional[GuardSamples], live: Fitted, factory: Fitted, policy: ObservePolicy,
    guard_policy: str, judge_every: int = 5,
) -> Dict[str, Any]:  # fmt: skip
    """Go through features (N, D) with stamps (N) as a session would have, from the head `live` on; plain data.

    Every `policy.look_every` samples the newest are diagnosed and adapters made. Each adapter is then tried on the
    *next* part, which it has not seen: the share of its answers that differ from those of `live`, and where there are
    `labels` how many are right. Every `judge_every`-th label judges, and teaches nothing. Raises SourceError.
    """
    if len(features) < _LEAST:
        raise SourceError(f"{len(features)} samples say nothing of a drift; at least {_LEAST} are needed")
    reference = base_reference(live, member, source)
    if reference is None:
        raise SourceError("the bundle has no guard set to compare with; build it with held-out samples")
    names: List[Optional[str]] = [None] * len(features) if labels is None else list(labels)
    seen, contenders = Seen(len(features[0]), policy), Contenders(guard_policy, member.source)
    champion, follows, watch = live, None, _Watch(guard_policy)
    steps: List[Dict[str, Any]] = []
    decisions: List[Dict[str, Any]] = []
    start = 0
    while start < len(features):
        part = slice(start, min(len(features), start + policy.look_every))
        block, truth = features[part], names[part]
        tried = _tried(block, truth, live, champion, contenders.fitted())
        for place, label in enumerate(truth):
            if label is None or (start + place) % judge_every:
                continue
            row = block[place : place + 1]
            if follows is not None and watch.worse(row, label, champion, live):
                follows, champion = None, live
                decisions.append(_decision(start + place, stamps_s, "roll back", "", "it turned out worse than before"))
                contenders.forget()
            heard = contenders.try_out(row, [label], champion, factory)
            contenders.add(heard)
            found = contenders.verdict()
            if found is not None and found[1].decision == "promote":
                follows, champion = found[0], contenders.offer(found[0]).fitted
                decisions.append(_decision(start + place, stamps_s, "promote", found[0], found[1].reason))
                contenders.forget()
                watch = _Watch(guard_policy)
        for row, stamp in zip(block, stamps_s[part]):
            seen.add(row, float(stamp))
        window = seen.window()
        diagnosis, first = diagnosed(reference, window.features)
        if not steps or steps[-1]["kind"] != diagnosis.kind:
            decisions.append(_decision(part.stop - 1, stamps_s, diagnosis.kind, "", diagnosis.why))
        made = offers(diagnosis, live, reference, member, window.features[first:], None, [])
        contenders.put(made)
        steps.append(
            {
                "samples": part.stop, "stamp_s": float(stamps_s[part.stop - 1]), "kind": diagnosis.kind,
                "why": diagnosis.why, "independent": diagnosis.independent, "newest": len(window) - first,
                "tests": {
                    name: diagnosis.outcomes[name].p_value for name in DETECTORS if name in diagnosis.outcomes
                },
                "follows": follows, "refused": dict(made.refused), **tried,
            }
        )  # fmt: skip
        start = part.stop
    last = contenders.verdict()
    return {
        "samples": len(features), "labelled": sum(name is not None for name in names), "judge_every": judge_every,
        "kind": steps[-1]["kind"], "words": KINDS[steps[-1]["kind"]], "why": steps[-1]["why"], "follows": follows,
        "challengers": contenders.facts(), "refused": steps[-1]["refused"],
        "verdict": None if last is None else {"decision": last[1].decision, "reason": last[1].reason},
        "steps": steps, "decisions": decisions,
    }  # fmt: skip


class _Watch:
    """The guard of a session over what was promoted, which goes back to the head before when that proves better."""

    def __init__(self, policy: str) -> None:
        self._guard = Guard(policy)
        self._guard.promoted()

    def worse(self, row: NDArray[np.float32], label: str, champion: Fitted, before: Fitted) -> bool:
        new, old = (float(fitted.losses(row, [label])[0]) for fitted in (champion, before))
        self._guard.add([Trial(label, new, new, old, previous=old)])
        return self._guard.judge().decision == "roll back"


def _tried(
    block: NDArray[np.float32], truth: Sequence[Optional[str]], live: Fitted, champion: Fitted,
    others: Dict[str, Fitted],
) -> Dict[str, Any]:  # fmt: skip
    """Shares of one part: of answers unlike the live head's, and where there are labels of right ones."""
    heads: List[Tuple[str, Fitted]] = [("live", live), ("guard", champion), *others.items()]
    known = [place for place, name in enumerate(truth) if name is not None]
    base = live.head.predict(block)
    changes, right = {}, {}
    for name, fitted in heads:
        said = fitted.head.predict(block)
        changes[name] = float(np.mean(said != base))
        if known:
            right[name] = float(np.mean([said[place] == truth[place] for place in known]))
    return {"changes": changes, "right": right, "labels": len(known)}


def _decision(place: int, stamps_s: Sequence[float], decision: str, adapter: str, reason: str) -> Dict[str, Any]:
    return {
        "samples": place + 1, "stamp_s": float(stamps_s[place]), "decision": decision, "adapter": adapter,
        "reason": reason,
    }  # fmt: skip
