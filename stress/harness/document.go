package harness

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// A document is what -json writes, one object.
type document struct {
	Scenario string
	Params   paramsDoc
	Host     host
	Floors   map[string]float64
	Arms     []armDoc
	Ratios   []ratioDoc
	Skipped  []skippedDoc
	Failed   []failedDoc
}

// paramsDoc are the flags. The durations are of one arm at one size: of all its
// blocks, and of each.
type paramsDoc struct {
	Sizes     []int `json:"sizes"`
	Rings     int   `json:"rings,omitempty"`
	Producers int   `json:"producers,omitempty"`
	Rate      *int  `json:"rate,omitempty"` // 0 is flat out; absent where nothing is paced
	Duration  int64 `json:"duration_ns"`
	Block     int64 `json:"block_ns"`
	Rounds    int   `json:"rounds"`
	Quick     bool  `json:"quick,omitempty"`
}

// An armDoc has its metrics beside the rest, as the schema has it.
type armDoc struct {
	series *series
}

type ratioDoc struct {
	Metric Metric  `json:"metric"`
	A      string  `json:"a"`
	B      string  `json:"b"`
	Size   int     `json:"size"`
	Median float64 `json:"median"`
	Lo     float64 `json:"lo"`
	Hi     float64 `json:"hi"`
}

type skippedDoc struct {
	Arm    string `json:"arm"`
	Size   int    `json:"size"`
	Reason string `json:"reason"`
}

// A failedDoc has no reason: error texts may contain paths.
type failedDoc struct {
	Arm  string `json:"arm"`
	Size int    `json:"size"`
}

func newDocument(r report) document {
	set := r.set
	d := document{
		Scenario: set.scenario.Name,
		Params: paramsDoc{
			Sizes: set.sizes, Rings: set.params.Rings, Producers: set.params.Producers,
			Duration: int64(set.params.Duration), Block: int64(set.block()),
			Rounds: set.rounds, Quick: set.quick,
		},
		Host:   r.host,
		Floors: map[string]float64{},
	}
	if set.scenario.Paced {
		d.Params.Rate = &set.params.Rate
	}
	for name, v := range r.floors {
		d.Floors[name] = significant(v)
	}
	for _, s := range r.series {
		switch {
		case s.failed != nil:
			d.Failed = append(d.Failed, failedDoc{s.arm.Name, s.size})
		case s.skipped != "":
			d.Skipped = append(d.Skipped, skippedDoc{s.arm.Name, s.size, s.skipped})
		default:
			d.Arms = append(d.Arms, armDoc{s})
		}
	}
	for _, p := range r.pairs {
		d.Ratios = append(d.Ratios, ratioDoc{
			Metric: p.metric, A: p.a.arm.Name, B: p.b.arm.Name, Size: p.a.size,
			Median: significant(p.median), Lo: significant(p.lo), Hi: significant(p.hi),
		})
	}
	return d
}

// MarshalJSON writes the keys in the order of the table.
func (a armDoc) MarshalJSON() ([]byte, error) {
	s := a.series
	members := []member{{"name", s.arm.Name}, {"size", s.size}}
	for _, info := range metrics {
		if v, ok := s.value(info.metric); ok {
			members = append(members, member{string(info.metric), significant(v)})
		}
	}
	members = append(members,
		member{"lost", s.lost}, member{"duplicated", s.duplicated}, member{"reordered", s.reordered},
		member{"blocks", s.blocks()}, member{"dropped_blocks", s.dropped})
	if len(s.notes) > 0 {
		members = append(members, member{"notes", s.notes})
	}
	if s.latency != nil {
		members = append(members, member{"latency", percentiles(s.latency)})
	}
	var b bytes.Buffer
	for i, m := range members {
		b.WriteByte("{,"[min(i, 1)])
		text, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%q:%s", m.key, text)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// A member is a key of an object and its value.
type member struct {
	key   string
	value any
}

// significant rounds to six digits: more would be noise.
func significant(v float64) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 6, 64), 64)
	if err != nil {
		return v
	}
	return r
}

// encode returns the document, with a line for each arm and each ratio.
func (d document) encode() ([]byte, error) {
	var w documentWriter
	w.member("scenario", d.Scenario)
	w.member("params", d.Params)
	w.member("host", d.Host)
	w.member("floors", d.Floors)
	writeList(&w, "arms", d.Arms)
	writeList(&w, "ratios", d.Ratios)
	writeList(&w, "skipped", d.Skipped)
	writeList(&w, "failed", d.Failed)
	w.text.WriteString("\n}\n")
	if w.err != nil {
		return nil, fmt.Errorf("harness: encode the result: %w", w.err)
	}
	return w.text.Bytes(), nil
}

type documentWriter struct {
	text bytes.Buffer
	err  error
}

func (w *documentWriter) key(name string) {
	before := ","
	if w.text.Len() == 0 {
		before = "{"
	}
	fmt.Fprintf(&w.text, "%s\n%q: ", before, name)
}

func (w *documentWriter) value(v any) {
	b, err := json.Marshal(v)
	w.err = errors.Join(w.err, err)
	w.text.Write(b)
}

func (w *documentWriter) member(name string, v any) {
	w.key(name)
	w.value(v)
}

func writeList[T any](w *documentWriter, name string, items []T) {
	w.key(name)
	w.text.WriteString("[")
	for i, item := range items {
		if i > 0 {
			w.text.WriteString(",")
		}
		w.text.WriteString("\n ")
		w.value(item)
	}
	w.text.WriteString("]")
}
