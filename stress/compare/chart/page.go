package chart

import (
	"bytes"
	"fmt"
	"html/template"
	"slices"
	"strings"
)

var pageTemplate = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>shmloop: measured</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 860px; margin: 2em auto; padding: 0 1em; color: #111; background: #fff }
figure { margin: 2em 0 }
svg { width: 100%; height: auto }
figcaption { color: #444; font-size: 14px }
</style>
<h1>shmloop: measured</h1>
<p>{{range $i, $h := .Hosts}}{{if $i}}; {{end}}{{$h}}{{end}}. Arms ran in turns, so compare
the lines of one picture; the absolute numbers are those of this machine.</p>
{{range .Figures}}<figure id="{{.Name}}">
{{.SVG}}
<figcaption>{{.Caption}}</figcaption>
</figure>
{{end}}</html>
`))

// page is an HTML page that needs nothing else: the pictures are in it.
func page(drawn []figure, svgs []string, runs []Run) ([]byte, error) {
	type shown struct {
		Name, Caption string
		SVG           template.HTML
	}
	data := struct {
		Hosts   []string
		Figures []shown
	}{Hosts: hosts(runs)}
	for i, f := range drawn {
		// What stands before the element belongs to a document of its own.
		svg := svgs[i][strings.Index(svgs[i], "<svg"):]
		data.Figures = append(data.Figures, shown{f.name, f.title + ". " + f.caption, template.HTML(svg)})
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, data); err != nil {
		return nil, fmt.Errorf("chart: page: %w", err)
	}
	return b.Bytes(), nil
}

// hosts names the machines of the runs, each once.
func hosts(runs []Run) []string {
	var all []string
	for _, r := range runs {
		h := r.Host
		name := fmt.Sprintf("%d x %s, %s, kernel %s, %s", h.CPUs, h.Model, h.System, h.Kernel, h.Go)
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}
