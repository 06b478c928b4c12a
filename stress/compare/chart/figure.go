package chart

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// A README shows pictures about 830 CSS pixels wide; a CSS pixel is 3/4 of a point.
const (
	width       = 830 * 0.75
	height      = 440 * 0.75
	legendWidth = 112
	pngDPI      = 2 * 96 // two dots a CSS pixel
)

// figure is one picture: panels side by side with the same axes, and a legend.
type figure struct {
	name    string // of its files
	title   string
	caption string // under the picture on the page
	x, y    axis
	panels  []panel
}

type panel struct {
	title  string
	series []series
}

// series is one line: an arm's points from left to right.
type series struct {
	arm    string
	points plotter.XYs
}

// arms are the names of all series, those that end highest first, as the eye meets them.
func (f figure) arms() []string {
	last := map[string]float64{}
	for _, p := range f.panels {
		for _, s := range p.series {
			last[s.arm] = max(last[s.arm], s.points[len(s.points)-1].Y)
		}
	}
	arms := make([]string, 0, len(last))
	for arm := range last {
		arms = append(arms, arm)
	}
	slices.SortFunc(arms, func(a, b string) int {
		return cmp.Or(cmp.Compare(last[b], last[a]), strings.Compare(a, b))
	})
	return arms
}

// draw draws the figure on c.
func (f figure) draw(c draw.Canvas) error {
	c.SetColor(white)
	c.Fill(c.Rectangle.Path())
	c = draw.Crop(c, 6, -6, 4, -6)

	title := textStyle(13, true)
	title.YAlign = draw.YTop
	c.FillText(title, vg.Point{X: c.Min.X, Y: c.Max.Y}, f.title)
	c.Max.Y -= 24

	arms := f.arms()
	legend := f.legend(arms)
	legend.Draw(draw.Crop(c, c.Max.X-c.Min.X-legendWidth, 0, 0, -14))
	plots, err := f.plots(arms)
	if err != nil {
		return err
	}
	const label = 18 // room for the name of an axis
	tiles := draw.Tiles{Rows: 1, Cols: len(plots), PadX: 10}
	area := draw.Crop(c, label, -legendWidth-14, label, 0)
	var data vg.Rectangle // of all panels
	for i, canvas := range plot.Align([][]*plot.Plot{plots}, tiles, area)[0] {
		plots[i].Draw(canvas)
		panel := plots[i].DataCanvas(canvas)
		if i == 0 {
			data = panel.Rectangle
		}
		data.Max = panel.Max
	}
	// The names of the axes stand here once, for all panels.
	name := textStyle(10.5, false)
	name.XAlign = draw.XCenter
	c.FillText(name, vg.Point{X: (data.Min.X + data.Max.X) / 2, Y: c.Min.Y + 3}, f.x.label)
	name.Rotation = math.Pi / 2
	c.FillText(name, vg.Point{X: c.Min.X + 10, Y: (data.Min.Y + data.Max.Y) / 2}, f.y.label)
	return nil
}

// plots makes a plot of each panel, all with the same range.
func (f figure) plots(arms []string) ([]*plot.Plot, error) {
	low, high := f.bounds()
	var plots []*plot.Plot
	for i, panel := range f.panels {
		p := plot.New()
		p.Title.Text = panel.title
		p.Title.TextStyle = textStyle(10, false)
		p.Title.TextStyle.XAlign, p.Title.TextStyle.YAlign = draw.XCenter, draw.YTop
		p.Title.Padding = 6
		setAxis(&p.X, f.x)
		setAxis(&p.Y, f.y)
		if i > 0 {
			p.Y.Tick.Marker = unnamed{f.y.ticks}
		}
		grid := plotter.NewGrid()
		grid.Horizontal = draw.LineStyle{Color: faint, Width: 0.6}
		grid.Vertical = grid.Horizontal
		p.Add(grid)
		// Ours go on top.
		for _, s := range slices.SortedStableFunc(slices.Values(panel.series), oursLast) {
			line, points, err := plotter.NewLinePoints(s.points)
			if err != nil {
				return nil, fmt.Errorf("chart: %s: %s: %w", f.name, s.arm, err)
			}
			look := lookOf(s.arm, slices.Index(arms, s.arm))
			line.LineStyle, points.GlyphStyle = look.line(), look.glyph()
			p.Add(line, points)
		}
		p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = low.X, high.X, low.Y, high.Y // Add has changed them
		plots = append(plots, p)
	}
	return plots, nil
}

func oursLast(a, b series) int {
	ours := func(s series) int {
		if looks[s.arm].color == blue {
			return 1
		}
		return 0
	}
	return ours(a) - ours(b)
}

// bounds are the corners of a box around all points, on whole ticks where the axis says so.
func (f figure) bounds() (low, high plotter.XY) {
	low = plotter.XY{X: math.Inf(1), Y: math.Inf(1)}
	high = plotter.XY{X: math.Inf(-1), Y: math.Inf(-1)}
	for _, panel := range f.panels {
		for _, s := range panel.series {
			for _, p := range s.points {
				low = plotter.XY{X: min(low.X, p.X), Y: min(low.Y, p.Y)}
				high = plotter.XY{X: max(high.X, p.X), Y: max(high.Y, p.Y)}
			}
		}
	}
	low.X, high.X = f.x.widen(low.X, high.X)
	low.Y, high.Y = f.y.widen(low.Y, high.Y)
	return low, high
}

func setAxis(to *plot.Axis, a axis) {
	to.Scale = a.scale
	to.Tick.Marker = a.ticks
	to.Tick.Label.Font = textStyle(9.5, false).Font
	to.Tick.Length = 4
	to.Padding = 4
}

func (f figure) legend(arms []string) plot.Legend {
	l := plot.NewLegend()
	l.Top, l.Left = true, true
	l.TextStyle.Font = textStyle(9.5, false).Font
	l.ThumbnailWidth = 26
	l.Padding = 5
	l.YPosition = draw.PosCenter
	for i, arm := range arms {
		look := lookOf(arm, i)
		l.Add(arm, &plotter.Line{LineStyle: look.line()}, &plotter.Scatter{GlyphStyle: look.glyph()})
	}
	return l
}

// unnamed keeps the ticks of a Ticker without their labels.
type unnamed struct{ plot.Ticker }

// Ticks implements plot.Ticker.
func (u unnamed) Ticks(low, high float64) []plot.Tick {
	ticks := u.Ticker.Ticks(low, high)
	for i, t := range ticks {
		if !t.IsMinor() {
			ticks[i].Label = " " // "" would make it a minor one
		}
	}
	return ticks
}

func textStyle(size vg.Length, bold bool) draw.TextStyle {
	f := font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
	if bold {
		f.Weight = xfont.WeightBold
	}
	return draw.TextStyle{Color: black, Font: f, Handler: plot.DefaultTextHandler}
}

// svg is the figure as an SVG document.
func (f figure) svg() (string, error) {
	c := vgsvg.New(width, height)
	if err := f.draw(draw.New(c)); err != nil {
		return "", err
	}
	var b strings.Builder
	if _, err := c.WriteTo(&b); err != nil {
		return "", fmt.Errorf("chart: %s: %w", f.name, err)
	}
	// Few systems have Liberation Sans; Arial and Helvetica have its measures.
	return strings.ReplaceAll(b.String(),
		"font-family:Liberation Sans;", "font-family:Liberation Sans,Arial,Helvetica,sans-serif;"), nil
}

// png writes the figure to w as a PNG.
func (f figure) png(w io.Writer) error {
	c := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(pngDPI))
	if err := f.draw(draw.New(c)); err != nil {
		return err
	}
	if _, err := (vgimg.PngCanvas{Canvas: c}).WriteTo(w); err != nil {
		return fmt.Errorf("chart: %s: %w", f.name, err)
	}
	return nil
}
