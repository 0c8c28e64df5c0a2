"""dataplane/models/huge_pages.py: advice about memory never changes what is in it."""

from __future__ import annotations

import torch

from dataplane.models.huge_pages import HUGE_PAGE, anonymous_mappings, use_huge_pages


def test_memory_keeps_its_contents() -> None:
    values = torch.arange(4 * HUGE_PAGE, dtype=torch.int64)
    use_huge_pages()
    assert torch.equal(values, torch.arange(4 * HUGE_PAGE, dtype=torch.int64))


def test_large_tensors_lie_in_the_mappings_that_are_advised() -> None:
    values = torch.ones(4 * HUGE_PAGE, dtype=torch.int64)
    assert any(start <= values.data_ptr() < end for start, end in anonymous_mappings())
