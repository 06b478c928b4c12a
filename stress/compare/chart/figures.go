package chart

import (
	"maps"
	"slices"

	"gonum.org/v1/plot/plotter"
)

// figures makes the pictures for which runs have the numbers.
func figures(runs []Run) []figure {
	var drawn []figure
	for _, f := range []figure{timeBySize(runs), throughputBySize(runs), cpuByRings(runs), latencyByLoad(runs)} {
		if len(f.panels) > 0 {
			drawn = append(drawn, f)
		}
	}
	return drawn
}

// timeBySize is the chart that the crate shmem-ipc shows, with its arms and more.
func timeBySize(runs []Run) figure {
	all := lines{}
	for _, run := range of("echo", runs) {
		for _, a := range run.Arms {
			all.add(a.Name, float64(a.Size), a.time())
		}
	}
	return figure{
		name:    "time-by-size",
		title:   "Send and receive one message on one thread",
		caption: "echo: both ends on one thread, or as near as the arm allows; the time from the first byte sent to the last received.",
		x:       sizeAxis, y: timeAxis,
		panels: all.panel(""),
	}
}

func throughputBySize(runs []Run) figure {
	all := lines{}
	for _, run := range of("stream", runs) {
		for _, a := range run.Arms {
			all.add(a.Name, float64(a.Size), a.BytesPerSecond)
		}
	}
	return figure{
		name:    "throughput-by-size",
		title:   "Throughput from one process to another",
		caption: "stream: one process sends as fast as it can, another receives and checks. The buffered arms gather small messages before they write.",
		x:       sizeAxis, y: throughputAxis,
		panels: all.panel(""),
	}
}

// cpuByRings has one panel for each rate that was run with several numbers of rings.
func cpuByRings(runs []Run) figure {
	f := figure{
		name:    "cpu-by-rings",
		title:   "Consumer CPU for a message, by number of rings",
		caption: "fanin: many processes' rings into one consumer. The rate is that of all rings together.",
		x:       ringsAxis, y: cpuAxis,
	}
	runs = of("fanin", runs)
	for _, rate := range rates(runs) {
		all, rings := lines{}, map[int]bool{}
		for _, run := range runs {
			if run.Params.Rate != rate {
				continue
			}
			rings[run.Params.Rings] = true
			for _, a := range run.Arms {
				all.add(a.Name, float64(run.Params.Rings), a.ConsumerCPU)
			}
		}
		if len(rings) > 1 {
			f.panels = append(f.panels, all.panel(load(rate))...)
		}
	}
	return f
}

// latencyByLoad has one panel for each rate, of the runs with the most rings.
func latencyByLoad(runs []Run) figure {
	f := figure{
		name:    "latency-by-load",
		title:   "Latency of fan-in, by load",
		caption: "fanin: from the time a message was meant to be sent until the consumer has it. A point at 99 says: 99 % of the messages took this long at most.",
		x:       percentAxis, y: latencyAxis,
	}
	runs = slices.DeleteFunc(of("fanin", runs), func(r Run) bool { return r.Params.Rate == 0 })
	rings := 0
	for _, run := range runs {
		rings = max(rings, run.Params.Rings)
	}
	for _, rate := range rates(runs) {
		all := lines{}
		for _, run := range runs {
			if run.Params.Rate != rate || run.Params.Rings != rings {
				continue
			}
			for _, a := range run.Arms {
				for _, p := range a.distribution() {
					if p[0] >= firstPercent && p[0] <= lastPercent {
						all.add(a.Name, p[0], p[1])
					}
				}
			}
		}
		f.panels = append(f.panels, all.panel(load(rate))...)
	}
	return f
}

func of(scenario string, runs []Run) []Run {
	return slices.DeleteFunc(slices.Clone(runs), func(r Run) bool { return r.Scenario != scenario })
}

// rates are the rates of the runs, flat out last.
func rates(runs []Run) []int {
	seen := map[int]bool{}
	for _, run := range runs {
		seen[run.Params.Rate] = true
	}
	all := slices.Sorted(maps.Keys(seen))
	if len(all) > 0 && all[0] == 0 {
		all = append(all[1:], 0)
	}
	return all
}

func load(rate int) string {
	if rate == 0 {
		return "flat out"
	}
	return countName(float64(rate)) + " messages/s"
}

// lines are points by arm and x. Of two runs with the same point the later counts.
type lines map[string]map[float64]float64

func (l lines) add(arm string, x, y float64) {
	if x <= 0 || y <= 0 { // not measured, or not to be shown on a log axis
		return
	}
	if l[arm] == nil {
		l[arm] = map[float64]float64{}
	}
	l[arm][x] = y
}

// panel is none where there are no lines.
func (l lines) panel(title string) []panel {
	if len(l) == 0 {
		return nil
	}
	p := panel{title: title}
	for _, arm := range slices.Sorted(maps.Keys(l)) {
		s := series{arm: arm}
		for _, x := range slices.Sorted(maps.Keys(l[arm])) {
			s.points = append(s.points, plotter.XY{X: x, Y: l[arm][x]})
		}
		p.series = append(p.series, s)
	}
	return []panel{p}
}
