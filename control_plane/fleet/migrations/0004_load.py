from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0003_tokens")]

    operations = [
        migrations.AddField("node", "slots", models.PositiveIntegerField(default=0)),
        migrations.AddField("node", "in_flight", models.JSONField(default=dict)),
    ]
