# These targets need only make, and Python 3.11 or newer with venv. Everything else comes from package registries into
# .venv and a cache. `make help` lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TEST_JOBS ?= 2
OLDEST_KUBERNETES := 1.33.13
SOAK ?= 20
SOAK_JOBS ?= 2
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
IMAGE ?= atlas-invites:$(VERSION)
PYTHON_IMAGE ?= python:3.13-slim
RELEASE_TESTS := lint test test-oldest docs monitoring-test gitops image-test
STEPS ?= login image chart files sign publish
DOCS := .build/docs-$(shell sha256sum requirements/docs.txt | cut -c -12)
CHECKOV := .build/checkov-$(shell sha256sum requirements/checkov.txt | cut -c -12)

.DEFAULT_GOAL := help
.PHONY: help demo test test-oldest lint format fuzz bench generate docs image image-test monitoring-test gitops soak mutants clean requirements \
  release-check release-tests release-prepare release

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## Run everything on this machine and show the life of an invitation; DEMO_EXIT=1 exits at the end
	@$(BIN)/python -m tests.demo

test: $(INSTALLED) ## Run all tests, TEST_JOBS at a time (2), with a real control plane
	@$(BIN)/python -m tests.control_plane build
	@$(BIN)/python -m pytest -q -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-oldest: export KUBERNETES_VERSION = $(OLDEST_KUBERNETES)
test-oldest: $(INSTALLED) ## Run the tests of CRD, installation and operator on the oldest supported Kubernetes
	@$(BIN)/python -m tests.control_plane build
	@$(BIN)/python -m pytest -q -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder tests/cluster tests/deploy \
	  $(addprefix tests/e2e/,test_by_id.py test_deletion.py test_process.py faults/test_api_server.py) $(PYTEST_ARGS)

lint: $(INSTALLED) $(CHECKOV)/.installed ## Check format, style, types and layers of the code; check image, chart and manifests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=operator $(BIN)/lint-imports
	$(BIN)/python -m tests.workflows
	$(BIN)/hadolint Dockerfile
	rm -rf .build/manifests && PYTHONPATH=operator $(BIN)/python -m tests.deploy.lint .build/manifests
	$(CHECKOV)/bin/checkov --config-file .checkov.yaml -d .build/manifests
	$(CHECKOV)/bin/checkov --config-file .checkov.yaml -f Dockerfile

format: $(INSTALLED) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

generate: $(INSTALLED) ## Regenerate the files that are made from others: the chart's copies, docs/crd.md, Argo CD's ConfigMap
	@PYTHONPATH=operator $(BIN)/python -m tests.deploy.generated

docs: $(INSTALLED) $(DOCS)/.installed ## Render the documentation as a site, and check it in a browser (needs Chromium)
	@$(BIN)/python -m tests.site.assemble
	@$(DOCS)/bin/zensical build --strict --config-file .build/docs/zensical.toml
	@$(BIN)/python -m pytest -q -m site tests/site $(PYTEST_ARGS)
	@echo "docs: open .build/docs/site/index.html"

image: ## Build the image with docker, podman or buildah: IMAGE=name:tag, PYTHON_IMAGE=base
	@for engine in docker podman buildah; do \
	  if $$engine info >/dev/null 2>&1; then \
	    exec $$engine build $(BUILD_OPTIONS) --build-arg PYTHON_IMAGE=$(PYTHON_IMAGE) --tag $(IMAGE) \
	      --build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) .; \
	  fi; \
	done; echo "make image needs docker, podman or buildah, and none of them works here" >&2; exit 1

image-test: $(INSTALLED) ## Build the image without a registry, and run it hardened with a control plane and the sandbox
	@PYTHONPATH=operator $(BIN)/python -m tests.image

monitoring-test: $(INSTALLED) ## Evaluate alerts and dashboard with the real Prometheus, for each fault (6 minutes)
	@$(BIN)/python -m tests.monitoring

gitops: $(INSTALLED) ## Test the shipped files with the real Argo CD and Flux; GITOPS="prune --tool flux" selects scenarios
	@$(BIN)/python -m tests.control_plane build
	@$(BIN)/python -m tests.gitops $(GITOPS)

fuzz: $(INSTALLED) ## Simulate new random sequences for FUZZ_SECONDS (600), and print the shortest one that breaks a law
	@$(BIN)/python -m tests.simulation

bench: $(INSTALLED) ## Compare calls, writes, seconds and memory with their targets; BENCH=quick runs a part, BENCH_JSON=file also writes JSON
	@$(BIN)/python -m tests.bench $(if $(filter quick,$(BENCH)),--quick) $(if $(BENCH_JSON),--json $(BENCH_JSON))

soak: $(INSTALLED) ## Run the tests that take minutes, then the tests of Lease, kill and watch SOAK times (20), SOAK_JOBS at a time (2)
	@$(BIN)/python -m pytest -q -m long
	@rm -rf .build/soak && mkdir -p .build/soak
	@seq $(SOAK) | xargs -P $(SOAK_JOBS) -I{} sh -c '$(BIN)/python -m pytest -q $(addprefix tests/e2e/faults/test_,lease.py kill.py watch.py) \
	    > .build/soak/{}.log 2>&1 && echo "[soak] {} of $(SOAK): $$(tail -n 1 .build/soak/{}.log)" || { cat .build/soak/{}.log; exit 255; }'

mutants: $(INSTALLED) ## Check that each bug of tests/mutants makes its test fail
	@$(BIN)/python -m tests.mutants

release-check: $(INSTALLED) ## Check that the version is the same everywhere; with VERSION=x.y.z, also that it can be released
	@$(BIN)/python -m release check $(if $(filter command line,$(origin VERSION)),$(VERSION))
	@echo "release: make release-tests runs what else must pass: $(RELEASE_TESTS)"

release-tests: $(RELEASE_TESTS) ## Run everything that must pass before a release (about two hours)

release-prepare: $(INSTALLED) ## Turn the unreleased changes into VERSION=x.y.z: version, changelog, stored CRD, copies
	@$(BIN)/python -m release prepare $(VERSION)

release: $(INSTALLED) ## Make and publish the release, with all STEPS or some; DRY_RUN=1 only prints the commands that need a registry
	@for step in $(STEPS); do $(BIN)/python -m release $$step $(if $(DRY_RUN),--dry-run) || exit 1; done

clean: ## Remove what the targets created here (the built control plane stays in its cache)
	rm -rf $(VENV) .build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

requirements: ## Update the pinned dependencies (needs uv)
	uv pip compile pyproject.toml --universal --generate-hashes --no-emit-index-url -q -o requirements/run.txt
	uv pip compile pyproject.toml --universal --generate-hashes --no-emit-index-url -q --extra sandbox --group dev \
	  -o requirements/dev.txt
	for group in build checkov docs; do \
	  uv pip compile --group $$group --python-version 3.11 --universal --generate-hashes --no-emit-index-url -q \
	    -o requirements/$$group.txt; \
	done

# checkov pins a hundred packages, so it has its own environment, whose name is the hash of the requirements.
$(CHECKOV)/.installed:
	@echo "[setup] installing checkov into $(CHECKOV) (about a minute the first time)"
	@rm -rf .build/checkov-*
	@$(PYTHON) -m venv $(CHECKOV)
	@$(CHECKOV)/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/checkov.txt
	@touch $@

$(DOCS)/.installed:
	@echo "[setup] installing zensical into $(DOCS)"
	@rm -rf .build/docs-*
	@$(PYTHON) -m venv $(DOCS)
	@$(DOCS)/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/docs.txt
	@touch $@

$(INSTALLED): requirements/dev.txt
	@echo "[setup] installing the pinned dependencies into $(VENV) (about a minute the first time)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
