"""What a device would have learnt from a stream, and what the guard would have done with it.

`taught` fits the candidates once, as a session does, and keeps what each of them loses on every sample; `judged`
then plays the session: every sample is tried before it teaches, the guard judges, heads go live and back. So a
rule is changed without fitting again: losses are kept under build/guard until the code that made them changes.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from edgetl_runtime.guard import Guard, NearDuplicates, SourceCheck, Trial, source_check, within_spread
from edgetl_runtime.heads import fit_anchored, fit_head

from benchmarks import guard_streams
from benchmarks.guard_streams import HEAD, Stream, Task

CACHE = Path(__file__).resolve().parents[1] / "build" / "guard"
REFIT_SHARE, HELD_SHARE, HELD_AFTER = 0.05, 0.1, 5  # as a session does
_MARK = b"# ---- judging"
CODE = b"".join(
    Path(str(sys.modules[name].__file__)).read_bytes()
    for name in (guard_streams.__name__, "edgetl_runtime.heads.anchored", "edgetl_runtime.heads.slda")
)
CODE += Path(__file__).read_bytes().split(_MARK)[0]


@dataclass(frozen=True)
class Taught:
    """Losses (N + S + O + T) of the factory head, and (V, same) of V candidates, on stream, guard set, old, new domain.

    Candidate v knew the first `fitted_at[v]` samples of the stream less those that were held. `labels` (N) and
    `guard` (S) are numbers of classes, -1 for targets; `answers` (N) is what the factory head said.
    """

    labels: np.ndarray
    answers: np.ndarray
    held: np.ndarray
    repeated: np.ndarray
    fitted_at: np.ndarray
    guard: np.ndarray
    old: np.ndarray
    factory: np.ndarray
    plain: np.ndarray
    anchored: np.ndarray

    def score(self, losses: np.ndarray) -> tuple[float, float]:
        """Accuracy in % on the old and on the new domain; of targets 100 (1 - error in variances)."""
        start = len(self.labels) + len(self.guard)
        old, new = losses[start : start + len(self.old)], losses[start + len(self.old) :]
        return 100.0 - 100.0 * float(old.mean()), 100.0 - 100.0 * float(new.mean())


def cached(make: Callable[[], Taught], *parts: np.ndarray) -> Taught:
    """What `make` returns, kept under a name that follows from the code and the parts."""
    digest = hashlib.sha256(CODE)
    for part in parts:
        digest.update(np.ascontiguousarray(part).tobytes())
    path = CACHE / f"{digest.hexdigest()[:24]}.npz"
    if path.exists():
        with np.load(path, allow_pickle=False) as stored:
            return Taught(**{key: stored[key] for key in stored.files})
    result = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, **vars(result))
    partial.rename(path)
    return result


def taught(task: Task, stream: Stream) -> Taught:
    """Learn the stream sample by sample, with a refit whenever a twentieth came; cached."""
    parts = (stream.x, stream.labels, task.guard.x, task.old.x, task.source.means())
    return cached(lambda: _taught(task, stream), *parts)


def _taught(task: Task, stream: Stream) -> Taught:
    x = np.concatenate([stream.x, task.guard.x, task.old.x, task.new.x])
    truth = np.concatenate([stream.labels, task.guard.y, task.old.y, task.new.y])
    held = held_back(stream.labels, task.generator(9))
    first = task.factory.predict(x)
    fitted_at, plain, anchors = [], [], []
    learnt = task.empty
    for end in fits(held):
        new = np.flatnonzero(~held[:end])[round(learnt.count) :]
        learnt.add(stream.x[new], stream.labels[new])
        head = fit_anchored(task.factory, learnt, task.source, task.guard.x, task.guard.y)
        said = head.learnt.predict(x)
        fitted_at.append(end)
        plain.append(said != truth)
        anchors.append(np.where(head.away(x), said, first) != truth)
    # The candidates are the runtime's own heads.
    assert np.array_equal(fit_head(HEAD, learnt, task.source).predict(x) != truth, plain[-1])
    assert np.array_equal(head.predict(x) != truth, anchors[-1])
    classes = np.array(task.factory.classes)
    return Taught(
        labels=np.searchsorted(classes, stream.labels),
        answers=np.searchsorted(classes, first[: len(held)]),
        held=held,
        repeated=NearDuplicates(within_spread(task.source)).add(stream.x),
        fitted_at=np.array(fitted_at),
        guard=np.searchsorted(classes, task.guard.y),
        old=np.searchsorted(classes, task.old.y),
        factory=first != truth,
        plain=np.array(plain),
        anchored=np.array(anchors),
    )


def fits(held: np.ndarray) -> Iterator[int]:
    """After how many samples of a stream a candidate is fitted."""
    taken = last = 0
    for position, judges_only in enumerate(held.tolist()):
        taken += not judges_only
        if taken > last and taken - last >= max(1.0, REFIT_SHARE * last):
            last = taken
            yield position + 1


def held_back(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """True (N) for the tenth that judges only; a class gives when it has taught five times."""
    drawn = rng.random(len(labels)) < HELD_SHARE
    held, times = np.zeros(len(drawn), bool), dict.fromkeys(labels.tolist(), 0)
    for position, label in enumerate(labels.tolist()):
        held[position] = drawn[position] and times[label] >= HELD_AFTER
        times[label] += not held[position]
    return held


# ---- judging


@dataclass(frozen=True)
class Outcome:
    """Score (old, new) in % of the head that is live at the end, the lowest of all that were live, what was done.

    `first` is the number of labels after which a learnt head went live; None when none did. `stream` is how many
    more in 100 of the labels after that the live heads gave than the factory head, each before it had taught.
    """

    end: tuple[float, float]
    lowest: tuple[float, float]
    first: int | None
    promoted: int
    rolled_back: int
    stream: float


def judged(run: Taught, candidates: np.ndarray, scale: float = 1.0) -> Outcome:
    """Play a session with those candidates (V, ...): try, teach, judge, swap."""
    n = len(run.labels)
    on_guard = slice(n, n + len(run.guard))
    guard = Guard("guarded", scale)
    live, before = run.factory, None
    scores, first, promoted, rolled_back, ahead = [run.score(live)], None, 0, 0, 0.0
    checks: dict[tuple[int, int], SourceCheck] = {}
    for position, (tried, candidate) in enumerate(_newest(run, candidates)):
        label = int(run.labels[position])
        ahead += min(float(run.factory[position]), scale) - min(float(live[position]), scale)
        guard.add([
            Trial(
                None if label < 0 else label,
                *(float(losses[position]) for losses in (live, tried, run.factory)),
                previous=None if before is None or not guard.on_trial else float(before[position]),
                answer=None if label < 0 else int(run.answers[position]),
                held=bool(run.held[position]),
                weight=1.0 - float(run.repeated[position]),
            )
        ])  # fmt: skip
        key = (id(live), id(candidate))
        if key not in checks:
            losses = (np.minimum(heads[on_guard], scale) for heads in (live, candidate, run.factory))
            checks[key] = source_check(run.guard.tolist(), *losses)
        verdict = guard.judge(checks[key])
        if verdict.decision == "promote" and candidate is not live:
            live, before = candidate, live
            guard.promoted()
            promoted, first = promoted + 1, first or position + 1
            scores.append(run.score(live))
        elif verdict.decision == "roll back":
            live, before = (before if verdict.target == "previous" and before is not None else run.factory), None
            guard.rolled_back()
            rolled_back += 1
            scores.append(run.score(live))
    low = np.min(scores, axis=0)
    stream = 100.0 * ahead / max(1, len(run.labels) - (first or 0))
    return Outcome(scores[-1], (float(low[0]), float(low[1])), first, promoted, rolled_back, stream)


def _newest(run: Taught, candidates: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each sample the candidate that it is tried on, and the candidate once it has taught."""
    rows = [run.factory, *candidates]
    version = 0
    for position in range(len(run.labels)):
        tried = rows[version]
        if version < len(run.fitted_at) and run.fitted_at[version] == position + 1:
            version += 1
        yield tried, rows[version]
