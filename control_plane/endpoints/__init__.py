"""The model catalogue, endpoints with desired and observed state, and their deployments."""
