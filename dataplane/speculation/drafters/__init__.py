"""One file for each drafter: eagle (static + tenant delta), memory, none."""
