"""The worker that SGLang's scheduler drives: prompts go through SGLang's forward, decoding through `speculative_step`.

One turn:  swap drafters that are ready -> release what has ended -> extend (prompts) | speculative step (decoding)

Sampling is ours in both cases: the first token, too, comes from `verify`, so that a request's seed gives the same text
whatever engine serves it.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from sglang.srt.distributed import get_tp_group, tensor_model_parallel_all_gather
from sglang.srt.managers.scheduler import GenerationBatchResult
from sglang.srt.model_executor.forward_batch_info import CaptureHiddenMode, ForwardMode
from sglang.srt.speculative.base_spec_worker import BaseSpecWorker
from sglang.srt.speculative.ngram_info import NgramVerifyInput

from dataplane.engines.sgl.office import Office
from dataplane.engines.sgl.ranks import Ranks
from dataplane.engines.sgl.self_check import self_check
from dataplane.engines.sgl.sequence import SglSequence
from dataplane.engines.sgl.settings import WorkerSettings
from dataplane.engines.sgl.target import FeaturePool, SglTarget
from dataplane.speculation.controller import Controller
from dataplane.speculation.drafters.checkpoint import load_checkpoint
from dataplane.speculation.drafters.eagle import EagleDrafter
from dataplane.speculation.registry import DrafterSet
from dataplane.speculation.step import describe, speculative_step, verify
from dataplane.speculation.types import EMPTY_PROPOSAL, Plan, Scores, StepTiming

log = logging.getLogger(__name__)


class SlipstreamWorker(BaseSpecWorker):
    """One per scheduler process, that is per tensor-parallel rank; the first rank drafts for all (`ranks.py`)."""

    def __init__(self, server_args: Any, gpu_id: int, nccl_port: int, target_worker: Any) -> None:
        super().__init__()
        self.server_args = server_args
        self.adaptive_controller = None
        self._target_worker = target_worker
        self._ranks = Ranks(get_tp_group())
        self._settings = WorkerSettings.from_environment(os.environ)
        self._stride: int = server_args.speculative_num_draft_tokens
        self.speculative_num_draft_tokens = self._stride
        self._sequences: dict[str, SglSequence] = {}  # those that decode, by request id
        self._free = list(reversed(range(self._settings.num_slots)))

    # ----------------------------------------------------------------------------------------- SGLang's lifecycle

    @property
    def draft_worker(self) -> None:
        """No draft model of SGLang's."""
        return None

    def alloc_memory_pool(self, **pools: Any) -> None:
        """The target's pools exist now: build the drafters, on the rank that drafts."""
        runner = self._target_worker.model_runner
        requests, allocator = self._target_worker.get_memory_pool()
        self._req_to_token = requests.req_to_token
        vocabulary: int = runner.model_config.vocab_size
        static, pool, capture = None, None, CaptureHiddenMode.NULL
        if self._settings.static is not None:
            checkpoint = load_checkpoint(Path(self._settings.static))
            layers = checkpoint.config.feature_layers
            runner.model.set_eagle3_layers_to_capture(list(layers))
            capture = CaptureHiddenMode.FULL
            shard = runner.model.get_embed_and_head()[0]  # of the vocabulary, one a rank
            embeddings = tensor_model_parallel_all_gather(shard.data, dim=0)[:vocabulary]
            if self._ranks.leads:
                width = len(layers) * checkpoint.config.hidden_size
                pool = FeaturePool(allocator.get_kvcache().size + allocator.page_size, width, embeddings)
                static = EagleDrafter(
                    checkpoint, embeddings, num_slots=self._settings.num_slots, max_context=self._settings.max_context
                )
        self.drafters = DrafterSet(static, vocab_size=vocabulary, max_delta_bytes=self._settings.max_delta_bytes)
        self.controller = Controller()
        self.target = SglTarget(
            self._target_worker,
            width=self._stride,
            fixed=not runner.server_args.disable_cuda_graph,
            capture=capture,
            pool=pool,
            announce=self._ranks.send if self._ranks.leads else lambda proposals: None,
        )
        capacity = allocator.get_kvcache().size
        self.office = Office(
            self.drafters, self.controller, lambda: (capacity - int(allocator.available_size()), capacity)
        )

    def init_attention_backends(self) -> None:
        self._target_worker.init_attention_backends()

    def init_cuda_graphs(self) -> None:
        """The last call before the scheduler serves: check that everything of ours is in its place, then say so."""
        self._target_worker.init_cuda_graphs()
        checks = self_check(self)
        if self._ranks.leads:
            self.office.open(self._settings.socket, checks)

    def clear_cache_pool(self) -> None:
        """SGLang has emptied the prefix cache; the features of its slots go with them."""

    # --------------------------------------------------------------------------------------------------- one turn

    @torch.inference_mode()
    def forward_batch_generation(
        self,
        batch: Any,
        on_publish: Callable[[torch.Tensor], None] | None = None,
        pp_proxy_tensors: Any = None,
    ) -> GenerationBatchResult:
        """A turn of the scheduler over `batch`, a `ScheduleBatch`: prompts to read, or sequences to decode."""
        self.drafters.swap_if_ready()
        if batch.forward_mode.is_decode():
            emitted, output = self._decode(batch)
        else:
            self._release_ended()
            emitted, output = self._extend(batch)
        return self._result(batch, emitted, output)

    def _extend(self, batch: Any) -> tuple[list[list[int]], Any]:
        """Read prompts (or chunks of them); features go to the pool, the first token comes from `verify`."""
        started = time.perf_counter()
        output = self._target_worker.forward_batch_generation(
            batch, is_verify=True, capture_hidden_mode=self.target.capture
        )
        logits = output.logits_output
        if self.target.pool is not None:
            self.target.pool.write(batch.out_cache_loc, logits.hidden_states)
        sequences = [self.office.admit(request, self._stride - 1) for request in batch.reqs]
        for sequence, num_before in zip(sequences, batch.prefix_lens, strict=True):
            if not sequence.is_begun:
                sequence.is_begun = True
                self.office.count_prefix(num_before)
            sequence.catch_up()
        scores = Scores(logits.next_token_logits, logits.next_token_logits[:, :1], tuple(range(len(sequences) + 1)))
        emitted, _ = verify(sequences, [EMPTY_PROPOSAL] * len(sequences), scores)
        timing = StepTiming(score=time.perf_counter() - started)
        for index, (sequence, tokens) in enumerate(zip(sequences, emitted, strict=True)):
            if self._is_read(sequence, batch, index):
                outcome = describe(sequence, EMPTY_PROPOSAL, tokens, Plan(), scores, [index], 0)
                self.office.record(sequence, outcome, timing, len(sequences))
        return emitted, output

    def _decode(self, batch: Any) -> tuple[list[list[int]], Any]:
        sequences = [self.office.admit(request, self._stride - 1) for request in batch.reqs]
        self.target.begin(batch)
        emitted = self._step(batch, sequences) if self._ranks.leads else self._follow(sequences)
        batch.forward_mode = ForwardMode.DECODE
        return emitted, self.target.output

    def _step(self, batch: Any, sequences: Sequence[SglSequence]) -> list[list[int]]:
        """The rank that drafts."""
        self._release_ended(running={request.rid for request in batch.reqs})
        for sequence in sequences:
            sequence.catch_up()
            if sequence.slot < 0:
                sequence.slot, sequence.num_extended = self._free.pop(), 0
                self._sequences[sequence.request.rid] = sequence
        self._extend_drafter(batch, sequences)
        outcomes, timing = speculative_step(sequences, self.target, self.drafters, self.controller)
        for index, (sequence, outcome) in enumerate(zip(sequences, outcomes, strict=True)):
            sequence.num_extended += len(outcome.new_tokens)
            sequence.tally.explain(outcome, timing, len(sequences), self.controller.explain(index))
            self.office.record(sequence, outcome, timing, len(sequences))
        return [list(outcome.new_tokens) for outcome in outcomes]

    def _follow(self, sequences: Sequence[SglSequence]) -> list[list[int]]:
        """The other ranks: the same proposals, the same logits, the same draws."""
        self.office.drop_finished()  # our server closes requests at the rank that drafts
        for sequence in sequences:
            sequence.catch_up()
        proposals = self._ranks.receive()
        scores = self.target.score(sequences, proposals)
        emitted, _ = verify(sequences, proposals, scores)  # no alternatives: `SglTarget.max_alternatives`
        self.target.commit(sequences, [len(tokens) - 1 for tokens in emitted])
        return emitted

    def _is_read(self, sequence: SglSequence, batch: Any, index: int) -> bool:
        """Has the whole prompt been read? What a chunk in the middle emits is nobody's token."""
        end = int(batch.seq_lens_cpu[index])
        return end >= len(sequence.tokens)

    def _extend_drafter(self, batch: Any, sequences: Sequence[SglSequence]) -> None:
        """Positions that were read, or came from the prefix cache, since the drafter saw this sequence last."""
        if self.target.pool is None:
            return
        for sequence, row in zip(sequences, batch.req_pool_indices.tolist(), strict=True):
            start, end = sequence.num_extended, len(sequence.tokens) - 1
            if start < end:
                features = self.target.pool.read(self._req_to_token[row, start:end].long())
                self.drafters.extend(sequence, start, sequence.tokens[start + 1 : end + 1], features)
                sequence.num_extended = end

    def _release_ended(self, running: set[str] | None = None) -> None:
        """Free the slots of sequences that have ended, or that the scheduler has put back (not in `running`)."""
        for request_id, sequence in list(self._sequences.items()):
            if sequence.request.finished() or (running is not None and request_id not in running):
                sequence.catch_up()
                self.drafters.release(sequence)
                self._free.append(sequence.slot)
                sequence.slot, sequence.num_extended = -1, 0
                del self._sequences[request_id]

    def _result(self, batch: Any, emitted: Sequence[Sequence[int]], output: Any) -> GenerationBatchResult:
        """What the scheduler takes over: `stride` places per request, of which `accept_lens` count."""
        device = batch.seq_lens.device
        padded = torch.zeros(len(emitted), self._stride, dtype=torch.int32)
        for row, tokens in enumerate(emitted):
            padded[row, : len(tokens)] = torch.tensor(tokens, dtype=torch.int32)
        lengths = torch.tensor([len(tokens) for tokens in emitted], dtype=torch.int32)
        decoding = batch.forward_mode.is_decode()
        accepted = lengths.to(device)
        seq_lens = batch.seq_lens + accepted if decoding else batch.seq_lens.clone()
        next_tokens = padded.flatten() if decoding else padded[:, 0].clone()
        logits = output.logits_output
        logits.hidden_states = None  # ours; nobody else asked for them
        return GenerationBatchResult(
            logits_output=logits,
            next_token_ids=next_tokens,
            can_run_cuda_graph=output.can_run_cuda_graph,
            accept_lens=lengths,
            new_seq_lens=seq_lens,
            next_draft_input=NgramVerifyInput(
                draft_token_num=self._stride,
                new_seq_lens=seq_lens,
                accept_tokens=padded.flatten().to(device),
                accept_lens=accepted,
            ),
            speculative_num_draft_tokens=self._stride,
        )
