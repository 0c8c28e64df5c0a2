from django.db import migrations

from control_plane.common.constraints import row_security_through


class Migration(migrations.Migration):
    dependencies = [("training", "0003_row_security")]
    operations = [row_security_through("training_trainingrunevent", "subject_id", "training_trainingrun")]
