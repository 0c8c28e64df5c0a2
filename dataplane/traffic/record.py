"""Which requests are logged for training, and as what.

Consent decides: the project's policy, its sample rate, and the request's own `store`. A text in which something looks
like a secret or an e-mail address is not stored at all: token ids can't be blanked without making up text that the
target never wrote.
"""

from __future__ import annotations

import hashlib
import re

from dataplane.contracts import TrafficPolicy

_SENSITIVE = re.compile(
    r"""
    [A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,255}\.[A-Za-z]{2,24}     # e-mail address
    | -----BEGIN\ [A-Z ]{0,40}PRIVATE\ KEY-----
    | \b(?:sls|slm|sk|rk|pk|ghp|gho|ghs|github_pat|glpat|xox[abprs])[-_][A-Za-z0-9_-]{16,}   # API keys by prefix
    | \bAKIA[0-9A-Z]{16}\b                                           # AWS access key id
    | \beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.               # JSON web token
    | \b(?:password|passwd|secret|api[_-]?key|access[_-]?token)\b["']?
        \s{0,3}[:=]\s{0,3}["']?(?=[^\s"']*[0-9])[^\s"']{8,}                # an assignment of a value that has digits
    """,
    re.VERBOSE | re.IGNORECASE,
)


def is_captured(policy: TrafficPolicy, *, store: bool, request_id: str) -> bool:
    """May this request's content be kept? The sample is a hash of the request id: repeatable, and nobody's choice."""
    return policy.capture and store and hash_share(request_id, "traffic") < policy.sample_rate


def looks_sensitive(text: str) -> bool:
    """Does `text` hold an e-mail address, a private key, or something in the form of a credential?"""
    return _SENSITIVE.search(text) is not None


def hash_share(request_id: str, purpose: str) -> float:
    """A uniform number in [0, 1) that depends on the request and the purpose alone."""
    digest = hashlib.sha256(f"{purpose}:{request_id}".encode()).digest()
    return int.from_bytes(digest[:8]) / (1 << 64)
