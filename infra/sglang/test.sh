#!/bin/sh
# The tests that need SGLang, in its environment: without the service's conftest, which needs Django. What SGLang and
# its dependencies warn of is theirs to mend, so warnings are shown here and no errors.
set -eu
cd "$(dirname "$0")/../.."
exec .venv-sglang/bin/python -m pytest -p no:cacheprovider --confcutdir tests/contract/engines -W default \
    --timeout 1200 tests/contract/engines tests/sglang "$@"
