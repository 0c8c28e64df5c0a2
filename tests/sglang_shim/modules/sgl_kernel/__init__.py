"""TEST SHIM: what SGLang calls of `sgl_kernel` on a CPU, in plain PyTorch, for one chain per request.

Limits: chains only (top-k 1), greedy verification only, one device, no speed. Its place is tests: nodes on GPUs use
the real package. Argument names and layouts are those of SGLang 0.5.23.
"""

from __future__ import annotations

import torch

__version__ = "0.0.0+test.shim"


def assign_extend_cache_locs_cpu(
    req_pool_indices: torch.Tensor,
    req_to_token: torch.Tensor,
    start_offset: torch.Tensor,
    end_offset: torch.Tensor,
    out_cache_loc: torch.Tensor,
    pool_len: int,
) -> None:
    """out_cache_loc = the slots start..end of every request, one after the other."""
    place = 0
    for row, start, end in zip(req_pool_indices.tolist(), start_offset.tolist(), end_offset.tolist(), strict=True):
        out_cache_loc[place : place + end - start] = req_to_token[row, start:end]
        place += end - start


def assign_req_to_token_pool_cpu(
    req_pool_indices: torch.Tensor,
    req_to_token: torch.Tensor,
    start_offset: torch.Tensor,
    end_offset: torch.Tensor,
    out_cache_loc: torch.Tensor,
    pool_len: int,
) -> None:
    """The slots start..end of every request = out_cache_loc, one after the other."""
    place = 0
    for row, start, end in zip(req_pool_indices.tolist(), start_offset.tolist(), end_offset.tolist(), strict=True):
        req_to_token[row, start:end] = out_cache_loc[place : place + end - start]
        place += end - start


def assign_draft_cache_locs_contiguous_cpu(
    req_pool_indices: torch.Tensor,
    req_to_token: torch.Tensor,
    seq_lens: torch.Tensor,
    out_cache_loc: torch.Tensor,
    pool_len: int,
    topk: int,
    num_cols: int,
) -> None:
    width = topk * num_cols
    for index, (row, start) in enumerate(zip(req_pool_indices.tolist(), seq_lens.tolist(), strict=True)):
        out_cache_loc[index * width : (index + 1) * width] = req_to_token[row, start : start + width]


def fill_bonus_tokens_cpu(
    accept_tokens: torch.Tensor, accept_lens: torch.Tensor, bonus_tokens: torch.Tensor, accept_stride: int
) -> None:
    """The last accepted token of every request."""
    rows = torch.arange(len(accept_lens))
    bonus_tokens.copy_(accept_tokens.flatten()[rows * accept_stride + accept_lens.long() - 1])


def fill_accept_out_cache_loc_cpu(
    accept_index: torch.Tensor, out_cache_loc: torch.Tensor, accept_out_cache_loc: torch.Tensor
) -> None:
    accepted = accept_index.flatten()
    accepted = accepted[accepted > -1].long()
    accept_out_cache_loc[: len(accepted)] = out_cache_loc[accepted]


def copy_all_layer_kv_cache_cpu(*args: object) -> None:
    """Only for trees: an accepted chain lies where it was written."""


def build_tree_kernel_efficient_cpu(
    parent_list: torch.Tensor,
    top_scores_index: torch.Tensor,
    seq_lens: torch.Tensor,
    tree_mask: torch.Tensor,
    positions: torch.Tensor,
    retrieve_index: torch.Tensor,
    retrieve_next_token: torch.Tensor,
    retrieve_next_sibling: torch.Tensor,
    topk: int,
    spec_steps: int,
    num_verify_tokens: int,
    tree_mask_mode: int,
) -> None:
    if topk != 1:
        raise RuntimeError("the test shim knows chains only (speculative_eagle_topk 1)")
    batch, width = len(seq_lens), num_verify_tokens
    steps = torch.arange(width)
    positions.copy_((seq_lens[:, None] + steps).flatten())
    retrieve_index.copy_(torch.arange(batch * width).view(batch, width))
    retrieve_next_token.copy_(torch.where(steps + 1 < width, steps + 1, -1).expand(batch, width))
    retrieve_next_sibling.fill_(-1)
    tree_mask.fill_(True)  # causal attention is the shim's own business


def verify_tree_greedy_cpu(
    *,
    predicts: torch.Tensor,
    accept_index: torch.Tensor,
    accept_token_num: torch.Tensor,
    candidates: torch.Tensor,
    retrive_index: torch.Tensor,
    retrive_next_token: torch.Tensor,
    retrive_next_sibling: torch.Tensor,
    target_predict: torch.Tensor,
) -> None:
    batch, width = candidates.shape
    target = target_predict.view(batch, width)
    for row in range(batch):
        last, accepted = 0, 0
        accept_index[row].fill_(-1)
        accept_index[row, 0] = retrive_index[row, 0]
        while last + 1 < width and accepted + 1 < accept_index.shape[1]:
            if int(candidates[row, last + 1]) != int(target[row, last]):
                break
            predicts[int(retrive_index[row, last])] = target[row, last]
            last, accepted = last + 1, accepted + 1
            accept_index[row, accepted] = retrive_index[row, last]
        predicts[int(retrive_index[row, last])] = target[row, last]
        accept_token_num[row] = accepted


def rotate_input_ids_cpu(*args: object) -> None:
    raise RuntimeError("the test shim has no multi-layer drafts")
