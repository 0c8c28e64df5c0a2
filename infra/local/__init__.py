"""The embedded services and the supervisor behind `make run`.

Embedded means: the setting is unset. `DATABASE_URL`, `BROKER_URL` and `S3_ENDPOINT_URL` point the same code at managed
services, and then the service of that name is not started here.
"""
