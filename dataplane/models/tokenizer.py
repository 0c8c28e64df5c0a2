"""Text to tokens and back: `tokenizers` for the vocabulary, sandboxed Jinja2 for the chat template.

The same results as `transformers` gives for the folder, which it isn't needed for.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import tokenizers
from jinja2.sandbox import ImmutableSandboxedEnvironment

_REPLACEMENT = "\ufffd"  # what an incomplete UTF-8 sequence decodes to
_MAX_PENDING = 4  # a character is at most four bytes, so at most that many tokens


class TokenizerError(ValueError):
    """The text, the messages or the folder can't be tokenised; the message is fit for a client."""


class Tokenizer:
    """Vocabulary and chat template of one model. Thread-safe."""

    def __init__(self, vocabulary: tokenizers.Tokenizer, config: Mapping[str, Any]) -> None:
        """`config`: the contents of tokenizer_config.json."""
        self._vocabulary = vocabulary
        self._special = {key: _content(config.get(key)) for key in ("bos_token", "eos_token", "unk_token", "pad_token")}
        self._template = _compile(config.get("chat_template"))

    @classmethod
    def load(cls, path: Path | str) -> Tokenizer:
        """Read tokenizer.json and tokenizer_config.json (and chat_template.jinja if there is one)."""
        path = Path(path)
        try:
            vocabulary = tokenizers.Tokenizer.from_file(str(path / "tokenizer.json"))
        except Exception as error:  # the library raises plain Exception
            raise TokenizerError(f"{path / 'tokenizer.json'}: {error}") from error
        try:
            config = json.loads((path / "tokenizer_config.json").read_text())
            if (path / "chat_template.jinja").exists():
                config["chat_template"] = (path / "chat_template.jinja").read_text()
        except (OSError, ValueError) as error:
            raise TokenizerError(f"{path / 'tokenizer_config.json'}: {error}") from error
        return cls(vocabulary, config)

    @property
    def vocab_size(self) -> int:
        size: int = self._vocabulary.get_vocab_size()
        return size

    @property
    def eos_token_id(self) -> int | None:
        eos = self._special["eos_token"]
        return None if eos is None else self._vocabulary.token_to_id(eos)

    @property
    def has_chat_template(self) -> bool:
        return self._template is not None

    def encode(self, text: str) -> list[int]:
        """Token ids of a text in which special tokens count as such. Raises TokenizerError."""
        try:
            ids: list[int] = self._vocabulary.encode(text, add_special_tokens=False).ids
        except (TypeError, UnicodeError) as error:  # lone surrogates, which JSON can carry and UTF-8 cannot
            raise TokenizerError("the text is not valid Unicode") from error
        return ids

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """The text of token ids; ids outside of the vocabulary are left out."""
        text: str = self._vocabulary.decode(list(ids), skip_special_tokens=skip_special_tokens)
        return text

    def token_text(self, token_id: int) -> str:
        """One token as text, special tokens by their names (for log-probabilities)."""
        return self.decode([token_id], skip_special_tokens=False)

    def token_bytes(self, token_id: int) -> bytes:
        """One token as the bytes that it contributes; a token may hold a part of a character."""
        token = self._vocabulary.id_to_token(token_id) or ""
        if all(character in _BYTE_OF for character in token):
            return bytes(_BYTE_OF[character] for character in token)
        return self.token_text(token_id).encode()

    def apply_chat_template(
        self, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool = True
    ) -> list[int]:
        """Token ids of a conversation. Raises TokenizerError, also for whatever the template trips over."""
        return self.encode(self.render_chat(messages, add_generation_prompt=add_generation_prompt))

    def render_chat(self, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool = True) -> str:
        """The conversation as text."""
        if self._template is None:
            raise TokenizerError("this model has no chat template")
        special = {key: token or "" for key, token in self._special.items()}
        try:
            return self._template.render(
                messages=[dict(message) for message in messages],
                add_generation_prompt=add_generation_prompt,
                **special,
            )
        except RecursionError as error:
            raise TokenizerError("the messages are nested too deeply") from error
        except Exception as error:  # a template is a program: with hostile messages it can raise anything
            raise TokenizerError(f"the chat template rejects these messages: {error}") from error


class IncrementalDetokenizer:
    """Text of a token stream, piece by piece: the pieces joined are the decoded whole, no character is split."""

    def __init__(self, tokenizer: Tokenizer, *, skip_special_tokens: bool = True) -> None:
        self._tokenizer = tokenizer
        self._skip = skip_special_tokens
        self._ids: list[int] = []  # the last emitted tokens, for context, then the pending ones
        self._num_emitted = 0

    def push(self, ids: Sequence[int]) -> str:
        """The text that has become certain with these tokens; may be empty."""
        return "".join(self._push_one(token_id) for token_id in ids)

    def flush(self) -> str:
        """What is left at the end: an incomplete character becomes U+FFFD."""
        text = self._pending_text()
        self._ids, self._num_emitted = [], 0
        return text

    def _push_one(self, token_id: int) -> str:
        self._ids.append(token_id)
        text = self._pending_text()
        if text.endswith(_REPLACEMENT) and len(self._ids) - self._num_emitted < _MAX_PENDING:
            return ""
        self._ids = self._ids[self._num_emitted :]
        self._num_emitted = len(self._ids)
        return text

    def _pending_text(self) -> str:
        emitted = self._decode(self._ids[: self._num_emitted])
        return self._decode(self._ids)[len(emitted) :]

    def _decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=self._skip)


def _content(token: Any) -> str | None:
    """tokenizer_config.json holds a special token as a string or as an object."""
    return token.get("content") if isinstance(token, dict) else token


def _compile(source: str | None) -> jinja2.Template | None:
    """The template in the environment that `transformers` gives it."""
    if source is None:
        return None
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().astimezone().strftime(form)
    try:
        return environment.from_string(source)
    except jinja2.TemplateError as error:
        raise TokenizerError(f"the chat template is not valid: {error}") from error


def _to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-in of every byte: itself if printable Latin-1, else the next code point from 256."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + index): byte for index, byte in enumerate(others)}


_BYTE_OF = _byte_alphabet()
