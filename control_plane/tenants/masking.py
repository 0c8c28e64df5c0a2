"""What an audit event shows of a change: never a secret, and of an e-mail address only enough to recognize it."""

from __future__ import annotations

import re
from typing import Any

MASK = "***"

_SECRET_NAME = re.compile(
    r"(?i)(?:\A|_)(?:password|secret|token|credential|digest|passphrase|otp|pepper|salt)s?(?:\Z|_)"
)
# API keys, management keys, node tokens, invitations, signing secrets; private keys; AWS keys; bearer tokens.
_SECRET_TEXT = re.compile(
    r"\b(?:sls_(?:live|test)|slm|sln|sli|slc)_[A-Za-z0-9_-]{8,}|\bwhsec_[A-Za-z0-9+/=]{8,}|\bAKIA[0-9A-Z]{16}\b"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----|(?i:\bbearer\s+[A-Za-z0-9._~+/-]{16,}=*)"
)
_EMAIL = re.compile(r"\b([A-Za-z0-9._%+-])[A-Za-z0-9._%+-]*@([A-Za-z0-9.-]+\.[A-Za-z]{2,})\b")


def mask(value: Any, name: str = "") -> Any:
    """The same structure. A number of seconds or a count is no secret, whatever it is called."""
    if isinstance(value, dict):
        return {key: mask(item, str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [mask(item, name) for item in value]
    if not isinstance(value, str):
        return value
    if value and _SECRET_NAME.search(name):
        return MASK
    return _EMAIL.sub(r"\1…@\2", _SECRET_TEXT.sub(MASK, value))
