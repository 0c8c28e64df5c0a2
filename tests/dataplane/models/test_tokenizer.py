"""dataplane/models/tokenizer.py against `transformers` on the real model's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dataplane.models.tokenizer import IncrementalDetokenizer, Tokenizer, TokenizerError

pytestmark = pytest.mark.real_model

TEXTS = [
    "",
    " ",
    "a  2",
    "x=12345;  // 3.14",
    "\n\n\t  tabs and\r\nnewlines ",
    "日本語のテキスト 🙂👩‍👩‍👧‍👦 naïve café",
    "<|im_start|>user\nspecial<|im_end|>",
    "İ ﬁ ½ ٣ ७",
    "it's they'll I'D",
    "\x00\x01\ufffd\u200b",
    "a" * 3000,
]
CONVERSATIONS = [
    [{"role": "user", "content": "Hello"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}],
    [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "<|im_end|>"},
    ],
]


@pytest.fixture(scope="module")
def tokenizer(real_model: Path) -> Tokenizer:
    return Tokenizer.load(real_model)


@pytest.fixture(scope="module")
def reference(real_model: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(real_model)


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_are_those_of_transformers(tokenizer: Tokenizer, reference: Any, text: str) -> None:
    ids = tokenizer.encode(text)
    assert ids == reference(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=False) == text


def test_digits_are_single_tokens(tokenizer: Tokenizer) -> None:
    assert [tokenizer.token_text(token) for token in tokenizer.encode("a  2024")] == ["a", "  ", "2", "0", "2", "4"]


@pytest.mark.parametrize("messages", CONVERSATIONS)
@pytest.mark.parametrize("add_generation_prompt", [True, False])
def test_chat_template_renders_as_in_transformers(
    tokenizer: Tokenizer, reference: Any, messages: list[dict[str, str]], add_generation_prompt: bool
) -> None:
    expected = reference.apply_chat_template(messages, tokenize=False, add_generation_prompt=add_generation_prompt)
    assert tokenizer.render_chat(messages, add_generation_prompt=add_generation_prompt) == expected


@pytest.mark.parametrize("text", TEXTS)
def test_streamed_pieces_join_to_the_whole_text(tokenizer: Tokenizer, text: str) -> None:
    stream = IncrementalDetokenizer(tokenizer, skip_special_tokens=False)
    pieces = [stream.push([token]) for token in tokenizer.encode(text)]
    assert "".join(pieces) + stream.flush() == text
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)


def test_an_endless_run_of_broken_bytes_is_emitted(tokenizer: Tokenizer) -> None:
    broken = tokenizer.encode("🙂")[:1]
    stream = IncrementalDetokenizer(tokenizer)
    assert sum(len(stream.push(broken)) for _ in range(40)) >= 36


def test_token_bytes_concatenate_to_utf8(tokenizer: Tokenizer) -> None:
    text = "héllo 🙂 12"
    assert b"".join(tokenizer.token_bytes(token) for token in tokenizer.encode(text)) == text.encode()


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user"}],
        [{"role": "user", "content": None}],
        [{"content": "x"}],
        [{"role": "user", "content": ["a"]}],
        [{"role": 1, "content": {"a": 1}}],
        [{"role": "user", "content": "\ud800"}],
    ],
)
def test_hostile_messages_raise_a_typed_error(tokenizer: Tokenizer, messages: list[dict[str, Any]]) -> None:
    with pytest.raises(TokenizerError):
        tokenizer.apply_chat_template(messages)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ 1 / 0 }}",
        "{{ undefined.attribute }}",
        "{% for i in range(10 ** 9) %}{% endfor %}",
        "{{ raise_exception('no') }}",
    ],
)
def test_a_hostile_template_raises_a_typed_error(tokenizer: Tokenizer, template: str) -> None:
    hostile = Tokenizer(tokenizer._vocabulary, {"chat_template": template})
    with pytest.raises(TokenizerError):
        hostile.apply_chat_template([{"role": "user", "content": "x"}])


def test_a_broken_template_and_a_missing_folder_raise_a_typed_error(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(TokenizerError):
        Tokenizer(tokenizer._vocabulary, {"chat_template": "{% if %}"})
    with pytest.raises(TokenizerError):
        Tokenizer.load(tmp_path)
    with pytest.raises(TokenizerError, match="no chat template"):
        Tokenizer(tokenizer._vocabulary, {}).apply_chat_template([])
