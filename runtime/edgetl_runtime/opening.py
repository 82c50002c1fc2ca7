"""From a bundle and a folder to a session: verify, install, choose the engine, check it, recover what was learnt."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from edgetl_runtime.bundle.container import Bundle, read_bundle
from edgetl_runtime.bundle.members import GoldenSamples, HeadMember
from edgetl_runtime.engines import open_engine
from edgetl_runtime.errors import BundleFormatError, BundleParityError, SampleError, StateError
from edgetl_runtime.extractor import Extractor
from edgetl_runtime.installation import keep_bundle, make_state_folder, open_installed
from edgetl_runtime.learner import Learner
from edgetl_runtime.session import Session
from edgetl_runtime.store import open_store
from edgetl_runtime.trust import trusted_keys

__all__ = ["check_golden", "open_session"]

logger = logging.getLogger(__name__)


def open_session(
    bundle: Union[str, Path, None] = None,
    state_dir: Union[str, Path] = "edgetl-state",
    *,
    allow_unsigned: bool = False,
    trusted: Sequence[bytes] = (),
    engine: str = "onnxruntime",
    engine_options: Optional[Mapping[str, Any]] = None,
    threads: Optional[int] = None,
    read_only: bool = False,
) -> Session:
    """Verify a bundle, install it when it is new, recover what was learnt, and check the golden samples.

    `bundle` None opens what is installed in `state_dir`. `trusted` are public keys (PEM) beside those that
    were provisioned in the folder. `engine_options` are those of the engine, such as `provider="cuda"` of
    onnxruntime. `read_only` predicts beside a process that learns. Raises BundleError,
    StateError, EngineError, SourceError; the state is as before then.
    """
    folder = Path(state_dir)
    if bundle is None and not folder.is_dir():  # a mistyped name makes no folder
        raise StateError(
            f"there is no state folder {folder}; install a bundle there: edgetl-runtime install BUNDLE --state {folder}"
        )
    if not read_only:
        make_state_folder(folder)
    store = open_store(folder, read_only=read_only)
    try:
        keys = trusted_keys(folder, trusted)
        if bundle is None:
            opened = open_installed(folder, store.meta("bundle"), keys, allow_unsigned)
        else:
            opened = read_bundle(bundle, trusted=keys, allow_unsigned=allow_unsigned)
        if opened.signed_by is None:
            logger.warning("bundle %s is not signed; it was allowed on purpose", opened.manifest.name)
        variant = opened.manifest.variants[0]
        store.bind(variant.feature_space, variant.dim, opened.id)
        member = HeadMember.unpack(opened.members[variant.head], variant.head, variant.feature_space, variant.dim)
        if member.factory.classes != opened.manifest.classes:
            raise BundleFormatError(
                f"{variant.head} knows the classes {list(member.factory.classes)[:8]}, its manifest says"
                f" {list(opened.manifest.classes)[:8]}; build the bundle again"
            )
        loaded = open_engine(
            engine,
            opened.members[variant.extractor],
            threads=threads,
            cache_dir=folder / "engines",
            **(engine_options or {}),
        )
        try:
            if loaded.inputs != (variant.input,) or variant.features not in loaded.outputs:
                raise BundleFormatError(
                    f"{variant.extractor} takes {loaded.inputs} and gives {loaded.outputs}, its manifest says"
                    f" {variant.input} and {variant.features}; build the bundle again"
                )
            extractor = Extractor(loaded, variant, opened.manifest.preprocess)
            verified = f"{opened.id} {loaded.description}"
            known = store.meta("verified") == verified
            if not known:
                check_golden(opened, extractor, member)
            if not read_only:
                if bundle is not None:
                    keep_bundle(opened, Path(bundle), folder, keys, allow_unsigned)
                if not known or store.meta("feature_space") != variant.feature_space:
                    store.set_meta(
                        bundle=opened.id,
                        verified=verified,
                        feature_space=variant.feature_space,
                        dim=str(variant.dim),
                    )
                    store.log_event("install", bundle=opened.id, name=opened.manifest.name, engine=loaded.description)
            return Session(opened, extractor, store, member)
        except BaseException:
            loaded.close()
            raise
    except BaseException:
        store.close()
        raise


def check_golden(bundle: Bundle, extractor: Extractor, member: HeadMember) -> Tuple[float, int]:
    """Run the golden samples: largest relative feature error, and how many were run; or BundleParityError.

    Asked on the engine that will serve, so a wrong build of an engine is found before it decides anything.
    """
    manifest, variant = bundle.manifest, extractor.variant
    dims = {v.name: v.dim for v in manifest.variants}
    name = "golden.safetensors"
    golden = GoldenSamples.unpack(bundle.members[name], name, dims, len(manifest.classes))
    expected = golden.features[variant.name]
    try:
        got = np.stack([extractor.features(sample) for sample in golden.samples])
    except SampleError as error:
        raise BundleParityError(f"a golden sample does not go through: {error}; build the bundle again") from error
    off = float(np.abs(got - expected).max() / max(float(np.abs(expected).max()), 1e-12))
    if off > variant.feature_tolerance:
        raise BundleParityError(
            f"{extractor.description} gives features that are off by {off:.2e} of the largest,"
            f" {variant.feature_tolerance:.2e} is allowed: this engine would decide wrongly and is not used."
            " Try another engine or version"
        )
    wanted = [manifest.classes[i] for i in golden.decisions]
    differing = sum(a != b for a, b in zip(member.factory.predict(got), wanted))
    if differing:
        raise BundleParityError(
            f"{extractor.description} decides {differing} of {len(wanted)} golden samples otherwise than the host did;"
            " it is not used. Try another engine or version"
        )
    try:  # learning will fit it again with these very options
        Learner(member).check()
    except (TypeError, ValueError) as error:
        raise BundleFormatError(
            f"the head {member.head!r} cannot be fitted with the bundle's options {member.options}: {error};"
            " build the bundle again"
        ) from error
    return off, len(wanted)
