"""The command line `slipstream`: the management API for people and scripts."""
