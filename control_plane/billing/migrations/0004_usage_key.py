from django.db import migrations

from control_plane.common.constraints import composite_foreign_key


class Migration(migrations.Migration):
    dependencies = [("billing", "0003_row_security"), ("tenants", "0005_isolation_of_children")]
    operations = [
        composite_foreign_key(
            "billing_usageevent", ("project_id", "key_id"), "tenants_apikey", name="usage_key_tenant"
        ),
    ]
