"""The golden bundle and what was learnt with it once, for tests that need something real."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sqlite3
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

import numpy as np
from edgetl_runtime.bundle import Bundle, read_bundle, write_bundle
from edgetl_runtime.opening import open_session
from edgetl_runtime.session import Session
from numpy.typing import NDArray

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
BUNDLE = GOLDEN / "bundle-1.0.edgetl"


@lru_cache(maxsize=None)
def bundle() -> Bundle:
    return read_bundle(BUNDLE)


@lru_cache(maxsize=None)
def frames() -> NDArray[np.uint8]:
    """(200, 8, 8) uint8 handwritten digits."""
    pictures: NDArray[np.uint8] = np.load(str(GOLDEN / "frames.npy"))
    return pictures


@lru_cache(maxsize=None)
def labels() -> List[str]:
    return list(json.loads((GOLDEN / "labels.json").read_text()))


@lru_cache(maxsize=None)
def answers() -> Dict[str, Any]:
    """What the golden state answered when it was made."""
    return dict(json.loads((GOLDEN / "state-1.json").read_text()))


def opened(state: Path, source: Optional[Path] = BUNDLE, **options: Any) -> Session:
    """A session on the golden bundle, or on another file; it must be closed. What it learns is live at once."""
    options.setdefault("threads", 1)
    options.setdefault("policy", "immediate")
    return open_session(source, state, allow_unsigned=True, **options)


def golden_state(folder: Path) -> Path:
    """A copy of the golden state, into which the golden bundle can be opened."""
    folder.mkdir()
    shutil.copy(str(GOLDEN / "state-1.sqlite"), str(folder / "state.sqlite"))
    return folder


def changed_bundle(
    path: Path,
    members: Optional[Mapping[str, bytes]] = None,
    private_pem: Optional[bytes] = None,
    **fields: Any,
) -> Path:
    """The golden bundle with other members or other fields of its manifest, written as the host writes."""
    manifest = dataclasses.replace(bundle().manifest, **fields)
    write_bundle(path, manifest, {**bundle().members, **(members or {})}, private_pem)
    return path


def other_space(path: Path, name: str = "other", digit: str = "a", members: Any = None, **fields: Any) -> Path:
    """A bundle that works, whose features mean something else: the same network after another crop."""
    from edgetl_runtime.bundle.members import HeadMember
    from edgetl_runtime.heads import load_head
    from edgetl_runtime.statistics import Statistics

    variant = bundle().manifest.variants[0]
    space = f"{digit}b" * 32
    member = HeadMember.unpack(bundle().members[variant.head], variant.head, variant.feature_space, variant.dim)
    source = Statistics.from_state(member.source.state(), {**member.source.metadata(), "feature_space": space})
    factory = load_head(member.factory.state(), {**member.factory.metadata(), "feature_space": space})
    moved = HeadMember(source, member.head, member.options, factory)
    return changed_bundle(
        path,
        {variant.head: moved.pack(), **(members or {})},
        name=name,
        variants=(dataclasses.replace(variant, feature_space=space),),
        **fields,
    )


def views(session: Session, count: int = 40) -> Any:
    """Probabilities (N, K) and outlier scores (N, 1) of the last frames, in the order of the classes."""
    found = session.predict_many(frames()[-count:])
    classes = sorted(found[0].probabilities)
    return np.array([[p.probabilities[c] for c in classes] + [p.outlier] for p in found])


def facts(session: Session) -> Dict[str, Any]:
    status = session.status()
    del status["rss_bytes"]
    return {**status, "samples": [sample.__dict__ for sample in session.samples()]}


def stored(state: Path) -> List[Any]:
    connection = sqlite3.connect((state / "state.sqlite").as_uri() + "?mode=ro", uri=True)
    try:
        tables = ("meta", "samples", "events")
        return [connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in tables]
    finally:
        connection.close()


def close_to(one: Any, other: Any) -> bool:
    return bool(np.abs(one - other).max() <= 1e-9 * max(1.0, float(np.abs(other).max())))
