"""What every app of the control plane shares: ids, errors, pages, scoping, states, idempotency. No models."""
