"""Documents whose commands are run: what they show is what happened."""
