"""What is measured, one file each: a section takes a context and a box of time, and returns a JSON record."""
