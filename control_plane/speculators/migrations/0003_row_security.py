from django.db import migrations

from control_plane.common.constraints import row_security


class Migration(migrations.Migration):
    dependencies = [("speculators", "0002_integrity")]
    operations = [
        row_security("speculators_trafficpolicy"),
        row_security("speculators_speculator"),
        row_security("speculators_speculatorversion"),
    ]
