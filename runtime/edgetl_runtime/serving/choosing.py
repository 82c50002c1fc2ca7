"""The first way that serves: its package is there, it loads the graph, and it reproduces the golden samples."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, List, Optional, Sequence, Tuple

from edgetl_runtime.bundle.container import Bundle
from edgetl_runtime.bundle.manifest import Variant
from edgetl_runtime.bundle.members import HeadMember, read_head
from edgetl_runtime.engines import BuildProgress, Engine, open_engine
from edgetl_runtime.errors import (
    BundleFormatError,
    BundleParityError,
    EdgetlError,
    EngineError,
    EngineNotBuiltError,
    EngineUnavailableError,
)
from edgetl_runtime.extractor import Extractor
from edgetl_runtime.preprocess import TextPreprocess
from edgetl_runtime.serving.background import Choice
from edgetl_runtime.serving.golden import check_golden
from edgetl_runtime.serving.ways import Way, meanwhile

__all__ = ["BUILDS", "Serving", "choose"]

logger = logging.getLogger(__name__)

# What to do about an engine that must be built for minutes: serve by another meanwhile, wait for it, do without it.
BUILDS = ("background", "wait", "never")


@dataclass(frozen=True)
class Serving:
    """What serves: an extractor and the head member of its variant. `verified` names what the golden samples passed on.

    The choice is the extractor's companion.
    """

    extractor: Extractor
    member: HeadMember
    verified: str


@dataclass(frozen=True)
class _Means:
    bundle: Bundle
    threads: Optional[int]
    cache_dir: Path
    progress: Optional[BuildProgress]
    is_verified: Callable[[str], bool]
    machine: str

    def member(self, variant: Variant) -> HeadMember:
        """The head of a variant, as the manifest has it; raises BundleError."""
        return read_head(self.bundle, variant)

    def load(
        self, way: Way, build: bool, progress: Optional[BuildProgress], stop: Optional[threading.Event] = None
    ) -> Engine:
        """The engine of a way, with the tensors that the manifest says; raises EngineError, BundleFormatError."""
        variant = way.variant
        engine = open_engine(
            way.engine,
            self.bundle.members[variant.extractor],
            threads=self.threads,
            cache_dir=self.cache_dir,
            progress=progress,
            build=build,
            stop=stop,
            **way.options,
        )
        if engine.inputs != (variant.input,) or variant.features not in engine.outputs:
            engine.close()
            raise BundleFormatError(
                f"{variant.extractor} takes {engine.inputs} and gives {engine.outputs}, its manifest says"
                f" {variant.input} and {variant.features}; build the bundle again"
            )
        return engine

    def serve(self, way: Way, engine: Engine, member: HeadMember) -> Serving:
        """Check the golden samples, unless they are known to pass here; closes the engine when they do not."""
        verified = f"{self.bundle.id} {way.variant.name} {engine.description} {self.machine}".rstrip()
        try:
            extractor = Extractor(engine, way.variant, self.bundle.manifest.preprocess)
            if not self.is_verified(verified):
                check_golden(self.bundle, extractor, member, way.feature_tolerance)
        except BaseException:
            engine.close()
            raise
        return Serving(extractor, member, verified)


def choose(
    bundle: Bundle,
    ways: Sequence[Way],
    *,
    threads: Optional[int] = None,
    cache_dir: Path,
    build: str = "background",
    progress: Optional[BuildProgress] = None,
    is_verified: Callable[[str], bool] = lambda verified: False,
    machine: str = "",
    held: Optional[str] = None,
) -> Serving:
    """The first of `ways` that serves; what was refused before it is logged, and said by its state.

    With `build` "background" an engine that must be built for minutes is built while another serves the same
    features; "wait" builds it at once and tells `progress`; "never" passes it over. `is_verified` says whether the
    golden samples passed before under that name, a part of which is `machine`; `held` is why a state keeps its
    variant. Raises the error of the only way there is, or an EngineError that lists what was wrong with each.
    """
    if build not in BUILDS:
        raise EngineError(f"build must be one of {list(BUILDS)}; got {build!r}")
    if isinstance(bundle.manifest.preprocess, TextPreprocess):
        bundle.manifest.preprocess.prepare()  # what is missing or refused is so in every engine
    means = _Means(bundle, threads, cache_dir, progress, is_verified, machine)
    refused: List[Tuple[Way, EdgetlError]] = []
    for number, way in enumerate(ways):
        member = means.member(way.variant)
        others = tuple(ways[number + 1 :])
        try:
            serving, pending = _serve(means, way, member, others, build, refused)
        except (EngineError, BundleParityError, BundleFormatError) as error:
            refused.append((way, error))
            if len(ways) > 1:
                logger.warning("%s is not used: %s", way, error)
            continue
        words = [f"{refusal}: {error}" for refusal, error in refused]
        choice = Choice(words, held)
        serving.extractor.companion = choice
        if pending:
            choice.build(
                way,
                serving.extractor,
                lambda told, stop, way=way: means.load(way, True, told, stop),  # type: ignore[misc]
                lambda engine, way=way, member=member: _prove(means, way, engine, member),  # type: ignore[misc]
            )
        return serving
    raise _no_way(bundle, refused)


def _serve(
    means: _Means,
    way: Way,
    member: HeadMember,
    others: Tuple[Way, ...],
    build: str,
    refused: List[Tuple[Way, EdgetlError]],
) -> Tuple[Serving, bool]:
    """What serves by `way`, or in its place while it is built: then True."""
    try:
        return means.serve(way, means.load(way, build == "wait", means.progress), member), False
    except EngineNotBuiltError:
        if build == "never":
            raise
    for other in meanwhile(way, others):
        try:
            return means.serve(other, means.load(other, False, None), member), True
        except (EngineError, BundleParityError, BundleFormatError) as error:
            refused.append((other, error))
            logger.warning("%s cannot serve while %s is built: %s", other, way, error)
    logger.warning("nothing can serve while %s is built: waiting for it", way)
    return means.serve(way, means.load(way, True, means.progress), member), False


def _prove(means: _Means, way: Way, engine: Engine, member: HeadMember) -> None:
    extractor = Extractor(engine, way.variant, means.bundle.manifest.preprocess)
    check_golden(means.bundle, extractor, member, way.feature_tolerance)


def _no_way(bundle: Bundle, refused: Sequence[Tuple[Way, EdgetlError]]) -> EdgetlError:
    if len(refused) == 1 or all(str(error) == str(refused[0][1]) for _, error in refused):
        return refused[0][1]
    # What is not installed here says little about what is wrong.
    kinds = {type(error) for _, error in refused if not isinstance(error, EngineUnavailableError)}
    kind = kinds.pop() if len(kinds) == 1 else EngineError if kinds else EngineUnavailableError
    each = "; ".join(f"{number}. {way}: {error}" for number, (way, error) in enumerate(refused, 1))
    return kind(f"no way to run {bundle.manifest.name!r} works on this device: {each}")
