"""Forgetting: samples go, and with them every generation that learnt from them."""

from __future__ import annotations

from typing import Any, Dict, Optional

from edgetl_runtime.bundle.members import HeadMember
from edgetl_runtime.errors import FoldedSampleError, UnknownSampleError
from edgetl_runtime.learner import Fitted
from edgetl_runtime.store import TRAIN, Folded, Store
from edgetl_runtime.teaching.lineage import Lineage
from edgetl_runtime.teaching.relearning import learner_of

__all__ = ["forget", "refuse_folded"]


def forget(
    store: Store,
    lineage: Lineage,
    member: HeadMember,
    sample_id: Optional[int] = None,
    label: Optional[str] = None,
    source: Optional[str] = None,
) -> int:
    """Delete the samples that one of the three selects, and the generations that knew them; how many samples.

    The live head is fitted again without them, as a new generation, when it had learnt from any: from the rows
    that are left, not by subtraction. Raises UnknownSampleError, FoldedSampleError; nothing is changed then.
    """
    folded = store.folded.get()
    if folded is not None:
        refuse_folded(store, folded, sample_id, label, source)
    ids = store.samples.find(sample_id=sample_id, label=label, source=source)
    chosen = set(ids)
    taught = [sample.id for sample in store.samples.listed() if sample.id in chosen and sample.role == TRAIN]
    live = lineage.live
    gone = lineage.knowing(min(taught)) if taught else []
    fitted: Optional[Fitted] = None
    samples = 0
    if live.generation in gone and (folded is None or folded.upto <= live.upto):
        learner, samples, _ = learner_of(store, member, live.upto, ids, lineage.anchor(live.fitted.anchored))
        fitted = learner.fit()
    what: Dict[str, Any] = {"id": sample_id, "label": label, "source": source}
    detail = {**{key: value for key, value in what.items() if value is not None}, "count": len(ids)}
    lineage.forget(lambda: store.samples.delete(ids), min(ids), gone, fitted, samples, detail)
    return len(ids)


def refuse_folded(
    store: Store, folded: Folded, sample_id: Optional[int], label: Optional[str], source: Optional[str]
) -> None:
    """Raises FoldedSampleError when what is to be forgotten is part of the sum of the oldest samples."""
    if sample_id is not None and 0 < sample_id <= folded.upto:
        try:
            store.samples.find(sample_id=sample_id)
        except UnknownSampleError:
            what = f"the sample {sample_id} is"
        else:
            return
    elif label is not None and label in folded.labels:
        what = f"{folded.labels[label]} samples of {label!r} are"
    elif source is not None and source in folded.sources:
        what = f"samples from {source!r} are"
    else:
        return
    raise FoldedSampleError(
        f"{what} part of the sum that the quota made of the oldest samples and cannot be told apart in it; nothing was"
        " forgotten. A larger quota_bytes keeps more of them apart; to be rid of all that was learnt, begin with a new"
        " state folder"
    )
