from django.db import migrations

from control_plane.common.constraints import append_only, composite_foreign_key


class Migration(migrations.Migration):
    dependencies = [("speculators", "0001_initial"), ("tenants", "0002_integrity")]
    operations = [
        *(
            composite_foreign_key(table, ("organization_id", "project_id"), "tenants_project", name=name)
            for table, name in (
                ("speculators_trafficpolicy", "traffic_policy_project_tenant"),
                ("speculators_speculator", "speculator_project_tenant"),
                ("speculators_speculatorversion", "speculator_version_project_tenant"),
            )
        ),
        composite_foreign_key(
            "speculators_speculatorversion",
            ("project_id", "speculator_id"),
            "speculators_speculator",
            name="speculator_version_speculator_tenant",
        ),
        composite_foreign_key(
            "speculators_speculatorversion",
            ("speculator_id", "parent_id"),
            "speculators_speculatorversion",
            name="speculator_version_parent_tenant",
        ),
        append_only("speculators_speculatorversionevent"),
    ]
