import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import control_plane.common.ids
from control_plane.common.constraints import composite_foreign_key, row_security


class Migration(migrations.Migration):
    """Placement on nodes instead of groups: the fleet places every project anew after the upgrade."""

    dependencies = [("tenants", "0005_isolation_of_children")]

    operations = [
        # Above every generation that a node may have on its disk from before.
        migrations.RunSQL(
            "CREATE SEQUENCE tenants_generation AS bigint; "
            "SELECT setval('tenants_generation', 1 + (SELECT coalesce(max(generation), 0) "
            "FROM tenants_snapshotgeneration))",
            "DROP SEQUENCE tenants_generation",
        ),
        migrations.DeleteModel("Placement"),
        migrations.DeleteModel("SnapshotGeneration"),
        migrations.AddField(
            model_name="project",
            name="generation",
            field=models.PositiveBigIntegerField(default=0, editable=False),
        ),
        migrations.CreateModel(
            name="NodeSnapshot",
            fields=[
                ("node_id", control_plane.common.ids.TypedIdField("node", primary_key=True, serialize=False)),
                ("generation", models.PositiveBigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name="Placement",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("generation", models.PositiveBigIntegerField()),
                ("placed_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("leaving_since", models.DateTimeField(blank=True, null=True)),
                ("is_resident", models.BooleanField(default=True)),
                ("last_used_at", models.DateTimeField(blank=True, null=True)),
                (
                    "node",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="placements",
                        to="tenants.nodesnapshot",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="tenants.organization"
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="placements", to="tenants.project"
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("project", "node"), name="placement_unique")],
            },
        ),
        composite_foreign_key(
            "tenants_placement", ("organization_id", "project_id"), "tenants_project", name="placement_project_tenant"
        ),
        row_security("tenants_placement"),
    ]
