"""Speculator artifacts: from the bucket to the node's disk, by digest, and only if everything about them is right.

    artifacts/{sha256}.safetensors          verified files; an artifact is immutable, so it is fetched once

A node trusts the signature, not the bucket: the manifest must be signed by a known key, belong to the endpoint's own
project and version, fit the node's target model and static drafter, and the file must have the manifest's digest.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from dataplane.contracts import (
    ContractError,
    EndpointConfig,
    Manifest,
    SignedManifest,
    SpeculatorRef,
    from_dict,
    signing_payload,
)
from dataplane.object_store import ObjectStore
from dataplane.sync.snapshot import write_atomically

MAX_MANIFEST_BYTES = 64 << 10


class ArtifactRefused(Exception):
    """The version must not be loaded; the message says why and is shown to the operator."""


@dataclass(frozen=True, slots=True)
class ArtifactRules:
    """What this node accepts. `static_sha256` None: any (the node has no static drafter to compare with)."""

    public_keys: Mapping[str, str]  # key id -> base64 Ed25519 public key
    static_sha256: str | None = None
    max_bytes: int = 64 << 20


class ArtifactStore:
    """The node's verified artifacts."""

    def __init__(self, folder: Path, store: ObjectStore | None, rules: ArtifactRules) -> None:
        self._folder = folder
        self._store = store
        self._rules = rules

    def fetch(self, endpoint: EndpointConfig, ref: SpeculatorRef) -> Path:
        """The local file of `ref`, downloaded and verified if it is not there yet.

        Raises ArtifactRefused, and ObjectStoreError when the bucket can't be read now.
        """
        if self._store is None:
            raise ArtifactRefused("this node has no object store")
        manifest_path = self._folder / f"{ref.manifest_sha256}.json"
        data = self._cached(manifest_path, ref.manifest_sha256)
        if data is None:
            data = self._store.get(ref.manifest_key, max_bytes=MAX_MANIFEST_BYTES)
        manifest = verified_manifest(data, endpoint, ref, self._rules)
        path = self._folder / f"{manifest.file.sha256}.safetensors"
        if self._cached(path, manifest.file.sha256) is None:
            body = self._store.get(manifest.file.key, max_bytes=manifest.file.size_bytes)
            if len(body) != manifest.file.size_bytes or _sha256(body) != manifest.file.sha256:
                raise ArtifactRefused("the file is not what the manifest describes (digest or size differ)")
            write_atomically(path, body)
        write_atomically(manifest_path, data)
        return path

    def forget(self, project_id: str) -> None:
        """Delete the project's files: an artifact holds what it learned. What is still wanted is fetched again."""
        for path in self._folder.glob("*.json"):
            try:
                manifest = from_dict(SignedManifest, json.loads(path.read_bytes())).manifest
            except (OSError, ContractError, ValueError):
                continue  # nothing of ours, and never loaded
            if manifest.project_id == project_id:
                (self._folder / f"{manifest.file.sha256}.safetensors").unlink(missing_ok=True)
                path.unlink(missing_ok=True)

    def _cached(self, path: Path, sha256: str) -> bytes | None:
        """The file's bytes if it is there and intact."""
        if not _is_digest(sha256) or not path.is_file():
            return None
        data = path.read_bytes()
        return data if _sha256(data) == sha256 else None


def verified_manifest(data: bytes, endpoint: EndpointConfig, ref: SpeculatorRef, rules: ArtifactRules) -> Manifest:
    """The manifest in `data`, if it may be loaded for `endpoint`. Raises ArtifactRefused."""
    if _sha256(data) != ref.manifest_sha256:
        raise ArtifactRefused("the manifest's digest is not the snapshot's")
    try:
        signed = from_dict(SignedManifest, json.loads(data))
    except (ContractError, ValueError) as error:
        raise ArtifactRefused(f"unreadable manifest: {error}") from None
    _check_signature(signed, rules.public_keys)
    manifest = signed.manifest
    prefix = f"projects/{endpoint.project_id}/"
    expectations = (
        ("speculator_version_id", manifest.speculator_version_id, ref.speculator_version_id),
        ("speculator_id", manifest.speculator_id, ref.speculator_id),
        ("project_id", manifest.project_id, endpoint.project_id),
        ("target_model", manifest.target_model, endpoint.model),
        ("static_sha256", manifest.static_sha256, rules.static_sha256 or manifest.static_sha256),
    )
    for name, found, expected in expectations:
        if found != expected:
            raise ArtifactRefused(f"the manifest's {name} is {found!r}, expected {expected!r}")
    if not manifest.file.key.startswith(prefix) or ".." in manifest.file.key:
        raise ArtifactRefused(f"the file {manifest.file.key!r} is not under the project's prefix")
    if not _is_digest(manifest.file.sha256):
        raise ArtifactRefused("the manifest's file digest is malformed")
    if not 0 < manifest.file.size_bytes <= rules.max_bytes:
        raise ArtifactRefused(f"the file has {manifest.file.size_bytes} bytes, at most {rules.max_bytes} are allowed")
    return manifest


def _check_signature(signed: SignedManifest, public_keys: Mapping[str, str]) -> None:
    encoded = public_keys.get(signed.key_id)
    if encoded is None:
        raise ArtifactRefused(f"the manifest is signed by the unknown key {signed.key_id!r}")
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(encoded, validate=True))
        key.verify(base64.b64decode(signed.signature, validate=True), signing_payload(signed.manifest))
    except (InvalidSignature, ValueError):
        raise ArtifactRefused("the manifest's signature does not verify") from None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _is_digest(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")
