"""What is stored never holds a secret; what is masked is marked, and all else is as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.contracts import TrafficPolicy, TrafficRecord
from dataplane.models.tokenizer import Tokenizer
from dataplane.traffic.redaction import Redactor, unmasked_outputs
from dataplane.traffic.sensitive import find_sensitive
from tests.dataplane.server.fakes import ByteCodec

SECRETS = ["jane.doe@example.com", "sk-abcdefghijklmnopqrstuvwx", "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00"]
TEXT = ByteCodec()


def record(prompt: str, output: str, mode: str = "mask") -> TrafficRecord:
    consent = TrafficPolicy(True, redaction=mode)  # type: ignore[arg-type]
    tokens = (tuple(TEXT.encode(text)) for text in (prompt, output))
    return TrafficRecord("rec_1", "prj_1", "ep_1", "m", "2026-01-01T00:00:00Z", *tokens, consent=consent)


def stored(prompt: str, output: str, mode: str = "mask") -> TrafficRecord | None:
    return Redactor(TEXT)(record(prompt, output, mode))


def text_of(found: TrafficRecord | None) -> tuple[str, str]:
    assert found is not None
    return TEXT.decode(found.prompt_tokens), TEXT.decode(found.output_tokens)


def test_off_keeps_everything_and_drop_keeps_nothing_of_a_record_with_a_secret() -> None:
    prompt = "write to jane.doe@example.com"
    assert stored(prompt, "done", "off") == record(prompt, "done", "off")
    assert stored(prompt, "done", "drop") is None
    assert stored("done", prompt, "drop") is None
    assert stored("write to her", "done", "drop") == record("write to her", "done", "drop")


def test_mask_replaces_what_is_sensitive_and_says_where() -> None:
    found = stored("to jane.doe@example.com, now", "The key sk-abcdefghijklmnopqrstuvwx is hers.")
    assert text_of(found) == ("to [email], now", "The key [key] is hers.")
    assert found is not None
    tokens = found.prompt_tokens + found.output_tokens
    spans = list(zip(found.masked[::2], found.masked[1::2], strict=True))
    assert [TEXT.decode(tokens[start:end]) for start, end in spans] == ["[email]", "[key]"]
    assert [TEXT.decode(piece) for piece in unmasked_outputs(found)] == ["The key ", " is hers."]


def test_a_secret_that_begins_in_the_prompt_and_ends_in_the_answer_is_masked_on_both_sides() -> None:
    found = stored("my key: sk-abcdefgh", "ijklmnopqrstuvwxyz, right?")
    assert text_of(found) == ("my key: [key]", "[key], right?")
    assert found is not None
    assert [TEXT.decode(piece) for piece in unmasked_outputs(found)] == [", right?"]


def test_an_answer_that_is_one_secret_leaves_no_piece_to_remember() -> None:
    found = stored("her address?", "jane.doe@example.com")
    assert found is not None and list(unmasked_outputs(found)) == []
    plain = record("a", "b")
    assert list(unmasked_outputs(plain)) == [plain.output_tokens]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    prompt=st.lists(st.sampled_from([*SECRETS, "the text ", "é🎉 ", "\n", "x=1; "]), max_size=5).map(" ".join),
    output=st.lists(st.sampled_from([*SECRETS, "an answer ", "ü ", "{}", "42 "]), max_size=5).map(
        lambda words: " ".join(["", *words])
    ),
    mode=st.sampled_from(["mask", "drop"]),
)
def test_nothing_that_the_rules_know_is_ever_stored_and_all_else_is_kept(prompt: str, output: str, mode: str) -> None:
    found = stored(prompt, output, mode)
    if found is None:
        assert find_sensitive((prompt + output).encode())
        return
    kept_prompt, kept_output = text_of(found)
    assert not find_sensitive((kept_prompt + kept_output).encode())
    assert not any(secret in kept_prompt or secret in kept_output for secret in SECRETS)
    for word in ("the text", "é🎉", "x=1", "an answer", "ü", "{}"):
        assert (kept_prompt + kept_output).count(word) == (prompt + output).count(word)


@pytest.fixture(scope="module")
def bpe() -> Tokenizer:
    """A small byte-level BPE whose tokens run over the edges of what is to be masked."""
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    model.decoder = tokenizers.decoders.ByteLevel()  # type: ignore[assignment]
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    model.train_from_iterator(["please write to jane.doe@example.com or to bob@example.org, thanks"] * 8, trainer)
    return Tokenizer(model, {})


def test_tokens_that_touch_a_secret_go_as_a_whole_and_the_others_stay_as_the_target_wrote_them(bpe: Tokenizer) -> None:
    prompt, output = bpe.encode("please write to "), bpe.encode("jane.doe@example.com, thanks")
    given_record = replace(record("", ""), prompt_tokens=tuple(prompt), output_tokens=tuple(output))
    found = Redactor(bpe)(given_record)
    assert found is not None
    assert found.prompt_tokens == tuple(prompt)
    assert bpe.decode(found.output_tokens) == "[email], thanks"
    assert list(unmasked_outputs(found)) == [tuple(bpe.encode(", thanks"))]
    assert Redactor(bpe)(replace(given_record, consent=TrafficPolicy(True, redaction="drop"))) is None


def test_the_tokenizer_that_is_served_redacts_too(tmp_path: Path, bpe: Tokenizer) -> None:
    """What comes out of a placeholder's tokens is text that the rules leave alone, for every kind."""
    for secret, kind in zip(SECRETS, ("email", "key", "card", "iban"), strict=True):
        tokens = tuple(bpe.encode(f"so: {secret}."))
        found = Redactor(bpe)(replace(record("", ""), prompt_tokens=(), output_tokens=tokens))
        assert found is not None and bpe.decode(found.output_tokens).replace(" ", "") == f"so:[{kind}]."
