"""Tools to forge bundles: every rule can be broken alone, and the rest is right and rightly signed."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import struct
import zipfile
from functools import lru_cache
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

import numpy as np
from edgetl_runtime.bundle.manifest import dump_manifest
from edgetl_runtime.bundle.signature import key_id, load_public_key, sign_manifest
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from tests.runtime import golden

__all__ = [
    "STRANGER",
    "TRUSTED",
    "Files",
    "bundle",
    "entries",
    "extractor_of",
    "key_pair",
    "manifest_of",
    "public_pem",
    "tensors_of",
    "zipped",
]

Files = List[Tuple[str, bytes]]
TRUSTED, STRANGER, REVOKED = 1, 2, 3


@lru_cache(maxsize=None)
def key_pair(seed: int) -> Tuple[bytes, bytes, str]:
    """Private PEM, public PEM and id of a key."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private, public, key_id(load_public_key(public))


def public_pem(seed: int) -> bytes:
    """The public half, as `trust add` takes it."""
    return key_pair(seed)[1]


def manifest_of() -> Dict[str, Any]:
    """The golden manifest as a document, to be changed freely."""
    document: Dict[str, Any] = json.loads(dump_manifest(golden.bundle().manifest))
    return copy.deepcopy(document)


def bundle(
    members: Optional[Mapping[str, bytes]] = None,
    manifest: Optional[Callable[[Dict[str, Any]], Any]] = None,
    text: Optional[bytes] = None,
    signer: Optional[int] = TRUSTED,
    signature: Optional[bytes] = None,
) -> bytes:
    """The golden bundle with other members (hashes follow), another manifest, or a foreign signature."""
    return zipped(entries(members, manifest, text, signer, signature))


def entries(
    members: Optional[Mapping[str, bytes]] = None,
    manifest: Optional[Callable[[Dict[str, Any]], Any]] = None,
    text: Optional[bytes] = None,
    signer: Optional[int] = TRUSTED,
    signature: Optional[bytes] = None,
) -> Files:
    """Names and contents of that bundle in order."""
    held = {**golden.bundle().members, **(members or {})}
    document = manifest_of()
    document["members"] = {
        name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in held.items()
    }
    if manifest is not None:
        manifest(document)
    written = json.dumps(document).encode("utf-8") if text is None else text
    files: Files = [("manifest.json", written)]
    if signature is not None:
        files.append(("manifest.sig", signature))
    elif signer is not None:
        files.append(("manifest.sig", sign_manifest(written, key_pair(signer)[0])))
    return files + sorted(held.items())


def zipped(
    files: Files,
    change: Optional[Callable[[zipfile.ZipInfo], Any]] = None,
    compression: int = zipfile.ZIP_STORED,
    comment: bytes = b"",
) -> bytes:
    """Those files as a zip; `change` sees every header before it is written."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.comment = comment
        for name, data in files:
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.compress_type = compression
            info.external_attr = 0o600 << 16
            if change is not None:
                change(info)
            archive.writestr(info, data)
    return buffer.getvalue()


def tensors_of(name: str, change: Callable[[Dict[str, Any]], Any]) -> bytes:
    """A safetensors member of the golden bundle with some arrays changed, its metadata kept."""
    raw = golden.bundle().members[name]
    arrays = {key: np.array(value) for key, value in load_tensors(raw).items()}
    header = json.loads(raw[8 : 8 + struct.unpack("<Q", raw[:8])[0]])
    change(arrays)
    data: bytes = save_tensors(arrays, metadata=header.get("__metadata__"))
    return data


def extractor_of(graph: bytes) -> bytes:
    """A bundle, rightly signed, whose extractor is that graph."""
    return bundle({"extractor.onnx": graph})
