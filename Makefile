# Each target is one or two commands that also work by hand. `make` alone prints this list.

GO       ?= go
FUZZTIME ?= 10s
FUZZIN   ?= .

# The race detector needs a C compiler. Where there is none, the tests run without it and say so.
CC_FOUND := $(shell command -v $$($(GO) env CC) >/dev/null 2>&1 && echo yes)
RACE     := $(if $(CC_FOUND),-race)

.PHONY: help build test vet lint unit conformance e2e bench microbench fuzz
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## bin/fairlead
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/fairlead ./cmd/fairlead

test: vet lint unit ## vet, lint, and all tests but e2e, with the race detector

vet: ## go vet, the end-to-end tests included
	$(GO) vet -tags e2e ./...
	$(GO) vet -tags otel ./cmd/fairlead
	$(GO) -C tools vet ./...

lint: ## golangci-lint, as pinned in tools/go.mod (the first run builds it: some minutes)
	$(GO) tool -modfile=tools/go.mod golangci-lint run ./...
	$(GO) -C tools tool golangci-lint run ./...

unit: ## the tests alone
	$(if $(RACE),,@echo "make: no C compiler, so no race detector: install gcc to have it")
	$(GO) test $(RACE) -shuffle=on ./...
	$(GO) test $(RACE) -tags otel -run='Traces|OpenTelemetry' ./cmd/fairlead
	$(GO) -C tools test -count=1 ./... # they read files beside their module, of which the cache does not know

conformance: ## what a real Django answered, against this server (CONFORMANCE=FILE: other cases)
	$(GO) test -v -count=1 -run='^TestConformance$$' ./cmd/fairlead -conformance.table $(if $(CONFORMANCE),-conformance.file='$(abspath $(CONFORMANCE))')

e2e: ## end to end: real processes, NATS, PostgreSQL, HAProxy, nginx, a browser, an image (.ci/run installs them)
	$(GO) test -tags e2e -count=1 -timeout=20m -v ./cmd/fairlead/e2e

bench: ## what a server costs, measured from outside: twenty minutes, and a quiet machine
	$(GO) run ./bench all

microbench: ## the Go benchmarks of the packages
	$(GO) test -run='^$$' -bench=. -benchmem ./...

fuzz: ## each fuzz target in FUZZIN (everywhere) for FUZZTIME (10s)
	tools/fuzz $(FUZZTIME) $(FUZZIN)
