"""Node profiles: which machine serves which model with which arguments, and why. Data (`*.toml`) and its arithmetic.

`python -m dataplane.profiles NAME` prints the launch command, `--budget` the memory that it rests on.
"""

from __future__ import annotations

from dataplane.profiles.budget import Budget, Line, budget
from dataplane.profiles.profile import NodeProfile, ProfileError, load_profile, profile_names

__all__ = ["Budget", "Line", "NodeProfile", "ProfileError", "budget", "load_profile", "profile_names"]
