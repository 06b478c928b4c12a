package chart

import (
	"bytes"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func testRuns(t *testing.T) []Run {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.json")
	require.NoError(t, err)
	runs, err := ReadFiles(paths)
	require.NoError(t, err)
	require.Len(t, runs, 12)
	return runs
}

func TestDrawWritesEachPicture(t *testing.T) {
	dir := os.Getenv("SHMLOOP_PICTURES") // to look at them
	if dir == "" {
		dir = t.TempDir()
	}
	paths, err := Draw(dir, testRuns(t))
	require.NoError(t, err)

	var names []string
	for _, path := range paths {
		names = append(names, filepath.Base(path))
		require.FileExists(t, path)
	}
	require.Equal(t, []string{
		"time-by-size.svg", "time-by-size.png", "throughput-by-size.svg", "throughput-by-size.png",
		"cpu-by-rings.svg", "cpu-by-rings.png", "latency-by-load.svg", "latency-by-load.png",
		"index.html",
	}, names)

	page, err := os.ReadFile(filepath.Join(dir, "index.html"))
	require.NoError(t, err)
	require.Equal(t, 4, strings.Count(string(page), "<svg"))
	require.NotContains(t, string(page), "<?xml")
	require.Contains(t, string(page), "Example CPU")
	require.NotContains(t, string(page), `src="`, "the page needs no other file")
}

// Each arm of the data is a line of its picture with all of its points, and is named.
func TestFiguresHaveAllSeries(t *testing.T) {
	fanin := []string{"gnet", "gnet-unix", "goroutine", "reactor", "unix"}
	want := map[string]struct {
		panels []string
		arms   []string
		points int
	}{
		"time-by-size": {[]string{""}, []string{"dbus", "ring", "ring-doorbell", "rust", "unix"}, 10},
		"throughput-by-size": {[]string{""}, []string{"go-rust", "pipe", "ring", "ring-spin", "rust", "rust-go",
			"shmipc", "shmipc-buffered", "tcp", "unix", "unix-buffered"}, 4},
		"cpu-by-rings":    {[]string{"10,000 messages/s", "100,000 messages/s", "flat out"}, fanin, 3},
		"latency-by-load": {[]string{"10,000 messages/s", "100,000 messages/s", "500,000 messages/s"}, fanin, 9},
	}
	drawn := figures(testRuns(t))
	require.Len(t, drawn, len(want))
	for _, f := range drawn {
		w := want[f.name]
		var titles []string
		for _, p := range f.panels {
			titles = append(titles, p.title)
			var arms []string
			for _, s := range p.series {
				arms = append(arms, s.arm)
				require.Len(t, s.points, w.points, "%s: %s", f.name, s.arm)
			}
			require.Equal(t, w.arms, arms, f.name)
		}
		require.Equal(t, w.panels, titles, f.name)

		svg, err := f.svg()
		require.NoError(t, err)
		for _, text := range append([]string{f.title, f.x.label, f.y.label}, w.arms...) {
			require.Contains(t, svg, ">"+text+"</text>", f.name)
		}
		// A polyline for each series in each panel, and for each in the legend.
		require.GreaterOrEqual(t, strings.Count(svg, "stroke-width:1.6"), len(w.arms)*(len(w.panels)+1), f.name)
		require.NotContains(t, svg, "NaN", f.name)
	}
}

func TestPictureIsAsWideAsAReadme(t *testing.T) {
	f := timeBySize(testRuns(t))
	var b bytes.Buffer
	require.NoError(t, f.png(&b))
	config, err := png.DecodeConfig(&b)
	require.NoError(t, err)
	require.Equal(t, 2*830, config.Width, "two dots a pixel")
	svg, err := f.svg()
	require.NoError(t, err)
	require.Contains(t, svg, `width="622.5pt"`, "830 pixels")
}

func TestNoTwoArmsOfAPictureLookAlike(t *testing.T) {
	for picture, arms := range map[string][]string{
		"time":       {"ring", "ring-doorbell", "unix", "rust", "dbus", "new", "newer"},
		"throughput": {"ring", "ring-buffered", "unix", "unix-buffered", "pipe", "tcp", "shmipc", "shmipc-buffered", "rust", "rust-buffered", "go-rust", "rust-go", "new", "newer"},
		"fan-in":     {"reactor", "goroutine", "epoll-nested", "epoll-direct", "gnet", "unix", "unix-buffered", "gnet-unix", "gnet-unix-buffered", "new", "newer"},
	} {
		seen := map[string]string{}
		for i, arm := range arms {
			l := lookOf(arm, i)
			key := fmt.Sprint(l)
			require.Empty(t, seen[key], "%s: %s looks like that", picture, arm)
			seen[key] = arm
			// Without the colour, too.
			key = fmt.Sprint(l.dashes, l.marker)
			if looks[arm].color != nil {
				require.Empty(t, seen[key], "%s: %s has its marker and dashes", picture, arm)
				seen[key] = arm
			}
		}
	}
}

// What a run may leave out or have as 0 is not drawn and stops nothing.
func TestDrawLeavesOutWhatIsMissing(t *testing.T) {
	runs, err := Read(strings.NewReader(`
		{"scenario":"echo","arms":[{"name":"ring","size":64,"msgs_per_s":1e7},{"name":"other","size":64,"msgs_per_s":0}]}
		{"scenario":"fanin","params":{"rings":10,"rate":1000},"arms":[{"name":"reactor"},{"name":"new arm"}]}
		{"scenario":"idle","arms":[]}`))
	require.NoError(t, err)
	drawn := figures(runs)
	require.Len(t, drawn, 1)
	require.Equal(t, []series{{arm: "ring", points: drawn[0].panels[0].series[0].points}}, drawn[0].panels[0].series)
	require.Equal(t, 100.0, drawn[0].panels[0].series[0].points[0].Y, "from messages a second")
	_, err = Draw(t.TempDir(), runs)
	require.NoError(t, err, "one point")

	_, err = Draw(t.TempDir(), runs[2:])
	require.ErrorIs(t, err, ErrNothing)
}

func TestReadRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":        "echo",
		"another object": `{"name":"x"}`,
		"cut short":      `{"scenario":"echo"`,
	} {
		_, err := Read(strings.NewReader(text))
		require.Error(t, err, name)
	}
	_, err := ReadFiles([]string{filepath.Join(t.TempDir(), "none")})
	require.ErrorIs(t, err, os.ErrNotExist)
}
