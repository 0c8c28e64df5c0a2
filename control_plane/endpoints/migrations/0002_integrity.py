from django.db import migrations

from control_plane.common.constraints import composite_foreign_key


class Migration(migrations.Migration):
    dependencies = [("endpoints", "0001_initial"), ("tenants", "0002_integrity")]
    operations = [
        composite_foreign_key(
            "endpoints_endpoint", ("organization_id", "project_id"), "tenants_project", name="endpoint_project_tenant"
        ),
        composite_foreign_key(
            "endpoints_deployment",
            ("organization_id", "endpoint_id"),
            "endpoints_endpoint",
            name="deployment_endpoint_tenant",
        ),
        composite_foreign_key(
            "endpoints_speculationwindow",
            ("organization_id", "endpoint_id"),
            "endpoints_endpoint",
            name="window_endpoint_tenant",
        ),
    ]
