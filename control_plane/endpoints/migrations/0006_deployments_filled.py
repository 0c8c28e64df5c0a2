from django.db import migrations

# Rows that are there already, in a transaction of its own: rows with unchecked foreign keys keep a table from being
# altered. Until now an endpoint had one deployment, which ran as the endpoint's own policy said.
_DEPLOYMENTS = (
    "UPDATE endpoints_deployment d SET project_id = e.project_id, speculation_mode = e.speculation_mode, "
    "max_lookahead = e.max_lookahead, holdout_rate = e.holdout_rate, weight = CASE WHEN d.active THEN 10000 ELSE 0 END "
    "FROM endpoints_endpoint e WHERE e.id = d.endpoint_id"
)
_ENDPOINTS = (
    "UPDATE endpoints_endpoint SET deleted_at = updated_at, desired_before = 'stopped' WHERE desired_state = 'deleted'"
)


class Migration(migrations.Migration):
    dependencies = [("endpoints", "0005_deployments_and_rollouts")]
    operations = [
        migrations.RunSQL(_DEPLOYMENTS, migrations.RunSQL.noop),
        migrations.RunSQL(_ENDPOINTS, migrations.RunSQL.noop),
    ]
