package chart

import (
	"image/color"
	"math"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// The colours of Okabe and Ito, which colour-blind people can tell apart
// (https://jfly.uni-koeln.de/color/). Their yellow is left out: it is too faint on
// white.
var (
	black      = color.RGBA{0x00, 0x00, 0x00, 0xff}
	orange     = color.RGBA{0xe6, 0x9f, 0x00, 0xff}
	skyBlue    = color.RGBA{0x56, 0xb4, 0xe9, 0xff}
	green      = color.RGBA{0x00, 0x9e, 0x73, 0xff}
	blue       = color.RGBA{0x00, 0x72, 0xb2, 0xff}
	vermillion = color.RGBA{0xd5, 0x5e, 0x00, 0xff}
	purple     = color.RGBA{0xcc, 0x79, 0xa7, 0xff}
	grey       = color.RGBA{0x66, 0x66, 0x66, 0xff}
	faint      = color.RGBA{0xe2, 0xe2, 0xe2, 0xff} // grid
	white      = color.RGBA{0xff, 0xff, 0xff, 0xff}
)

var (
	solid  []vg.Length
	dashed = []vg.Length{6, 3}
	dotted = []vg.Length{1.5, 2.5}
	mixed  = []vg.Length{8, 3, 1.5, 3}
)

var (
	disc       = marker{}
	ring       = marker{hollow: true}
	square     = marker{corners: 4, turn: math.Pi / 4}
	box        = marker{corners: 4, turn: math.Pi / 4, hollow: true}
	diamond    = marker{corners: 4}
	frame      = marker{corners: 4, hollow: true}
	up         = marker{corners: 3, turn: math.Pi / 2}
	upHollow   = marker{corners: 3, turn: math.Pi / 2, hollow: true}
	down       = marker{corners: 3, turn: -math.Pi / 2}
	downHollow = marker{corners: 3, turn: -math.Pi / 2, hollow: true}
)

// look is how an arm is drawn, the same in every chart. No two arms of a chart share
// colour, dashes and marker, and none is told by its colour alone.
type look struct {
	color  color.Color
	dashes []vg.Length
	marker marker
}

// A family of arms has one colour: ours is blue.
var looks = map[string]look{
	"ring":               {blue, solid, disc},
	"ring-doorbell":      {blue, dashed, ring},
	"ring-buffered":      {blue, dashed, ring},
	"ring-spin":          {blue, dotted, up},
	"reactor":            {blue, solid, disc},
	"epoll-nested":       {blue, dashed, ring},
	"epoll-direct":       {blue, dotted, diamond},
	"gnet":               {green, solid, up},
	"gnet-unix":          {vermillion, solid, down},
	"gnet-unix-buffered": {vermillion, dashed, downHollow},
	"goroutine":          {skyBlue, dashed, square},
	"unix":               {orange, solid, square},
	"unix-buffered":      {orange, dashed, box},
	"pipe":               {green, mixed, up},
	"tcp":                {grey, dotted, down},
	"shmipc":             {vermillion, solid, diamond},
	"shmipc-buffered":    {vermillion, dashed, frame},
	"rust":               {black, solid, up},
	"rust-buffered":      {black, dashed, upHollow},
	"go-rust":            {purple, dotted, diamond},
	"rust-go":            {purple, mixed, frame},
	"dbus":               {purple, mixed, down},
}

// lookOf is the look of an arm; nth tells arms apart that are not in the list.
func lookOf(arm string, nth int) look {
	if l, ok := looks[arm]; ok {
		return l
	}
	colors := []color.Color{purple, green, skyBlue, grey, vermillion}
	dashes := [][]vg.Length{mixed, dotted, dashed, solid}
	return look{colors[nth%len(colors)], dashes[nth/len(colors)%len(dashes)], upHollow}
}

func (l look) line() draw.LineStyle {
	return draw.LineStyle{Color: l.color, Width: 1.6, Dashes: l.dashes}
}

func (l look) glyph() draw.GlyphStyle {
	return draw.GlyphStyle{Color: l.color, Radius: 3.2, Shape: l.marker}
}

// marker is a disc or, with corners, a polygon; hollow ones are filled white.
type marker struct {
	corners int
	turn    float64 // of the first corner, in radians
	hollow  bool
}

// DrawGlyph implements draw.GlyphDrawer.
func (m marker) DrawGlyph(c *draw.Canvas, sty draw.GlyphStyle, at vg.Point) {
	outline := m.path(at, sty.Radius)
	c.SetColor(sty.Color)
	if m.hollow {
		c.SetColor(color.White)
	}
	c.Fill(outline)
	c.SetLineStyle(draw.LineStyle{Color: sty.Color, Width: 1.2})
	c.Stroke(outline)
}

func (m marker) path(at vg.Point, radius vg.Length) vg.Path {
	var p vg.Path
	if m.corners == 0 {
		p.Move(vg.Point{X: at.X + radius, Y: at.Y})
		p.Arc(at, radius, 0, 2*math.Pi)
		p.Close()
		return p
	}
	for i := range m.corners {
		sin, cos := math.Sincos(m.turn + 2*math.Pi*float64(i)/float64(m.corners))
		corner := vg.Point{X: at.X + 1.2*radius*vg.Length(cos), Y: at.Y + 1.2*radius*vg.Length(sin)}
		if i == 0 {
			p.Move(corner)
		} else {
			p.Line(corner)
		}
	}
	p.Close()
	return p
}
