// Package chart draws what the scenarios measure: SVG and PNG pictures, and one HTML
// page with all of them.
package chart

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrNothing is returned when the runs have no numbers for any picture.
var ErrNothing = errors.New("nothing to draw: no run of echo, stream or fanin with results")

// Draw writes the pictures that runs have numbers for, as NAME.svg and NAME.png, and
// index.html with all of them, into dir, which it makes. It returns the paths. A panic
// in it is a defect, whatever is in runs.
func Draw(dir string, runs []Run) ([]string, error) {
	drawn := figures(runs)
	if len(drawn) == 0 {
		return nil, fmt.Errorf("chart: %w", ErrNothing)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("chart: %w", err)
	}
	var paths []string
	write := func(name string, content []byte) error {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return fmt.Errorf("chart: %w", err)
		}
		paths = append(paths, path)
		return nil
	}
	var svgs []string
	for _, f := range drawn {
		svg, err := f.svg()
		if err != nil {
			return paths, err
		}
		svgs = append(svgs, svg)
		var png bytes.Buffer
		if err := f.png(&png); err != nil {
			return paths, err
		}
		if err := errors.Join(write(f.name+".svg", []byte(svg)), write(f.name+".png", png.Bytes())); err != nil {
			return paths, err
		}
	}
	page, err := page(drawn, svgs, runs)
	if err != nil {
		return paths, err
	}
	return paths, write("index.html", page)
}
