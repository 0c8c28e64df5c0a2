from django.db import migrations

from control_plane.common.constraints import may_see

# `row_security` writes this condition now (common/constraints.py says why); here for the tables that have the old one.
_REWRITE = f"""
DO $$ DECLARE old record; BEGIN
    FOR old IN
        SELECT tablename, substring(qual FROM '(\\w+) = ANY') AS tenant FROM pg_policies
        WHERE schemaname = 'public' AND policyname = 'tenant' AND qual NOT LIKE '%CASE%' AND qual LIKE '%= ANY%'
    LOOP
        EXECUTE replace(format('ALTER POLICY tenant ON %I USING (#) WITH CHECK (#)', old.tablename), '#',
            replace({"'" + may_see("@").replace("'", "''") + "'"}, '@', quote_ident(old.tenant)));
    END LOOP;
END $$
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0006_usage_days_filled")]
    operations = [migrations.RunSQL(_REWRITE, migrations.RunSQL.noop)]
