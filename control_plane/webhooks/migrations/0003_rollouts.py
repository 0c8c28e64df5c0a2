from django.db import migrations

from control_plane.webhooks.triggers import announce_states


class Migration(migrations.Migration):
    dependencies = [("webhooks", "0002_integrity"), ("endpoints", "0007_deployments_integrity")]
    operations = [announce_states("endpoints_rolloutevent", "rollout", "endpoints_rollout")]
