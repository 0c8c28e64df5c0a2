"""Signed manifests: what makes an artifact in S3 a speculator version that a node may load.

A node trusts the Ed25519 signature, not the bucket: whoever can write objects still can't make a node load them.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings

from dataplane.contracts import Manifest, SignedManifest, canonical_json, signing_payload

KEY_BYTES = 32


class SigningKeyError(ValueError):
    """The configured signing key is not 32 bytes of base64."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 key pair. `key_id` names the public half: rotation adds a key, nodes know several."""

    private: Ed25519PrivateKey
    key_id: str

    @classmethod
    def from_base64(cls, seed: str, key_id: str = "") -> SigningKey:
        """`seed` is the 32-byte private key in base64. Without a `key_id` it is derived from the public key."""
        try:
            raw = base64.b64decode(seed, validate=True)
        except ValueError as error:
            raise SigningKeyError("SLIPSTREAM_SIGNING_KEY is not base64") from error
        if len(raw) != KEY_BYTES:
            raise SigningKeyError(f"SLIPSTREAM_SIGNING_KEY holds {len(raw)} bytes instead of {KEY_BYTES}")
        private = Ed25519PrivateKey.from_private_bytes(raw)
        digest = hashlib.sha256(private.public_key().public_bytes_raw()).hexdigest()
        return cls(private, key_id or f"ed25519-{digest[:16]}")

    @property
    def public_base64(self) -> str:
        """The public key as nodes are configured with it (SLIPSTREAM_SIGNING_PUBLIC_KEYS)."""
        return base64.b64encode(self.private.public_key().public_bytes_raw()).decode()


def signing_key() -> SigningKey:
    """The key that the settings name."""
    return SigningKey.from_base64(settings.SLIPSTREAM_SIGNING_KEY, settings.SLIPSTREAM_SIGNING_KEY_ID)


def sign(manifest: Manifest, key: SigningKey) -> SignedManifest:
    signature = key.private.sign(signing_payload(manifest))
    return SignedManifest(manifest, key.key_id, base64.b64encode(signature).decode())


def is_authentic(signed: SignedManifest, public_keys: dict[str, str]) -> bool:
    """Does one of `public_keys` ({key id: base64}) vouch for the manifest?"""
    try:
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_keys[signed.key_id], validate=True))
        public.verify(base64.b64decode(signed.signature, validate=True), signing_payload(signed.manifest))
    except (KeyError, ValueError, InvalidSignature):
        return False
    return True


def encode(signed: SignedManifest) -> bytes:
    """The manifest object's body; `manifest_sha256` in a snapshot is its digest."""
    return canonical_json(signed)


def artifact_key(project_id: str, sha256: str) -> str:
    return f"projects/{project_id}/speculators/{sha256}.safetensors"


def manifest_key(project_id: str, speculator_version_id: str) -> str:
    return f"projects/{project_id}/manifests/{speculator_version_id}.json"
