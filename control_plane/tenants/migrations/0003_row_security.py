from django.db import migrations

from control_plane.common.constraints import row_security


class Migration(migrations.Migration):
    dependencies = [("tenants", "0002_integrity")]
    operations = [
        row_security("tenants_organization", "id"),
        row_security("tenants_project"),
        row_security("tenants_membership"),
        row_security("tenants_apikey"),
        row_security("tenants_servicekey"),
        row_security("tenants_auditevent"),
    ]
