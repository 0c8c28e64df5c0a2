from django.db import migrations, models

import control_plane.speculators.models

# Each existing policy gets a key of its own: the default of a new column is computed for each row if it is volatile,
# whoever may see the rows.
_ADD_KEY = """
ALTER TABLE speculators_trafficpolicy ADD COLUMN end_user_key varchar(64) NOT NULL
    DEFAULT replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
ALTER TABLE speculators_trafficpolicy ALTER COLUMN end_user_key DROP DEFAULT;
"""


def _choice(length, default, *names):
    return models.CharField(max_length=length, default=default, choices=[(name, name) for name in names])


class Migration(migrations.Migration):
    dependencies = [("speculators", "0005_adaptation")]
    operations = [
        migrations.AddField("trafficpolicy", "redaction", _choice(8, "drop", "off", "drop", "mask")),
        migrations.AddField("trafficpolicy", "memory_scope", _choice(16, "project", "project", "end_user")),
        migrations.AddField("trafficpolicy", "stream_coalescing", _choice(16, "none", "none", "tokens", "interval")),
        migrations.AddField("trafficpolicy", "coalesce_tokens", models.PositiveIntegerField(default=16)),
        migrations.AddField("trafficpolicy", "coalesce_milliseconds", models.PositiveIntegerField(default=100)),
        migrations.AddField(
            "trafficpolicy", "end_user_erasures", models.PositiveIntegerField(default=0, editable=False)
        ),
        migrations.RunSQL(
            _ADD_KEY,
            "ALTER TABLE speculators_trafficpolicy DROP COLUMN end_user_key",
            state_operations=[
                migrations.AddField(
                    "trafficpolicy",
                    "end_user_key",
                    models.CharField(
                        max_length=64, default=control_plane.speculators.models._end_user_key, editable=False
                    ),
                )
            ],
        ),
        migrations.AddConstraint(
            "trafficpolicy",
            models.CheckConstraint(
                condition=models.Q(
                    redaction__in=("off", "drop", "mask"),
                    memory_scope__in=("project", "end_user"),
                    stream_coalescing__in=("none", "tokens", "interval"),
                ),
                name="traffic_policy_choices",
            ),
        ),
        migrations.AddConstraint(
            "trafficpolicy",
            models.CheckConstraint(
                condition=models.Q(coalesce_tokens__gte=2, coalesce_tokens__lte=256),
                name="traffic_policy_coalesce_tokens",
            ),
        ),
        migrations.AddConstraint(
            "trafficpolicy",
            models.CheckConstraint(
                condition=models.Q(coalesce_milliseconds__gte=10, coalesce_milliseconds__lte=2000),
                name="traffic_policy_coalesce_milliseconds",
            ),
        ),
        migrations.AddField("speculatorversion", "lineage", models.JSONField(default=dict)),
    ]
