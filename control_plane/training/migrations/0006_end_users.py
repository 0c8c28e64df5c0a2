from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("training", "0005_progress_and_fairness")]
    operations = [
        migrations.AddField("trafficsegment", "consent", models.JSONField(default=dict)),
        migrations.AddField("trafficsegment", "end_users", models.JSONField(default=list, null=True)),
        migrations.AddField("trainingrun", "lineage", models.JSONField(default=dict)),
        migrations.AddField("trainingrun", "end_users", models.JSONField(default=list)),
        migrations.AddField(
            "erasurereceipt", "end_user_id", models.CharField(max_length=35, blank=True, default="")
        ),
    ]
