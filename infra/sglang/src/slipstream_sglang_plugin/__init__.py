"""Nothing but an entry point: see dataplane/engines/sgl/plugin.py."""
