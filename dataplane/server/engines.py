"""Builds the engine that a configuration names. Heavy imports stand inside the factory that needs them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dataplane.config import ConfigError, NodeConfig
from dataplane.contracts import LoadedVersion
from dataplane.engines.base import Engine
from dataplane.server.text import Codec, Detokenizer
from dataplane.sync.agent import WantedVersion

if TYPE_CHECKING:
    from dataplane.models.llama import LlamaModel
    from dataplane.models.tokenizer import Tokenizer
    from dataplane.speculation.drafters.memory import TenantMemory
    from dataplane.speculation.registry import Desired, DrafterSet


@dataclass(frozen=True, slots=True)
class LoadedEngine:
    """A running engine and its drafters, as the node uses them."""

    engine: Engine
    codec: Codec
    max_context: int
    refresh: Callable[[Mapping[str, WantedVersion]], list[LoadedVersion]]
    forget: Callable[[str], None]  # drops what the tenant memory learned from a project
    is_alive: Callable[[], bool]
    stop: Callable[[], None]
    # At the start: delete what the tenant memory has kept on the disk of any other project than these.
    keep_memories: Callable[[Collection[str]], None] = lambda project_ids: None


def load_engine(config: NodeConfig) -> LoadedEngine:
    """Load the model and start the engine. Raises ConfigError for an engine that doesn't exist, ValueError for a
    model or a drafter that can't be loaded."""
    if config.engine == "embedded":
        return _load_embedded(config)
    if config.engine == "sglang":
        return _load_sglang(config)
    raise ConfigError(f"--engine {config.engine}: the engines are: embedded, sglang")


def _load_embedded(config: NodeConfig) -> LoadedEngine:
    import torch

    from dataplane.engines.embedded import EmbeddedEngine
    from dataplane.models.tokenizer import Tokenizer
    from dataplane.speculation.controller import Controller
    from dataplane.speculation.drafters.memory import TenantMemory
    from dataplane.speculation.memory_store import MemoryStore

    threads = config.threads or os.cpu_count() or 1
    torch.set_num_threads(threads)
    tokenizer = Tokenizer.load(config.model)
    digest = hashlib.sha256((config.model / "tokenizer.json").read_bytes()).hexdigest()
    store = MemoryStore(config.state_dir / "memory", tokenizer=digest)
    model, drafters = _load_speculation(config, TenantMemory(store=store))
    engine = EmbeddedEngine(
        model,
        drafters,
        Controller(),
        num_slots=config.num_slots,
        max_context=min(config.max_context, model.max_context),
        prefix_cache_bytes=config.prefix_cache_mib << 20,
        threads=threads,
    )
    engine.start()

    return LoadedEngine(
        engine=engine,
        codec=TokenizerCodec(tokenizer, model.config.vocab_size, frozenset(model.config.eos_token_ids)),
        max_context=engine.max_context,
        refresh=lambda wanted: drafters.refresh(_desired(wanted)),
        forget=engine.forget,
        is_alive=lambda: engine.is_alive,
        stop=engine.stop,
        keep_memories=store.keep_only,
    )


def _load_sglang(config: NodeConfig) -> LoadedEngine:
    try:
        from dataplane.engines.sgl.engine import SGLangEngine, SGLangError
    except ImportError as error:
        raise ConfigError(f"--engine sglang: SGLang is not installed in this environment: {error}") from error

    from dataplane.models.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(config.model)
    vocab_size, longest, eos = _read_facts(config.model)
    try:
        engine = SGLangEngine(
            config.model,
            static=config.static,
            num_slots=config.num_slots,
            max_context=min(config.max_context, longest),
            max_delta_bytes=config.adaptive_mib << 20,
            server_args=config.engine_args,
        )
    except SGLangError as error:
        raise ConfigError(f"--engine sglang: {error}") from error
    return LoadedEngine(
        engine=engine,
        codec=TokenizerCodec(tokenizer, vocab_size, eos),
        max_context=engine.max_context,
        refresh=lambda wanted: engine.refresh(_desired(wanted)),
        forget=engine.forget,
        is_alive=lambda: engine.is_alive,
        stop=engine.stop,
    )


def _read_facts(folder: Path) -> tuple[int, int, frozenset[int]]:
    """Vocabulary size, longest context and end tokens of a target of any architecture that SGLang serves."""
    raw = json.loads((folder / "config.json").read_text())
    text = raw.get("text_config") or raw
    try:
        eos = text.get("eos_token_id", raw.get("eos_token_id"))
        ends = eos if isinstance(eos, list) else [] if eos is None else [eos]
        return int(text["vocab_size"]), int(text["max_position_embeddings"]), frozenset(ends)
    except KeyError as error:
        raise ConfigError(f"{folder / 'config.json'} lacks {error}") from error


def _desired(wanted: Mapping[str, WantedVersion]) -> dict[str, Desired]:
    from dataplane.speculation.registry import Desired

    return {
        deployment_id: Desired(want.project_id, want.speculator_version_id, want.path, want.endpoint_id)
        for deployment_id, want in wanted.items()
    }


def _load_speculation(config: NodeConfig, memory: TenantMemory) -> tuple[LlamaModel, DrafterSet]:
    """The target model, capturing the features that its static drafter was trained on, and the drafters."""
    from dataplane.models.llama import LlamaModel
    from dataplane.speculation.registry import DrafterSet

    in_bytes = config.weights == "int8"
    if config.static is None:
        model = LlamaModel.load(config.model, in_bytes=in_bytes)
        return model, DrafterSet(None, memory, vocab_size=model.config.vocab_size)

    from dataplane.speculation.drafters.checkpoint import load_checkpoint
    from dataplane.speculation.drafters.eagle import EagleDrafter

    checkpoint = load_checkpoint(config.static)
    model = LlamaModel.load(config.model, feature_layers=checkpoint.config.feature_layers, in_bytes=in_bytes)
    static = EagleDrafter(
        checkpoint,
        model.embedding,
        num_slots=config.num_slots,
        max_context=min(config.max_context, model.max_context),
    )
    drafters = DrafterSet(static, memory, vocab_size=model.config.vocab_size)
    return model, drafters


class TokenizerCodec:
    """A model's tokenizer as the server sees it."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, eos_token_ids: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self.vocab_size = vocab_size
        self.eos_token_ids = eos_token_ids
        self.encode = tokenizer.encode
        self.token_bytes = tokenizer.token_bytes
        self.apply_chat_template = tokenizer.apply_chat_template
        self.decode = tokenizer.decode

    def detokenizer(self) -> Detokenizer:
        from dataplane.models.tokenizer import IncrementalDetokenizer

        return IncrementalDetokenizer(self._tokenizer)
