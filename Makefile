# `make demo` and `make test` are all a newcomer needs; both set up first.
.PHONY: demo demo-naive demo-gcp test unit check setup bench bench-guard bench-uploads bench-relay bench-handover fuzz lab soak lock clean
.DEFAULT_GOAL := demo
run := PATH="$$PATH:/usr/sbin:/sbin" .venv/bin/
# Where it is set, every command of every test would compile the program and the client of Google again.
export PYTHONDONTWRITEBYTECODE :=

demo: setup            ## the main job: every tier rolled under traffic, with a verdict
	$(run)changeover demo -f examples/01-four-tiers/chain.yaml

demo-naive: setup      ## the control: the same traffic, instances restarted the plain way (must break requests)
	$(run)changeover demo --naive -f examples/01-four-tiers/chain.yaml

demo-gcp: setup        ## four tiers on a fake of Google Cloud, rolled under traffic; and two controls, which must lose uploads
	$(run)python -m tests.gcp.demo

# Five workers on two cores: tests of chains wait longer than they compute.
test: check            ## static checks and every test
	@scripts/setup-npm tests/clients curl
	@{ command -v wrk && command -v ab; } >/dev/null || scripts/install-packages wrk apache2-utils || echo "setup: load by wrk and ab is left out"
	@command -v promtool >/dev/null || scripts/install-packages prometheus || echo "setup: tests of metrics and alerts by Prometheus are left out"
	@command -v chromium >/dev/null || scripts/install-packages chromium || echo "setup: tests of the page in a browser are left out"
	@scripts/run-tests

unit: setup            ## the tests without processes
	$(run)pytest tests/unit

check: setup           ## formatting, lint, types, import contract, banned words
	$(run)ruff format --check
	$(run)ruff check
	$(run)mypy
	$(run)lint-imports --no-cache
	scripts/check-language

fuzz: setup            ## generated fleets, lives of uploads, what comes over wires, and servers of applications
	@{ command -v wrk && command -v ab; } >/dev/null || scripts/install-packages wrk apache2-utils || echo "setup: load by wrk and ab is left out"
	CHANGEOVER_HYPOTHESIS=deep $(run)pytest -m 'not soak' --timeout 0 tests/unit/rollout tests/unit/uploads tests/unit/http1 \
	    tests/unit/relay tests/process/test_uploads_crash.py tests/process/test_readers.py \
	    tests/process/test_application_servers.py tests/gcp/test_gcloud.py

lab: setup             ## every demonstration of a rule of `changeover audit`, and their table in docs/rules.md
	CHANGEOVER_WRITE_DOCS=1 $(run)pytest -m 'fuzz or not fuzz' --timeout 0 tests/process/test_lab.py

soak: setup            ## controllers killed at every write to the journal; then the main job ten times in a row
	@scripts/setup-npm tests/clients curl
	$(run)pytest -m soak --timeout 0 -s tests/chain tests/process tests/gcp
	for run in 1 2 3 4 5 6 7 8 9 10; do $(run)changeover demo -f examples/01-four-tiers/chain.yaml || exit; done

bench: setup           ## measurements, printed and written to bench/results/*.json
	@scripts/setup-npm bench/peers
	$(run)python bench/start.py
	$(run)python bench/look.py
	$(run)python bench/fleets.py
	$(run)python bench/audit.py
	$(run)python bench/uploads.py --sample
	$(run)python bench/commits.py
	$(run)python bench/many_appends.py
	$(run)python bench/takeover.py
	$(run)python bench/simulate.py
	$(run)python bench/rollouts.py
	$(run)python bench/gets.py
	$(run)python bench/guard.py --sample
	$(run)python bench/relay.py --quick
	$(run)python bench/gcp_calls.py
	$(run)python bench/watching.py

bench-uploads: setup   ## what it costs to take uploads, beside other servers, for a quarter of an hour
	@scripts/setup-npm bench/peers
	$(run)python bench/uploads.py

bench-guard: setup     ## false alarms and detections of guards over every kind of canary, for five minutes
	$(run)python bench/guard.py

bench-relay: setup     ## the relay beside nginx, HAProxy, Envoy and Caddy, and beside no proxy, in a quarter of an hour
	@command -v caddy >/dev/null || scripts/install-packages caddy || echo "setup: Caddy is left out"
	$(run)python bench/relay.py
	$(run)python bench/workers.py

bench-handover: setup  ## slow uploads while what stands behind the relay is rolled and killed, for twelve minutes
	$(run)python bench/handover.py

setup:
	@scripts/setup

lock:                  ## remake requirements.lock (needs uv)
	uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-annotate --no-header -o requirements.lock

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
