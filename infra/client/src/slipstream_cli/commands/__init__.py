"""One module per group of commands; each registers its functions on a `typer.Typer`."""
