from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("endpoints", "0007_deployments_integrity")]

    operations = [
        migrations.AddField("endpoint", "desired_replicas", models.PositiveSmallIntegerField(default=1)),
        migrations.AddField("endpoint", "ready_replicas", models.PositiveSmallIntegerField(default=0)),
        migrations.AddField("endpoint", "quiet_since", models.DateTimeField(blank=True, null=True)),
        # Until now, placement aimed for the most.
        migrations.RunSQL("UPDATE endpoints_endpoint SET desired_replicas = max_replicas", migrations.RunSQL.noop),
        migrations.AddConstraint(
            "endpoint",
            models.CheckConstraint(
                condition=models.Q(
                    desired_replicas__gte=models.F("min_replicas"), desired_replicas__lte=models.F("max_replicas")
                ),
                name="endpoint_desired_replicas",
            ),
        ),
    ]
