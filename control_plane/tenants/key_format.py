"""Keys as clients hold them: `sls_<environment>_<12 id>_<32 secret><6 CRC32>`, in base 62; `slm_<12 id>_…` manages,
`sln_<12 id>_…` lets a node register, `sli_<12 id>_…` finds an invitation.

The checksum finds typing errors and lets secret scanners recognise a key without asking anybody. What is stored is
HMAC-SHA256 of the whole key under a pepper that the database does not hold.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import zlib
from dataclasses import dataclass, field

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_PATTERN = re.compile(r"(sls_(?:live|test)|slm|sln|sli)_([0-9A-Za-z]{12})_([0-9A-Za-z]{32})([0-9A-Za-z]{6})")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A fresh key. `text` exists here and at the client, nowhere else."""

    text: str = field(repr=False)
    public_id: str
    digest: str
    last_four: str


def mint(kind: str, pepper: str) -> NewKey:
    """kind: `sls_live`, `sls_test`, `slm`, `sln` or `sli`."""
    public_id = _random(12)
    body = f"{kind}_{public_id}_{_random(32)}"
    text = body + _checksum(body)
    return NewKey(text=text, public_id=public_id, digest=digest(text, pepper), last_four=text[-4:])


def digest(text: str, pepper: str) -> str:
    """HMAC-SHA256 in hexadecimal."""
    return hmac.new(pepper.encode(), text.encode(), hashlib.sha256).hexdigest()


def public_id_of(text: str, kind: str) -> str | None:
    """The public part of a well-formed key of this kind, else None."""
    match = _PATTERN.fullmatch(text)
    if match is None or match[1] != kind or _checksum(text[:-6]) != match[4]:
        return None
    return match[2]


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    letters = ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        letters = ALPHABET[digit] + letters
    return letters
