"""Peers: what a user would pick instead, with the same weights on the same machine."""
