from django.db import migrations

from control_plane.common.constraints import row_security


class Migration(migrations.Migration):
    dependencies = [("endpoints", "0002_integrity")]
    operations = [
        row_security("endpoints_endpoint"),
        row_security("endpoints_deployment"),
        row_security("endpoints_speculationwindow"),
    ]
