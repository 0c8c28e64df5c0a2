from django.db import migrations

from control_plane.common.constraints import row_security_through


class Migration(migrations.Migration):
    dependencies = [("speculators", "0003_row_security")]
    operations = [row_security_through("speculators_speculatorversionevent", "subject_id", "speculators_speculatorversion")]
