# CI calls these targets; each works alone too.
STATICCHECK = go tool -modfile=.ci/tools.mod staticcheck
GOFILES = $(shell git ls-files '*.go')

.PHONY: all format vet staticcheck test race bench cross

all: format vet staticcheck test race bench cross

format:
	@out=$$(gofmt -l $(GOFILES)); test -z "$$out" || { echo "gofmt would change:"; echo "$$out"; exit 1; }

vet:
	go vet ./...

staticcheck:
	$(STATICCHECK) ./...

test:
	go test ./...

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
