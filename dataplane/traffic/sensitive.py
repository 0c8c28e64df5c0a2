"""Where a text holds a secret or personal data: a table of rules over bytes, each linear in the text.

    kind       what it finds                                               how it is sure
    key        private keys in PEM form; API keys and tokens by prefix;    the form itself
               JSON web tokens; passwords in URLs; Authorization headers
    secret     a value that is assigned to a name like `password`          8 characters, with a digit or in quotes
    card       13 to 19 digits in groups                                   issuer's first digits and Luhn's sum
    iban       ISO 13616                                                   the country's length and the sum modulo 97
    email      RFC 5322's usual form
    phone      `+` with country code; the North American form              8 to 15 digits (E.164)
    ssn        a social security number of the United States               none of the parts that are never given

Not found: names, postal addresses, phone numbers in other national forms, IP addresses, secrets without a form or a
name. Bytes, not characters: a position in the text is then a position in its tokens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

MAX_PEM_BYTES = 16 << 10
_GROUPS = re.compile(rb"[0-9]+")
# Digits of a card number by its first digits (ISO/IEC 7812; the issuers' own lists).
_CARD = re.compile(rb"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]|2[2-7])\d{14}|3[47]\d{13}|3[0689]\d{12}|35\d{14}|6\d{15,18}")
# Country and length of its IBANs (SWIFT IBAN registry).
_IBAN_LENGTHS = {
    code[:2]: int(code[2:])
    for code in (
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 "
        "ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 "
        "LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 "
        "QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30"
    ).split()
}


class Span(NamedTuple):
    """Bytes [start, end) of the text."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True)
class Rule:
    """The last group of every match is sensitive, or all of it; `within` may find (start, end) inside of it instead."""

    kind: str
    pattern: re.Pattern[bytes]
    within: Callable[[bytes], Iterator[tuple[int, int]]] | None = None


def find_sensitive(text: bytes) -> list[Span]:
    """What is sensitive in `text`, in order, no two spans touching; the earlier one names what overlaps."""
    found = sorted(_find(text))
    merged: list[Span] = []
    for span in found:
        if merged and span.start <= merged[-1].end:
            merged[-1] = merged[-1]._replace(end=max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged


def looks_sensitive(text: str) -> bool:
    """Does `text` hold anything that the rules know?"""
    return next(_find(text.encode("utf-8", "replace")), None) is not None


def _find(text: bytes) -> Iterator[Span]:
    for rule in RULES:
        for match in rule.pattern.finditer(text):
            if rule.within is None:
                yield Span(*match.span(match.lastindex or 0), rule.kind)
            else:
                for start, end in rule.within(match[0]):
                    yield Span(match.start() + start, match.start() + end, rule.kind)
    yield from _email_addresses(text)
    yield from _private_keys(text)


def _email_addresses(text: bytes) -> Iterator[Span]:
    """From each `@` outwards: a pattern that begins with the name would try it again at each of its letters."""
    at = text.find(b"@")
    while at >= 0:
        name = _NAME_BEFORE.search(text[max(0, at - 64) : at])
        host = _HOST_AFTER.match(text, at + 1)
        if name and host:
            yield Span(at - len(name[0]), host.end(), "email")
        at = text.find(b"@", at + 1)


def _private_keys(text: bytes) -> Iterator[Span]:
    """From the line that begins one to the line that ends it; one without an end is taken to go on."""
    begins = _PEM_BEGINS.search(text)
    while begins:
        limit = min(len(text), begins.end() + MAX_PEM_BYTES)
        ends = text.find(b"-----END", begins.end(), limit)
        end = limit
        if ends >= 0:
            closing = text.find(b"-----", ends + 8, ends + 80)
            end = closing + 5 if closing >= 0 else ends + 8
        yield Span(begins.start(), end, "key")
        begins = _PEM_BEGINS.search(text, end)


def _cards(digits: bytes) -> Iterator[tuple[int, int]]:
    """Whole groups of digits that together are a card number."""
    groups = list(_GROUPS.finditer(digits))
    for first, group in enumerate(groups):
        number = b""
        for last in groups[first : first + 19]:
            number += last[0]
            if len(number) > 19:
                break
            if len(number) >= 13 and _CARD.fullmatch(number) and _luhn(number):
                yield group.start(), last.end()


def _luhn(number: bytes) -> bool:
    """Luhn's sum (ISO/IEC 7812-1, annex B) of ASCII digits."""
    digits = [byte - 48 for byte in reversed(number)]
    return (sum(digits[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])) % 10 == 0


def _ibans(text: bytes) -> Iterator[tuple[int, int]]:
    length = _IBAN_LENGTHS.get(text[:2].decode("ascii").upper(), 0)
    end, taken = 0, b""
    while end < len(text) and len(taken) < length:
        if text[end : end + 1] not in b" -":
            taken += text[end : end + 1]
        end += 1
    if not length or len(taken) < length:
        return
    moved = (taken[4:] + taken[:4]).decode("ascii").upper()
    if int("".join(str(int(character, 36)) for character in moved)) % 97 == 1:
        yield 0, end


def _bytes(pattern: str, *, ignore_case: bool = False) -> re.Pattern[bytes]:
    return re.compile(pattern.encode("ascii"), re.VERBOSE | (re.IGNORECASE if ignore_case else re.NOFLAG))


# Every repetition is bounded, and what may precede a match is looked at, so that no text is scanned more than a fixed
# number of times.
_NAME_BEFORE = _bytes(r"[A-Za-z0-9._%+'-]{1,64}\Z")
_HOST_AFTER = _bytes(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}(?![A-Za-z])")
_PEM_BEGINS = re.compile(rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
# Not in the middle of a word; right after an escaped line end, as in pasted JSON, is no middle.
_BEGINS = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))"
_PREFIXED = r"""
    (?: sk|rk|pk )[-_](?: live_|test_|proj-|ant-|or-|svcacct-|admin- )?[A-Za-z0-9_-]{16,255}
  | sl[sm]_[A-Za-z0-9_-]{16,255}
  | gh[pousr]_[A-Za-z0-9]{20,255} | github_pat_[A-Za-z0-9_]{20,255} | glpat-[A-Za-z0-9_-]{16,255}
  | xox[abeoprs]-[A-Za-z0-9-]{10,255} | xapp-[A-Za-z0-9-]{10,255} | hf_[A-Za-z0-9]{20,255} | npm_[A-Za-z0-9]{30,255}
  | pypi-[A-Za-z0-9_-]{32,255} | AIza[A-Za-z0-9_-]{35} | ya29\.[A-Za-z0-9_-]{20,255}
  | SG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,128} | shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32} | do[opr]_v1_[a-f0-9]{64}
  | (?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16} | sq0(?:atp|csp)-[A-Za-z0-9_-]{22,64} | whsec_[A-Za-z0-9+/=]{16,255}
  | dapi[a-f0-9]{32} | nvapi-[A-Za-z0-9_-]{20,255} | gsk_[A-Za-z0-9]{20,255} | r8_[A-Za-z0-9]{30,255}
  | [0-9]{8,10}:AA[A-Za-z0-9_-]{33}
"""
_SECRET_NAME = r"""
    (?: password | passwd | passphrase | pwd | secret | api[ _-]?key
      | (?:access|private|signing|encryption|account)[ _-]?key
      | (?:access|auth|bearer|refresh|session|api|id|secret)[ _-]?token
      | credentials? )
"""
RULES = (
    Rule("key", _bytes(rf"{_BEGINS}(?:{_PREFIXED})")),
    Rule(
        "key",
        _bytes(_BEGINS + r"eyJ[A-Za-z0-9_-]{8,8192}\.eyJ[A-Za-z0-9_-]{8,8192}(?:\.[A-Za-z0-9_-]{0,8192})?"),
    ),
    Rule("key", _bytes(r"://[^\s:/@?#]{0,128}:([^\s/@]{1,256})@", ignore_case=True)),
    Rule("key", _bytes(r"\b(?:bearer|basic)[ ]{1,3}([A-Za-z0-9+/._~-]{20,4096}={0,2})", ignore_case=True)),
    Rule(
        "secret",
        _bytes(
            _SECRET_NAME
            + r"""["'`]{0,2}\s{0,3}(?: [:=]=?>? | [ ]is[ ]:? )\s{0,3}
            (?: ["'`]([^\s"'`]{8,256})["'`]
              | ["'`]?((?=[^\s"'`,;()\[\]{}<>]{0,255}[0-9])[^\s"'`,;()\[\]{}<>]{8,256}) )""",
            ignore_case=True,
        ),
    ),
    Rule("card", _bytes(_BEGINS + r"(?:[0-9]+[ -]?)+"), _cards),
    Rule("iban", _bytes(_BEGINS + r"[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]){11,29}", ignore_case=True), _ibans),
    Rule(
        "phone",
        _bytes(
            _BEGINS
            + r"(?<!\+)(?:\+[1-9](?:[ ()/-]{0,2}[0-9]){7,14}|\+[1-9][0-9]{0,2}(?:\.[0-9]{2,4}){2,5})(?!\.?[0-9])"
        ),
    ),
    Rule(
        "phone",
        _bytes(
            _BEGINS + r"(?<![.+-])(?:1[ .-])?(?:\([2-9][0-9]{2}\)[ ]?[2-9][0-9]{2}[ .-]|[2-9][0-9]{2}-[2-9][0-9]{2}-"
            r"|[2-9][0-9]{2}\.[2-9][0-9]{2}\.)[0-9]{4}(?![0-9A-Za-z.-]?[0-9A-Za-z])"
        ),
    ),
    Rule(
        "ssn",
        _bytes(_BEGINS + r"(?<!-)(?!000|666|9)[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}(?![0-9A-Za-z-])"),
    ),
)
KINDS = ("card", "email", "iban", "key", "phone", "secret", "ssn")
