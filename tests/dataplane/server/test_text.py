"""Stop strings are never shown, whatever the token boundaries, and nothing else is lost."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.engines.base import TokenLogprob
from dataplane.server.text import TextStream
from tests.dataplane.server.fakes import EOS, ByteDetokenizer


def run(text: str, stop: list[str]) -> tuple[str, int]:
    """The visible text, and after how many tokens it was complete."""
    stream = TextStream(ByteDetokenizer(), stop=stop, hidden_token_ids=frozenset({EOS}))
    shown, data = "", text.encode()
    for count, token in enumerate(data, start=1):
        shown += stream.push(token, None).text
        assert not any(word in shown for word in stop)
        if stream.is_stopped:
            return shown, count
    return shown + stream.finish().text, len(data)


@settings(max_examples=300, deadline=None)
@given(st.text("abü🎉", max_size=30), st.lists(st.text("abü🎉", min_size=1, max_size=4), max_size=3))
def test_the_text_ends_exactly_before_the_first_stop_string(text: str, stop: list[str]) -> None:
    found = [index for word in stop if (index := text.find(word)) >= 0]
    shown, num_tokens = run(text, stop)
    if not found:
        assert shown == text
        return
    # Of stop strings that become complete at the same time the one that begins first counts.
    ends = [text.find(word) + len(word) for word in stop if word in text]
    prefix = text[: min(ends)]
    assert shown == text[: min(prefix.find(word) for word in stop if word in prefix)]
    assert num_tokens == len(prefix.encode())


def test_a_beginning_of_a_stop_string_is_shown_once_it_turns_out_to_be_text() -> None:
    stream = TextStream(ByteDetokenizer(), stop=["END"], hidden_token_ids=frozenset())
    assert [stream.push(token, None).text for token in b"aENx"] == ["a", "", "", "ENx"]
    assert stream.push(ord("E"), None).text == ""
    assert stream.finish().text == "E"


def test_hidden_tokens_have_neither_text_nor_logprobs() -> None:
    stream = TextStream(ByteDetokenizer(), stop=[], hidden_token_ids=frozenset({ord("b")}))
    deltas = [stream.push(token, TokenLogprob(token, -1.0)) for token in b"ab"] + [stream.finish()]
    assert "".join(delta.text for delta in deltas) == "a"
    assert [item.logprob.token_id for delta in deltas for item in delta.logprobs] == [ord("a")]


def test_logprobs_of_a_cut_off_stop_string_are_cut_off_too() -> None:
    stream = TextStream(ByteDetokenizer(), stop=["cd"], hidden_token_ids=frozenset())
    deltas = [stream.push(token, TokenLogprob(token, -1.0)) for token in b"abcd"]
    placed = [item for delta in deltas for item in delta.logprobs]
    assert [(chr(item.logprob.token_id), item.offset) for item in placed] == [("a", 0), ("b", 1)]
