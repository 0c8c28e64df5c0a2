"""Greedy output is the target's own, token by token: whoever drafts, whoever shares the batch, whatever is swapped."""
