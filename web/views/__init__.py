"""One module for each noun; every view is a function that gets a `Page`."""
