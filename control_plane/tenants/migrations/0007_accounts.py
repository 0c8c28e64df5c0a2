"""Verified addresses, organizations that require a second factor, and the table of the shared cache."""

from django.db import migrations, models


def verify_addresses(apps, schema_editor):
    """Accounts that people or operators made for themselves keep working. Those that an admin made for somebody
    else, with a first password that the admin knows, verify their address and choose a new password."""
    users = apps.get_model("tenants", "User").objects
    addresses = apps.get_model("account", "EmailAddress").objects
    for user in users.all():
        own = user.made_by_id is None
        addresses.get_or_create(user=user, email=user.email, defaults={"verified": own, "primary": True})
        if not own:
            user.password = "!"
            user.save(update_fields=["password"])


class Migration(migrations.Migration):
    dependencies = [("tenants", "0006_node_placement"), ("account", "0009_emailaddress_unique_primary_email")]
    operations = [
        migrations.AddField("organization", "requires_second_factor", models.BooleanField(default=False)),
        migrations.RunSQL(
            """
            CREATE TABLE slipstream_cache (
                cache_key varchar(255) PRIMARY KEY, value text NOT NULL, expires timestamptz NOT NULL
            );
            CREATE INDEX slipstream_cache_expires ON slipstream_cache (expires);
            """,
            "DROP TABLE slipstream_cache",
        ),
        migrations.RunPython(verify_addresses, migrations.RunPython.noop),
    ]
