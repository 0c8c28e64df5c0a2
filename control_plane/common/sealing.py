"""Secrets that must be read again (a signature needs its key): encrypted at rest, so that a copy of the tables alone
reveals none. The key is derived from SLIPSTREAM_SECRET_KEY; after a change of that, what it sealed can't be opened."""

from __future__ import annotations

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings


class Unsealable(RuntimeError):
    """A stored secret was sealed under another SLIPSTREAM_SECRET_KEY."""


def seal(secret: str) -> str:
    return _box().encrypt(secret.encode()).decode()


def unseal(sealed: str) -> str:
    """Raises Unsealable."""
    try:
        return _box().decrypt(sealed.encode()).decode()
    except InvalidToken as error:
        raise Unsealable("the secret was sealed under another SLIPSTREAM_SECRET_KEY") from error


def _box() -> Fernet:
    key = hashlib.blake2b(settings.SECRET_KEY.encode(), digest_size=32, person=b"slipstream-seal").digest()
    return Fernet(base64.urlsafe_b64encode(key))
