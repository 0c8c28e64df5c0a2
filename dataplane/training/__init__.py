"""Training of speculators: the static drafter (`static`) and, in its own process, a tenant's delta (`__main__`)."""
