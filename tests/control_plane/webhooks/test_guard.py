"""What a tenant's URL may reach, whatever names resolve to."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from control_plane.webhooks.guard import is_public
from control_plane.webhooks.sender import MAX_RESPONSE, Message, send
from tests.control_plane.webhooks.receiver import receiving

SECRET = "whsec_" + "A" * 32
NOW = datetime(2026, 11, 23, tzinfo=UTC)


def _message(url: str) -> Message:
    return Message(url, "evt_1", "{}", (SECRET,))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",
        "169.254.169.254", "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
        "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
        "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1", "::127.0.0.1",
        "2002:7f00:1::", "2002:a9fe:a9fe::1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1",
        "64:ff9b::808:808",
        "2001:0:5ef5:79fd:0:59d:80ff:fffe", "not an address", "",
    ],
)  # fmt: skip
def test_what_is_not_of_the_public_internet_is_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700::1111", "2002:808:808::1"])
def test_public_addresses_pass(address: str) -> None:
    assert is_public(address)


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    with receiving() as receiver:
        outcome = send(
            _message(receiver.url.replace("127.0.0.1", "hook.example")),
            now=NOW,
            allow_private=False,
            resolver=lambda host, port: ["93.184.216.34", "127.0.0.1"],
        )
        assert outcome.error == "forbidden_address"
        assert receiver.requests == []


def test_a_name_that_resolves_to_something_else_the_second_time_gains_nothing() -> None:
    """DNS rebinding: a check that resolves, and then a client that resolves again, would be fooled by this."""
    asked: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) > 1 else ["2606:4700::1111"]

    with receiving() as receiver:
        url = receiver.url.replace("127.0.0.1", "hook.example")
        first = send(_message(url), now=NOW, allow_private=False, resolver=rebinding, seconds=0.5)
        assert first.error in ("connection", "timeout") and asked == ["hook.example"]
        assert send(_message(url), now=NOW, allow_private=False, resolver=rebinding).error == "forbidden_address"
        assert receiver.requests == []


def test_the_connection_goes_to_the_checked_address_and_the_request_names_the_host() -> None:
    with receiving() as receiver:
        url = receiver.url.replace("127.0.0.1", "hook.example")
        outcome = send(_message(url), now=NOW, allow_private=True, resolver=lambda host, port: ["127.0.0.1"])
        assert (outcome.status_code, outcome.error, outcome.response) == (200, "", "thanks")
        assert receiver.requests[0][0]["host"].startswith("hook.example:")


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f000001", "017700000001", "[::1]", "[::ffff:7f00:1]"])
def test_no_spelling_of_the_loopback_address_gets_through(host: str) -> None:
    with receiving() as receiver:
        outcome = send(_message(receiver.url.replace("127.0.0.1", host)), now=NOW, allow_private=False)
        assert outcome.error in ("forbidden_address", "connection", "protocol")
        assert receiver.requests == []


def test_redirects_are_not_followed() -> None:
    with receiving() as inner, receiving() as outer:
        outer.status, outer.headers = 302, {"Location": inner.url}
        outcome = send(_message(outer.url), now=NOW, allow_private=True)
        assert (outcome.status_code, outcome.error) == (302, "redirect")
        assert inner.requests == []


def test_a_receiver_that_drips_does_not_hold_us_longer_than_allowed() -> None:
    with receiving() as receiver:
        receiver.slow_bytes = 0.1
        started = time.monotonic()
        outcome = send(_message(receiver.url), now=NOW, allow_private=True, seconds=0.6)
        assert outcome.error == "timeout"
        assert time.monotonic() - started < 2


def test_a_huge_answer_is_cut() -> None:
    with receiving() as receiver:
        receiver.body = b"\x00" + b"x" * 1_000_000
        outcome = send(_message(receiver.url), now=NOW, allow_private=True)
        assert outcome.succeeded and len(outcome.response) == MAX_RESPONSE and "\x00" not in outcome.response


def test_a_name_without_an_address_is_a_failed_connection() -> None:
    outcome = send(_message("https://x.example/"), now=NOW, allow_private=False, resolver=lambda host, port: [])
    assert (outcome.status_code, outcome.error) == (None, "connection")
