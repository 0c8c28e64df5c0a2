"""Tells an organization's own systems what happened: signed HTTP requests, logged, retried, replayable."""
