from django.db import migrations

from control_plane.common.constraints import page_index


class Migration(migrations.Migration):
    """In one place for all apps below: the tables that organizations list, newest first, and that grow with their age."""

    dependencies = [
        ("billing", "0007_policies_estimated"),
        ("tenants", "0005_isolation_of_children"),
        ("speculators", "0004_isolation_of_events"),
        ("training", "0004_isolation_of_events"),
    ]
    operations = [
        page_index("tenants_apikey"),
        page_index("tenants_servicekey"),
        page_index("tenants_auditevent"),
        page_index("speculators_speculator"),
        page_index("speculators_speculatorversion"),
        page_index("training_trainingrun"),
    ]
