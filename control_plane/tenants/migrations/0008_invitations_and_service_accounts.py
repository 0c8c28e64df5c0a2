"""Members come by invitation, programs are service accounts, and keys know what they are for."""

import django.db.models.deletion
import django.db.models.functions.text
import django.utils.timezone
from django.db import migrations, models

import control_plane.common.ids
import control_plane.tenants.models
from control_plane.common.constraints import composite_foreign_key, page_index, row_security

ROLES = ["owner", "admin", "developer", "billing", "viewer"]
_ROLE = models.CharField(max_length=16, choices=[(role, role) for role in ROLES])


def give_accounts(apps, schema_editor):
    """Every key that exists becomes the only key of an account of its own, with its role."""
    accounts = apps.get_model("tenants", "ServiceAccount")._base_manager
    for key in apps.get_model("tenants", "ServiceKey")._base_manager.all():
        key.account = accounts.create(
            organization_id=key.organization_id,
            name=key.name,
            role=key.role,
            created_by=key.created_by,
            created_at=key.created_at,
        )
        key.save(update_fields=["account"])


class Migration(migrations.Migration):
    dependencies = [("tenants", "0007_accounts")]
    operations = [
        migrations.RemoveField("user", "made_by"),
        migrations.CreateModel(
            name="Invitation",
            fields=[
                ("id", control_plane.common.ids.TypedIdField("inv", primary_key=True, serialize=False)),
                ("email", models.EmailField(max_length=254)),
                ("role", _ROLE),
                ("digest", models.CharField(max_length=64, unique=True)),
                ("invited_by", models.CharField(max_length=64)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("sent_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("expires_at", models.DateTimeField()),
                ("accepted_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="invitations",
                        to="tenants.organization",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("role__in", tuple(ROLES))), name="invitation_role"),
                    models.CheckConstraint(
                        condition=models.Q(("email", django.db.models.functions.text.Lower("email"))),
                        name="invitation_email_lower",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("accepted_at", None), ("revoked_at", None), _connector="OR"),
                        name="invitation_accepted_or_revoked",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("accepted_at", None), ("revoked_at", None)),
                        fields=("organization", "email"),
                        name="invitation_open_unique",
                    ),
                ],
            },
        ),
        row_security("tenants_invitation"),
        page_index("tenants_invitation"),
        migrations.CreateModel(
            name="ServiceAccount",
            fields=[
                ("id", control_plane.common.ids.TypedIdField("sva", primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=120)),
                ("role", _ROLE),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("created_by", models.CharField(blank=True, default="", max_length=64)),
                ("disabled_at", models.DateTimeField(blank=True, null=True)),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="service_accounts",
                        to="tenants.organization",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("role__in", tuple(ROLES))), name="service_account_role"),
                    models.UniqueConstraint(
                        fields=("organization", "id"), name="service_account_organization_id"
                    ),
                ],
            },
        ),
        migrations.AddField(
            "servicekey",
            "account",
            models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="keys",
                to="tenants.serviceaccount",
            ),
        ),
        migrations.RunPython(give_accounts, migrations.RunPython.noop),
        # What the constraints still have to check is checked now: the table can't be altered before.
        migrations.RunSQL("SET CONSTRAINTS ALL IMMEDIATE", migrations.RunSQL.noop),
        migrations.AlterField(
            "servicekey",
            "account",
            models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="keys", to="tenants.serviceaccount"
            ),
        ),
        migrations.RemoveConstraint("servicekey", "service_key_role"),
        migrations.RemoveField("servicekey", "role"),
        migrations.AddField(
            "servicekey",
            "allowed_ips",
            models.JSONField(default=list, help_text="Networks (CIDR) that it may be used from; empty: all."),
        ),
        composite_foreign_key(
            "tenants_servicekey",
            ("organization_id", "account_id"),
            "tenants_serviceaccount",
            name="service_key_account_tenant",
        ),
        row_security("tenants_serviceaccount"),
        page_index("tenants_serviceaccount"),
        migrations.AddField(
            "apikey", "scopes", models.JSONField(default=control_plane.tenants.models.inference_scopes)
        ),
        migrations.AddField("apikey", "endpoints", models.JSONField(default=list)),
        migrations.AddField("apikey", "allowed_ips", models.JSONField(default=list)),
    ]
