from django.db import migrations, models

from control_plane.common.constraints import composite_foreign_key

_KINDS = [
    "drift", "relearning", "queued", "trained", "rejected", "skipped", "failed", "waiting", "canary", "promoted",
    "rolled_back", "regressed", "retired", "frozen", "thawed", "policy",
]  # fmt: skip
_LABELS = [(kind, kind.replace("_", " ").title()) for kind in _KINDS]


class Migration(migrations.Migration):
    """A deployment can only name a version of its own project; a version on trial is an event."""

    dependencies = [("speculators", "0006_data_policy"), ("endpoints", "0007_deployments_integrity")]
    operations = [
        migrations.AddConstraint(
            model_name="speculatorversion",
            constraint=models.UniqueConstraint(fields=("project", "id"), name="speculator_version_project_id"),
        ),
        composite_foreign_key(
            "endpoints_deployment",
            ("project_id", "speculator_version_id"),
            "speculators_speculatorversion",
            name="deployment_version_project",
        ),
        migrations.RemoveConstraint(model_name="adaptationevent", name="adaptation_event_kind"),
        migrations.AlterField(
            model_name="adaptationevent", name="kind", field=models.CharField(choices=_LABELS, max_length=16)
        ),
        migrations.AddConstraint(
            model_name="adaptationevent",
            constraint=models.CheckConstraint(condition=models.Q(("kind__in", _KINDS)), name="adaptation_event_kind"),
        ),
    ]
