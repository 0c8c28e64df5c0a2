from django.db import migrations

from control_plane.common.constraints import row_security


class Migration(migrations.Migration):
    dependencies = [("training", "0002_integrity")]
    operations = [
        row_security("training_trafficsegment"),
        row_security("training_trainingrun"),
        row_security("training_erasurereceipt"),
    ]
