from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0008_invitations_and_service_accounts")]

    operations = [
        # Without what they needed, the answers of the last day can't be replayed to whoever still may read them.
        migrations.RunSQL("DELETE FROM tenants_idempotencyrecord", migrations.RunSQL.noop),
        migrations.AddField("idempotencyrecord", "needs", models.JSONField(default=list)),
    ]
