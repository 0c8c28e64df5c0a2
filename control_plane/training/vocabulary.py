"""Token ids as text, for people who look at their own traffic: byte-level BPE, read from tokenizer.json alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path


class Vocabulary:
    """The bytes of each token of a byte-level vocabulary (GPT-2, Llama 3, SmolLM, Qwen)."""

    def __init__(self, tokens: dict[int, bytes]) -> None:
        self._tokens = tokens

    def text(self, token_ids: Sequence[int]) -> str:
        """What is not UTF-8 becomes U+FFFD; special tokens are shown by name, unknown ids not at all."""
        return b"".join(self._tokens.get(token, b"") for token in token_ids).decode("utf-8", "replace")


def read_vocabulary(folder: Path) -> Vocabulary | None:
    """The vocabulary of the model in `folder`; None if it isn't on this machine, or isn't byte-level BPE."""
    path = folder / "tokenizer.json"
    try:
        return _read(path, path.stat().st_mtime_ns)
    except (OSError, ValueError, KeyError, TypeError):
        return None


@lru_cache(maxsize=4)
def _read(path: Path, changed_at: int) -> Vocabulary | None:
    content = json.loads(path.read_bytes())
    if content["model"]["type"] != "BPE" or '"ByteLevel"' not in json.dumps(content["decoder"]):
        return None
    byte_of = _byte_alphabet()
    tokens = {
        index: bytes(byte_of[character] for character in token)
        for token, index in content["model"]["vocab"].items()
        if all(character in byte_of for character in token)
    }
    return Vocabulary(tokens | {one["id"]: one["content"].encode() for one in content.get("added_tokens", ())})


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-in of every byte: itself if printable Latin-1, else the next code point from 256."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + index): byte for index, byte in enumerate(others)}
