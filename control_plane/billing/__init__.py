"""Usage events, prices, and statements that recompute from both to the last digit."""
