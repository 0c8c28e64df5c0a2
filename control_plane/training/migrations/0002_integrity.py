from django.db import migrations

from control_plane.common.constraints import append_only, composite_foreign_key


class Migration(migrations.Migration):
    dependencies = [("training", "0001_initial"), ("speculators", "0002_integrity"), ("tenants", "0002_integrity")]
    operations = [
        *(
            composite_foreign_key(table, ("organization_id", "project_id"), "tenants_project", name=name)
            for table, name in (
                ("training_trafficsegment", "traffic_segment_project_tenant"),
                ("training_trainingrun", "training_run_project_tenant"),
                ("training_erasurereceipt", "erasure_receipt_project_tenant"),
            )
        ),
        composite_foreign_key(
            "training_trainingrun",
            ("project_id", "speculator_id"),
            "speculators_speculator",
            name="training_run_speculator_tenant",
        ),
        *(
            composite_foreign_key(
                "training_trainingrun",
                ("speculator_id", f"{column}_id"),
                "speculators_speculatorversion",
                name=f"training_run_{column}_tenant",
            )
            for column in ("incumbent", "version")
        ),
        append_only("training_trainingrunevent"),
    ]
