package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestChartDrawsFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	require.Zero(t, chartMain([]string{"-out", dir, "chart/testdata/echo.json", "chart/testdata/fanin.json"}))
	for _, name := range []string{"time-by-size.svg", "cpu-by-rings.png", "latency-by-load.svg", "index.html"} {
		require.FileExists(t, filepath.Join(dir, name))
	}
}

func TestChartExitStatus(t *testing.T) {
	stderr := os.Stderr
	defer func() { os.Stderr = stderr }()
	var err error
	os.Stderr, err = os.Open(os.DevNull) // what it says is not looked at
	require.NoError(t, err)
	require.Equal(t, 2, chartMain([]string{"-unknown"}))
	require.Equal(t, 1, chartMain([]string{"-out", t.TempDir(), "no such file"}))
	require.Equal(t, 0, chartMain([]string{"-h"}))
}

// The runs for the pictures are of scenarios there are.
func TestChartRunsExist(t *testing.T) {
	names := map[string]bool{}
	for _, s := range scenarios() {
		names[s.Name] = true
	}
	files := map[string]bool{}
	for _, run := range chartRuns {
		require.True(t, names[run.args[0]], run.args[0])
		require.False(t, files[run.file], run.file)
		files[run.file] = true
	}
}
