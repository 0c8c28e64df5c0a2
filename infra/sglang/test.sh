#!/bin/sh
# The tests that need SGLang, in its environment: without the service's conftest, which needs Django.
set -eu
cd "$(dirname "$0")/../.."
exec .venv-sglang/bin/python -m pytest -p no:cacheprovider --confcutdir tests/contract/engines \
    tests/contract/engines "$@"
