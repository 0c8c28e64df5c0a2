"""Nodes: registration, what each should run, what each reports, and where endpoints stand because of it."""
