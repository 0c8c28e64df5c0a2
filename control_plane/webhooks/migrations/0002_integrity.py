from django.db import migrations

from control_plane.common.constraints import composite_foreign_key, row_security, row_security_through
from control_plane.webhooks.triggers import announce_rows, announce_states


class Migration(migrations.Migration):
    dependencies = [
        ("webhooks", "0001_initial"),
        ("endpoints", "0001_initial"),
        ("speculators", "0001_initial"),
        ("training", "0001_initial"),
    ]
    operations = [
        composite_foreign_key(
            "webhooks_webhookdelivery",
            ("organization_id", "webhook_id"),
            "webhooks_webhook",
            name="webhook_delivery_webhook_tenant",
        ),
        composite_foreign_key(
            "webhooks_webhookattempt",
            ("organization_id", "delivery_id"),
            "webhooks_webhookdelivery",
            name="webhook_attempt_delivery_tenant",
        ),
        row_security("webhooks_webhook"),
        row_security("webhooks_occurrence"),
        row_security("webhooks_webhookdelivery"),
        row_security("webhooks_webhookattempt"),
        row_security_through("webhooks_webhookdeliveryevent", "subject_id", "webhooks_webhookdelivery"),
        announce_rows("tenants_auditevent", "audit"),
        announce_states("endpoints_endpointevent", "endpoint", "endpoints_endpoint"),
        announce_states(
            "speculators_speculatorversionevent", "speculator_version", "speculators_speculatorversion"
        ),
        announce_states("training_trainingrunevent", "training_run", "training_trainingrun"),
    ]
