import django.db.models.deletion
from django.db import migrations, models

from control_plane.common.constraints import composite_foreign_key, page_index, row_security, row_security_through


class Migration(migrations.Migration):
    dependencies = [("endpoints", "0006_deployments_filled"), ("tenants", "0007_accounts")]
    operations = [
        migrations.AlterField(
            model_name='deployment',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.project'),
        ),
        migrations.AddConstraint(
            model_name='deployment',
            constraint=models.CheckConstraint(condition=models.Q(('weight__lte', 10000)), name='deployment_weight'),
        ),
        migrations.AddConstraint(
            model_name='deployment',
            constraint=models.CheckConstraint(condition=models.Q(('max_lookahead__lte', 16), ('speculation_mode__in', ('off', 'static', 'adaptive')), ('holdout_rate__gte', 0), ('holdout_rate__lte', 1)), name='deployment_policy'),
        ),
        migrations.AddConstraint(
            model_name='deployment',
            constraint=models.UniqueConstraint(fields=('endpoint', 'id'), name='deployment_endpoint_id'),
        ),
        migrations.AddConstraint(
            model_name='endpoint',
            constraint=models.CheckConstraint(condition=models.Q(('max_replicas__gte', models.F('min_replicas')), ('max_replicas__lte', 16), ('min_replicas__gte', 1)), name='endpoint_replicas'),
        ),
        migrations.AddConstraint(
            model_name='endpoint',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('deleted_at__isnull', False), ('desired_state', 'deleted')), models.Q(models.Q(('desired_state', 'deleted'), _negated=True), ('deleted_at', None), ('purged_at', None)), _connector='OR'), name='endpoint_deleted_at'),
        ),
        migrations.AddConstraint(
            model_name='speculationwindow',
            constraint=models.CheckConstraint(condition=models.Q(('errors__lte', models.F('requests'))), name='window_errors'),
        ),
        migrations.AddConstraint(
            model_name='speculationwindow',
            constraint=models.UniqueConstraint(fields=('node_id', 'endpoint', 'deployment', 'arm', 'speculator_version_id', 'started_at'), name='window_once', nulls_distinct=False),
        ),
        migrations.AddIndex(
            model_name='rollout',
            index=models.Index(fields=['endpoint', 'id'], name='rollout_newest'),
        ),
        migrations.AddConstraint(
            model_name='rollout',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['aborted', 'aborting', 'completed', 'failed', 'observing', 'paused', 'pending', 'shifting', 'surging'])), name='rollout_state'),
        ),
        migrations.AddConstraint(
            model_name='rollout',
            constraint=models.CheckConstraint(condition=models.Q(('strategy__in', ('immediate', 'rolling', 'canary')), ('trigger__in', ('change', 'rollback', 'promotion'))), name='rollout_strategy_trigger'),
        ),
        migrations.AddConstraint(
            model_name='rollout',
            constraint=models.CheckConstraint(condition=models.Q(('source', models.F('target')), _negated=True), name='rollout_source_is_not_target'),
        ),
        migrations.AddConstraint(
            model_name='rollout',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('finished_at__isnull', False), ('state__in', ('completed', 'aborted', 'failed'))), models.Q(models.Q(('state__in', ('completed', 'aborted', 'failed')), _negated=True), ('finished_at', None)), _connector='OR'), name='rollout_finished_at'),
        ),
        migrations.AddConstraint(
            model_name='rollout',
            constraint=models.UniqueConstraint(condition=models.Q(('state__in', ('completed', 'aborted', 'failed')), _negated=True), fields=('endpoint',), name='rollout_one_open'),
        ),
        migrations.AddIndex(
            model_name='speculationwindow',
            index=models.Index(fields=['deployment', 'received_at'], name='window_deployment_time'),
        ),
        composite_foreign_key(
            "endpoints_deployment", ("organization_id", "project_id"), "tenants_project", name="deployment_project_tenant"
        ),
        composite_foreign_key(
            "endpoints_deployment", ("project_id", "endpoint_id"), "endpoints_endpoint", name="deployment_endpoint_project"
        ),
        composite_foreign_key(
            "endpoints_rollout", ("organization_id", "project_id"), "tenants_project", name="rollout_project_tenant"
        ),
        composite_foreign_key(
            "endpoints_rollout", ("project_id", "endpoint_id"), "endpoints_endpoint", name="rollout_endpoint_project"
        ),
        composite_foreign_key(
            "endpoints_rollout", ("endpoint_id", "source_id"), "endpoints_deployment", name="rollout_source_endpoint"
        ),
        composite_foreign_key(
            "endpoints_rollout", ("endpoint_id", "target_id"), "endpoints_deployment", name="rollout_target_endpoint"
        ),
        composite_foreign_key(
            "endpoints_speculationwindow",
            ("endpoint_id", "deployment_id"),
            "endpoints_deployment",
            name="window_deployment_endpoint",
        ),
        row_security("endpoints_rollout"),
        row_security_through("endpoints_rolloutevent", "subject_id", "endpoints_rollout"),
        page_index("endpoints_deployment"),
        page_index("endpoints_rollout"),
    ]
