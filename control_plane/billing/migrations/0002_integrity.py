from django.db import migrations

from control_plane.common.constraints import append_only, composite_foreign_key


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial"), ("endpoints", "0002_integrity")]
    operations = [
        composite_foreign_key(
            "billing_usageevent", ("organization_id", "project_id"), "tenants_project", name="usage_project_tenant"
        ),
        composite_foreign_key(
            "billing_usageevent", ("project_id", "endpoint_id"), "endpoints_endpoint", name="usage_endpoint_tenant"
        ),
        append_only("billing_usageevent"),
        append_only("billing_quarantinedusage"),
        append_only("billing_price"),
    ]
