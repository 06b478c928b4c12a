# CI calls these targets; each works alone too.
STATICCHECK = go tool -modfile=.ci/tools.mod staticcheck
GOFILES = $(shell git ls-files '*.go')

.PHONY: all format vet staticcheck test more race bench cross

all: format vet staticcheck test more race bench cross

format:
	@out=$$(gofmt -l $(GOFILES)); test -z "$$out" || { echo "gofmt would change:"; echo "$$out"; exit 1; }

# The arms of stress with heavy dependencies are a module of their own.
COMPARE = go -C stress/compare

vet:
	go vet ./...
	go vet -tags poll_opt ./adapters/...
	$(COMPARE) vet ./...

staticcheck:
	$(STATICCHECK) ./...
	cd stress/compare && go tool -modfile=../../.ci/tools.mod staticcheck ./...

test:
	go test ./...

# gnet's other poller, and the nested module.
more:
	go test -tags poll_opt ./adapters/...
	$(COMPARE) test ./...

# The race detector is blind to mapped memory: the ring core runs on the heap for
# it. The model has no concurrency of its own.
race:
	go test -race -skip '^TestModel$$' ./...

bench:
	go test -run '^$$' -bench . -benchtime 1x ./...

# Other systems compile and get an unsupported error at run time.
cross:
	GOOS=darwin go vet ./...
	GOARCH=arm64 go vet ./...
