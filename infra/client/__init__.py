"""The Python client and the command line: a distribution of its own, generated from the committed OpenAPI file."""
