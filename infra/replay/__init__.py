"""Replays recorded greedy answers through the real speculative step, with a simulated clock instead of a target."""
