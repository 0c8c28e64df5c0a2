"""Engines: what turns requests into tokens. A node runs exactly one of them."""
