from django.db import migrations

from control_plane.common.constraints import append_only, composite_foreign_key


class Migration(migrations.Migration):
    dependencies = [("tenants", "0001_initial")]
    operations = [
        composite_foreign_key(
            "tenants_apikey", ("organization_id", "project_id"), "tenants_project", name="api_key_project_tenant"
        ),
        append_only("tenants_auditevent"),
    ]
