from django.db import migrations

# The days of the events that are there already (as rollups.rebuild), in a transaction of its own: rows with
# unchecked foreign keys keep a table from being altered.
_KEY_DAYS = (
    "INSERT INTO billing_keyusageday (organization_id, project_id, day, endpoint_id, key_id, model, status, "
    "requests, prompt_tokens, cached_tokens, completion_tokens, steps, drafted, accepted) SELECT "
    "organization_id, project_id, (finished_at AT TIME ZONE 'UTC')::date AS day, endpoint_id, key_id, model, "
    "status, count(*) AS requests, sum(prompt_tokens) AS prompt_tokens, sum(cached_tokens) AS cached_tokens, "
    "sum(completion_tokens) AS completion_tokens, sum(steps) AS steps, sum(drafted) AS drafted, sum(accepted) "
    "AS accepted FROM billing_usageevent  GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY project_id, day, endpoint_id, "
    "key_id, model, status "
)
_ORGANIZATION_DAYS = (
    "INSERT INTO billing_organizationusageday (organization_id, day, model, status, requests, prompt_tokens, "
    "cached_tokens, completion_tokens, steps, drafted, accepted) SELECT organization_id, (finished_at AT TIME "
    "ZONE 'UTC')::date AS day, model, status, count(*) AS requests, sum(prompt_tokens) AS prompt_tokens, "
    "sum(cached_tokens) AS cached_tokens, sum(completion_tokens) AS completion_tokens, sum(steps) AS steps, "
    "sum(drafted) AS drafted, sum(accepted) AS accepted FROM billing_usageevent  GROUP BY 1, 2, 3, 4 ORDER BY "
    "organization_id, day, model, status "
)


class Migration(migrations.Migration):
    dependencies = [("billing", "0005_usage_days")]
    operations = [
        migrations.RunSQL(_KEY_DAYS, migrations.RunSQL.noop),
        migrations.RunSQL(_ORGANIZATION_DAYS, migrations.RunSQL.noop),
    ]
