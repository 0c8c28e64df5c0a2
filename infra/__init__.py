"""How Slipstream is installed, started, demonstrated and measured."""
