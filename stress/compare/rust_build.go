package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/shmloop/shmloop/stress/harness"
)

// rustVariable tells the processes of a run where the Rust program is, so that only
// the first one asks cargo.
const rustVariable = "SHMLOOP_STRESS_RUST"

// rustMissing builds the Rust program, and says why there is none.
func rustMissing(harness.Params) string {
	program, err := rustProgram()
	if err == nil {
		err = os.Setenv(rustVariable, program)
	}
	switch {
	case errors.Is(err, errNoCargo):
		return err.Error()
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return "cargo could not build the Rust program"
	}
	return ""
}

var errNoCargo = errors.New("cargo, which builds the Rust program, is not on PATH")

//go:embed rust/Cargo.toml rust/Cargo.lock rust/src/*.rs
var rustSource embed.FS

// rustProgram is the path of our Rust program.
var rustProgram = sync.OnceValues(buildRust)

func buildRust() (string, error) {
	if program := os.Getenv(rustVariable); program != "" {
		return program, nil
	}
	cargo, err := exec.LookPath("cargo")
	if err != nil {
		return "", errNoCargo
	}
	source, target, err := rustFolders()
	if err != nil {
		return "", err
	}
	if err := writeSource(source); err != nil {
		return "", fmt.Errorf("source of the Rust program: %w", err)
	}
	program := filepath.Join(target, "release", "shmloop-stress-peer")
	if _, err := os.Stat(program); err != nil {
		fmt.Fprintln(os.Stderr, "building the Rust program, once, in about a minute")
	}
	args := []string{
		"build", "--release", "--locked", "--quiet",
		"--manifest-path", filepath.Join(source, "Cargo.toml"), "--target-dir", target,
	}
	// Offline first: once the crates are here, no build asks a registry for anything.
	if runCargo(cargo, append(args, "--offline")) != nil {
		err = runCargo(cargo, args)
	}
	return program, err
}

// rustFolders are outside of the source tree, and stay, so that later runs only check
// the build.
func rustFolders() (source, target string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", "", fmt.Errorf("no place to build the Rust program: %w", err)
	}
	source = filepath.Join(cache, "shmloop-stress", "rust")
	if target = os.Getenv("CARGO_TARGET_DIR"); target != "" {
		target, err = filepath.Abs(target)
		return source, target, err
	}
	return source, filepath.Join(cache, "shmloop-stress", "target"), nil
}

// writeSource puts the source where cargo finds it. What is there already is left
// alone: its time tells cargo that nothing changed.
func writeSource(dir string) error {
	return fs.WalkDir(rustSource, "rust", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(dir, strings.TrimPrefix(path, "rust"))
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		content, err := rustSource.ReadFile(path)
		if err != nil {
			return err
		}
		if there, err := os.ReadFile(to); err == nil && string(there) == string(content) {
			return nil
		}
		return os.WriteFile(to, content, 0o644)
	})
}

func runCargo(cargo string, args []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, cargo, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("cargo %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}
