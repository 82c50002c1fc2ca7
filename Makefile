# The daily commands. Everything they make lies in .venv/ and build/.

# The newest Python that both torch and edgetl run on and that can make a venv; override: make PYTHON=/path/to/python3.12
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3.10 python3; do $$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)

# Each is benchmarks/NAME.py (dashes become underscores); it prints its figures and writes build/evidence/NAME.json.
EVIDENCE := extractors engines engine-cost preprocess bench own-data bad-input exactness bench-heads fewshot series steering recipes-bench tasks-bench choose attacks fuzz serial-noise hot-swap adapt-bench guard quantization robot-day camera-day recordings live reliability data-check report text

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo test faults nightly lint clean $(EVIDENCE)

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z$$()A-Z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/ready ## the whole loop on real digits: train, freeze, pack, and a device that learns
	@echo "== the demo: some minutes on two cores"
	.venv/bin/edgetl demo --out build/demo
	@install -D -m 644 build/demo/demo.json build/evidence/demo.json

test: lint ## ruff, mypy and the tests of the commit tier: what CI runs
	@echo "== pytest, the commit tier"
	.venv/bin/python -m pytest -m "not slow"

faults: .venv/ready ## power cuts, failed system calls, damage, crowds: the commit tier of minutes
	@echo "== pytest, the fault suites of the commit tier"
	.venv/bin/python -m pytest tests/faults -m "not slow"

nightly: lint ## every test, with many more random examples
	@echo "== pytest, all tiers"
	HYPOTHESIS_PROFILE=nightly .venv/bin/python -m pytest

lint: .venv/ready ## ruff and strict mypy
	@echo "== ruff and mypy"
	.venv/bin/ruff check .
	.venv/bin/mypy

extractors: ## every backbone that is promised: exports, and torch against onnxruntime
engines:    ## every backbone on every engine: lint, TensorRT's compiler, three onnxruntimes, OpenVINO
engine-cost: ## what the runtime adds to an engine, and what threads do to it beside learning
preprocess: ## preprocessing against torchvision's: grey levels apart, and speed
bench:      ## the device process: memory, start-up, latency, beside torch running the same model
data-check: ## photographs with planted faults: what edgetl data check finds, misses, and calls in vain
own-data:   ## real ImageNet weights and real images: build, learn, predict
bad-input:  ## what each kind of bad input is answered with
exactness:  ## heads and statistics beside independent references, in every order and precision
bench-heads: ## the heads beside scikit-learn's and river's: exactness and cost
hot-swap:   ## predictions while heads are promoted and rolled back; what one durable learn costs
fewshot:    ## accuracy after 1, 5 and 10 labels a class, over seeds
attacks:    ## hostile bundles: refused, by which error, and what they could open or use
fuzz:       ## every parser of foreign bytes, HOURS=0.05 each, by atheris where it is installed
live:       ## 1 kHz motion and a camera in real time: CPU by stage, latency, drops
robot-day:  ## a day on real motion: labels late and few, stalls, unplugs and kills on the way
camera-day: ## a day before a camera: labels late and few, a covered lens, stalls, an unplug and kills
recordings: ## real recordings beside the reference libraries: read, windowed, cut and damaged
serial-noise: ## a noisy serial line: what comes out of a million damaged frames
guard:      ## what the guard lets through, keeps back and sends back, on real shifts and under attack
recipes-bench: ## the default recipe beside scratch, frozen features, last-blocks and full, by images a class
tasks-bench: ## several tasks on one network with half of the labels missing, beside each alone
choose:     ## does the ranking of backbones agree with what fine-tuning then gives: weighted Kendall tau
series:     ## small networks on motion, muscles, terrain and speech: trained, packed, taught in a new domain
steering:   ## steering angle and throttle of a real drive, by the regression heads
quantization: ## INT8 beside float32 on real weights: accuracy, decisions, size, speed, and what was not offered
adapt-bench: ## following the domain without labels: drift, alignment, outliers
report:     ## the page of real builds in a real browser: size, sideways scrolling, console, requests
text:       ## commands and sentiment with few labels, from a sentence encoder and from class names alone
reliability: ## what a device survives: simulated and real power cuts, failed calls, damage, a long life; mutants

$(EVIDENCE): .venv/ready
	@echo "== measuring; the figures also go to build/evidence/$@.json"
	.venv/bin/python -m benchmarks.$(subst -,_,$@)

clean: ## remove what was built and measured (the installed .venv stays: rm -r .venv)
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find edgetl runtime tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# Made once, and again when a list of dependencies changes.
.venv/ready: pyproject.toml runtime/pyproject.toml
	@test -n "$(PYTHON)" || { echo "no Python 3.10 to 3.13 with venv on PATH: install one (Debian: apt install python3-venv), or say make PYTHON=/path/to/python3.12"; exit 1; }
	@echo "== making .venv with $(PYTHON)"
	$(PYTHON) -m venv .venv
	@echo "== installing both packages and their tools into .venv: torch is large, the first time takes minutes"
	.venv/bin/python -m pip install --quiet --editable "runtime[onnxruntime,sign]" --editable ".[dev]"
	@touch $@
