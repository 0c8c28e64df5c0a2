from django.db import migrations, models

from control_plane.common.constraints import row_security_through


class Migration(migrations.Migration):
    dependencies = [("tenants", "0004_account_origin")]
    operations = [
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.UniqueConstraint(fields=("project", "id"), name="api_key_project_id"),
        ),
        row_security_through("tenants_placement", "project_id", "tenants_project"),
    ]
