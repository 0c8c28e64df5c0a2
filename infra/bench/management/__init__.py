"""How fast the management API is with many tenants: `python -m infra.bench.management`."""
