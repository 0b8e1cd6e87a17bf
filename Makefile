# Every target works as the first command on a fresh clone: it installs what it needs from the ordinary npm registry
# (the project's own Node 24 included, as a package) and says so. Any Node ≥ 18 with npm starts it.
# The recipes call that Node by path: nothing but a POSIX sh, coreutils, npm and node is needed on the PATH.
SHELL := /bin/sh
NODE := node_modules/.bin/node
STAMP := node_modules/.installed
ARGS ?=
# node_modules/.bin first: `node` is the project's Node for every tool that a recipe starts.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help install demo check test test-cluster cluster-shell bench mutation build image generate clean

help: ## this list
	@echo 'make demo          the main job on this machine, no cluster needed'
	@echo 'make test          everything that can be tested without a cluster (ARGS go to mocha)'
	@echo 'make test-cluster  the product on a real Kubernetes (built once, into a cache outside the checkout)'
	@echo 'make cluster-shell a shell in such a cluster, with kubectl and helm; gone when you leave it (root)'
	@echo 'make check         format, lint, types, generated files: the gate'
	@echo 'make bench         the benchmarks, with their table'
	@echo 'make mutation      changes the code that decides and counts what the quick tests notice (long)'
	@echo 'make build         dist/: the bundles and the compiled exchange program'
	@echo 'make image         dist/images/: the images as OCI archives, without a container engine'
	@echo 'make generate      rewrites generated reference pages'
	@echo 'make install       only installs (every target does that by itself)'
	@echo 'make clean         removes dist/ and test output'

install: $(STAMP)

$(STAMP): package-lock.json
	@echo 'Installing Node 24 and the libraries from the npm registry into node_modules (once, about half a minute) …'
	@npm install --no-save --ignore-scripts --no-audit --no-fund --loglevel=error --fetch-timeout=60000
	@if [ ! -x $(NODE) ]; then echo 'No Node 24 package for this platform: using the Node on the PATH, which must be 24 or newer.'; \
	  mkdir -p node_modules/.bin && ln -sf "$$(command -v node)" $(NODE); fi
	@$(NODE) -e 'if (+process.versions.node.split(".")[0] < 24) { console.error("Node " + process.versions.node + " is too old: 24 or newer is needed."); process.exit(1); }'
	@touch $(STAMP)

demo: $(STAMP) ## the main job on a bare machine
	@$(NODE) dev/demo.ts

check: $(STAMP)
	@$(NODE) scripts/check.ts

test: $(STAMP)
	@$(NODE) scripts/test.ts $(ARGS)

test-cluster: $(STAMP)
	@$(NODE) scripts/test-cluster.ts $(ARGS)

cluster-shell: $(STAMP)
	@$(NODE) scripts/cluster-shell.ts $(ARGS)

bench: $(STAMP)
	@$(NODE) bench/main.ts $(ARGS)

mutation: $(STAMP)
	@$(NODE) scripts/mutation.ts $(ARGS)

build: $(STAMP)
	@$(NODE) scripts/build.ts $(ARGS)

image: $(STAMP)
	@$(NODE) scripts/build.ts all
	@$(NODE) scripts/image.ts exchange $(ARGS)
	@$(NODE) scripts/image.ts coatcheck $(ARGS)

generate: $(STAMP)
	@$(NODE) scripts/generate.ts

clean:
	rm -rf dist .test-output coverage .stryker
