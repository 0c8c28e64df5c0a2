# Everything a newcomer needs: `make run`. Every target prepares the environment that it needs by itself.
PYTHON := .venv/bin/python
ARGS ?=
MODEL := var/models/smollm2-135m-instruct

.PHONY: run demo bench bench-api bench-kernels lossless check test test-sglang format client lock clean help

help:  ## Show this list.
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile

run: .venv/.run  ## Start the whole service here: databases, control plane, worker, one node with a real model.
	@$(PYTHON) -m infra.local up $(ARGS)

demo: .venv/.run  ## Play three tenants against the running service (or start it): watch endpoints get faster.
	@$(PYTHON) -m infra.demo $(ARGS)

bench: .venv/.dev  ## Every figure side by side, with peers: var/bench/report.md (ARGS="--quick", "--seconds 600", ...).
	@$(PYTHON) -m infra.bench $(ARGS)

bench-api: .venv/.dev  ## The management API with 10,000 projects and a million usage events: var/bench/management.json.
	@$(PYTHON) -m infra.bench.management $(ARGS)

bench-kernels: .venv/.dev  ## The accept step and the embedded engine on a GPU, or what a CPU can check of them: kernels/bench/results.
	@$(PYTHON) kernels/bench/verification.py $(ARGS)
	@$(PYTHON) kernels/bench/engine.py

lossless: .venv/.dev  ## Greedy output bit for bit, over all sources and companies: var/bench/lossless.json.
	@$(PYTHON) -m infra.bench.lossless $(ARGS)

check: .venv/.dev  ## Style, types, layers, migrations, the committed OpenAPI file.
	@$(PYTHON) -m infra.check

test: .venv/.dev  ## All tests, with the real model, a real browser and real crashes.
	@infra/chromium.sh
	$(PYTHON) -m pytest $(ARGS)

test-sglang: .venv-sglang/.ready  ## SGLang on a CPU: the engines' contract, the plugin, stock compatibility.
	@infra/sglang/test.sh $(ARGS)

format: .venv/.dev  ## Format the code.
	@.venv/bin/ruff check --fix --quiet . ; .venv/bin/ruff format --quiet .

client: .venv/.dev  ## Generate the typed Python client from control_plane/openapi.yaml again.
	@$(PYTHON) -m infra.client.generate

lock: .venv/.dev  ## Resolve pyproject.toml again into requirements/*.txt.
	@infra/lock.sh

clean:  ## Forget the environment (var/ stays).
	rm -rf .venv .venv-sglang

.venv/.run: infra/bootstrap.sh infra/client/pyproject.toml requirements/bootstrap.txt requirements/run.txt requirements/model.txt
	@infra/bootstrap.sh run

.venv/.dev: .venv/.run requirements/dev.txt
	@infra/bootstrap.sh dev

.venv-sglang/.ready: .venv/.run infra/bootstrap.sh requirements/sglang.txt infra/sglang/pyproject.toml tests/sglang_shim/pyproject.toml
	@infra/bootstrap.sh sglang
