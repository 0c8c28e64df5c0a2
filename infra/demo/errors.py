"""What can go wrong in the demo."""


class DemoError(Exception):
    """One sentence for the person who runs the demo."""
