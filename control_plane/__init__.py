"""The control plane: organizations, endpoints, speculators, training, usage and money, on Postgres.

Nodes are the data plane; the two meet over HTTP and S3 alone.
"""

from control_plane.celery import app as celery_app

__all__ = ["celery_app"]
