"""Generated secrets and personal data are always found, code hardly ever is, and time is linear in the text."""

from __future__ import annotations

import base64
import string
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.traffic.sensitive import _IBAN_LENGTHS, KINDS, RULES, _luhn, find_sensitive, looks_sensitive

WORD = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
PROSE = st.sampled_from(["", "the value is ", "Grüße an ", "(", "x = '", "\n\n", "log: ", "€ ", '{"a": "b\\n', "a, "])
AFTER = st.sampled_from(["", ".", " and more", "'", "\n", ")", " €", ", b", '"}'])


def chars(alphabet: str, low: int, high: int | None = None) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=low, max_size=high or low)


def joined(*parts: str | st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*(st.just(part) if isinstance(part, str) else part for part in parts)).map("".join)


def encoded(low: int, high: int) -> st.SearchStrategy[str]:
    return st.binary(min_size=low, max_size=high).map(lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="))


def pem(kind: str, body: bytes) -> str:
    lines = base64.encodebytes(body).decode()
    return f"-----BEGIN {kind}-----\nProc-Type: 4,ENCRYPTED\n\n{lines}-----END {kind}-----"


def with_check(number: str) -> str:
    return next(number + digit for digit in string.digits if _luhn((number + digit).encode()))


def grouped(text: str, separator: str) -> str:
    return separator.join(text[start : start + 4] for start in range(0, len(text), 4))


def iban(country: str, account: str) -> str:
    number = "".join(str(int(character, 36)) for character in f"{account}{country}00")
    return f"{country}{98 - int(number) % 97:02d}{account}"


IBAN = st.sampled_from(sorted(_IBAN_LENGTHS)).flatmap(
    lambda country: st.builds(iban, st.just(country), chars(string.digits, _IBAN_LENGTHS[country] - 4))
)
SEPARATOR = st.sampled_from(["", " ", "-"])
KEYS = st.one_of(
    joined(st.sampled_from(["sk-", "sk-proj-", "sk_live_", "rk_test_", "sk-ant-"]), chars(WORD, 20, 60)),
    joined(st.sampled_from(["sls_live_", "slm_"]), chars(WORD, 12), "_", chars(WORD, 38)),
    joined(st.sampled_from(["ghp_", "gho_", "ghs_", "github_pat_"]), chars(WORD, 36)),
    joined("glpat-", chars(WORD + "-_", 20)),
    joined("xoxb-", chars(string.digits, 11), "-", chars(WORD, 24)),
    joined(st.sampled_from(["AKIA", "ASIA"]), chars(string.ascii_uppercase + string.digits, 16)),
    joined("AIza", chars(WORD + "-_", 35)),
    joined("hf_", chars(WORD, 34)),
    joined("npm_", chars(WORD, 36)),
    joined("dop_v1_", chars(HEX, 64)),
    joined("SG.", chars(WORD + "-_", 22), ".", chars(WORD + "-_", 43)),
    joined("eyJ", encoded(12, 90), ".eyJ", encoded(12, 300), ".", encoded(32, 64)),
    joined("Authorization: Bearer ", chars(WORD + "-._~", 24, 64)),
    joined("postgres://app:", chars(WORD, 8, 20), "@db.internal/x"),
    st.builds(pem, st.sampled_from(["RSA PRIVATE KEY", "PRIVATE KEY", "OPENSSH PRIVATE KEY"]), st.binary(min_size=64)),
)
EXAMPLES: dict[str, st.SearchStrategy[str]] = {
    "key": KEYS,
    "secret": joined(
        st.sampled_from(["password", "DB_PASSWORD", "client_secret", "api-key", '"access_token"', "Passphrase"]),
        st.sampled_from(["=", ": ", ' := "', " is ", "='", ' => "']),
        chars(WORD, 6, 30),
        chars(string.digits, 2),
    ),
    "card": st.builds(
        grouped,
        st.one_of(
            joined("4", chars(string.digits, 14)),
            joined(st.sampled_from(["51", "55", "22", "27"]), chars(string.digits, 13)),
            joined(st.sampled_from(["34", "37"]), chars(string.digits, 12)),
        ).map(with_check),
        SEPARATOR,
    ),
    "iban": st.builds(grouped, IBAN, SEPARATOR),
    "email": joined(
        chars(string.ascii_lowercase, 1), chars(WORD + "._%+-", 0, 30), chars(WORD, 1), "@", chars(WORD, 1, 20),
        st.sampled_from([".com", ".co.uk", ".example", ".de"]),
    ),
    "phone": st.one_of(
        joined("+", st.sampled_from(["1", "44", "49", "358"]), st.sampled_from([" ", "-", ""]), "1",
               chars(string.digits, 2), st.sampled_from([" ", "-", ""]), chars(string.digits, 6)),
        joined("(", st.sampled_from(["212", "415"]), ") 555-", chars(string.digits, 4)),
        joined("415", "-555-", chars(string.digits, 4)),
    ),
    "ssn": joined(st.sampled_from(["123-", "078-"]), "05-", st.sampled_from(["1120", "0001"])),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=200, deadline=None, derandomize=True)
@given(data=st.data())
def test_no_generated_secret_is_missed_wherever_it_stands(kind: str, data: st.DataObject) -> None:
    secret = data.draw(EXAMPLES[kind])
    before, after = data.draw(PROSE), data.draw(AFTER)
    text = f"{before}{secret}{after}".encode()
    found = find_sensitive(text)
    left = b"".join(
        text[start:end]
        for start, end in zip([0, *(s.end for s in found)], [*(s.start for s in found), len(text)], strict=True)
    )
    assert found, text
    assert secret[-6:].encode() not in left, (text, left)  # the part that matters is all gone
    assert not find_sensitive(left), (text, left)


def test_every_rule_has_generated_examples() -> None:
    assert {rule.kind for rule in RULES} <= set(KINDS) == set(EXAMPLES)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM users",
        "a @ b, a@b, @decorator, user@localhost",
        "the password field, and a secret: keep it",
        "Client(api_key=settings.api_key, token=get_token(user1))",
        '{"order": 4411, "open": true, "id": 1234567890123456}',
        "password: string; secret = None",
        "IPv6 2001:db8::1, version 1.2.3.4, 2026-11-28T02:39:44Z, 100-200-3000, 0x4111111111111111",
        "DE12 is a route, GB29 too; +1 for that; x = +12345678.25",
        "max_tokens=128, eos_token_id: 50256",
        "-----BEGIN PUBLIC KEY-----",
        "http://localhost:8000/x@y",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert not looks_sensitive(text), find_sensitive(text.encode())


def test_of_the_standard_librarys_source_hardly_anything_but_addresses_is_found() -> None:
    sources = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("[a-m]*.py"))
    texts = [path.read_bytes() for path in sources]
    windows = [text[start : start + 4000] for text in texts for start in range(0, len(text), 4000)]
    assert len(windows) > 400
    wrong = [span for window in windows for span in find_sensitive(window) if span.kind != "email"]
    assert len(wrong) <= len(windows) / 200, wrong


HOSTILE = [
    b"a", b"@", b"a@", b"a@a.", b"a.", b"1", b"1 ", b"4 1-", b"-----BEGIN PRIVATE KEY-----", b"-----BEGIN ", b"sk-",
    b"eyJ", b"eyJaaaaaaaaa.", b"://", b"://a:", b"password=", b"password is ", b"bearer ", b"DE12", b"AB12 ", b"+1",
]  # fmt: skip


def _seconds(work: Callable[[], object]) -> float:
    started = time.thread_time()
    work()
    return time.thread_time() - started


@pytest.mark.parametrize("unit", HOSTILE)
def test_time_is_linear_on_a_text_made_to_take_long(unit: bytes) -> None:
    """Eight times the text, far less than eight times eight the time; the shorter one is long enough to measure."""
    short, long = (unit * (size // len(unit)) for size in (12_000, 96_000))
    ratio = min(_seconds(lambda: find_sensitive(long)) / _seconds(lambda: find_sensitive(short)) for _ in range(2))
    assert ratio < 24
