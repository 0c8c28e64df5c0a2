#!/usr/bin/env python
"""Django's command line for the control plane."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "control_plane.settings")
    # The owner role changes the schema; everything else runs as the runtime role.
    if sys.argv[1:2] == ["migrate"] and os.environ.get("DATABASE_OWNER_URL"):
        os.environ["DATABASE_URL"] = os.environ["DATABASE_OWNER_URL"]
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
