from django.db import migrations

from control_plane.common.constraints import row_security_through


class Migration(migrations.Migration):
    dependencies = [("endpoints", "0003_row_security")]
    operations = [row_security_through("endpoints_endpointevent", "subject_id", "endpoints_endpoint")]
