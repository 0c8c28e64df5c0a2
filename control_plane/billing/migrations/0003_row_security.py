from django.db import migrations

from control_plane.common.constraints import row_security


class Migration(migrations.Migration):
    dependencies = [("billing", "0002_integrity")]
    operations = [
        row_security("billing_usageevent"),
    ]
