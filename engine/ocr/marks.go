package ocr

import (
	"math"

	"github.com/denseflow/densereward/reward"
)

// mapSide is the height and width of the map, which covers the whole image.
const mapSide = 256

// mark is a stretch of a line: from and to are 0 at its left end and 1 at its right.
type mark struct {
	line     int
	from, to float64
}

// marks are the stretches of lines that a difference names.
func (d difference) marks(lines []Line, from []character) []mark {
	var out []mark
	add := func(m mark) {
		if last := len(out) - 1; last >= 0 && out[last].line == m.line && m.from <= out[last].to {
			out[last].to = max(out[last].to, m.to)
			return
		}
		out = append(out, m)
	}
	for i, c := range from {
		if d.wrong[i] {
			left, right := lines[c.line].extent(c.index)
			add(mark{c.line, left, right})
		}
	}
	for _, gap := range d.gaps {
		// From the middle of the character before the gap to that of the one behind.
		if gap > 0 && gap <= len(from) {
			c := from[gap-1]
			_, right := lines[c.line].extent(c.index)
			add(mark{c.line, lines[c.line].At[c.index], right})
		}
		if gap < len(from) {
			c := from[gap]
			left, _ := lines[c.line].extent(c.index)
			add(mark{c.line, left, lines[c.line].At[c.index]})
		}
	}
	return out
}

// extent is where a character of a line begins and ends: half-way to its neighbours.
func (l Line) extent(index int) (left, right float64) {
	right = 1
	if index > 0 {
		left = (l.At[index-1] + l.At[index]) / 2
	}
	if index < len(l.At)-1 {
		right = (l.At[index] + l.At[index+1]) / 2
	}
	return left, right
}

// at is the place in a line's rectangle a share along it and a share down.
func (l Line) at(along, down float64) point {
	corner := func(i int) point { return point{l.Corners[i][0], l.Corners[i][1]} }
	between := func(a, b point, t float64) point { return a.plus(b.minus(a).times(t)) }
	return between(between(corner(0), corner(1), along), between(corner(3), corner(2), along), down)
}

// corners of a stretch of a line, in pixels.
func (m mark) corners(lines []Line) quad {
	l := lines[m.line]
	return quad{l.at(m.from, 0), l.at(m.to, 0), l.at(m.to, 1), l.at(m.from, 1)}
}

// paint sets the cells of a map to 1 whose middle a rectangle covers, or at least
// the one that its own middle lies in. The map covers width by height pixels.
func paint(m *reward.Map, q quad, width, height int) {
	sx, sy := float64(m.Width)/float64(width), float64(m.Height)/float64(height)
	left, top, right, bottom := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	var middle point
	for i, p := range q {
		q[i] = point{p.x * sx, p.y * sy}
		left, right = min(left, q[i].x), max(right, q[i].x)
		top, bottom = min(top, q[i].y), max(bottom, q[i].y)
		middle = middle.plus(q[i].times(0.25))
	}
	set := func(x, y int) {
		if x >= 0 && y >= 0 && x < m.Width && y < m.Height {
			m.Data[y*m.Width+x] = 1
		}
	}
	set(min(int(middle.x), m.Width-1), min(int(middle.y), m.Height-1))
	for y := max(0, int(top)); y <= min(m.Height-1, int(bottom)); y++ {
		for x := max(0, int(left)); x <= min(m.Width-1, int(right)); x++ {
			if q.holds(point{float64(x) + 0.5, float64(y) + 0.5}) {
				set(x, y)
			}
		}
	}
}

// holds reports whether a place lies within a rectangle.
func (q quad) holds(p point) bool {
	for i, corner := range q {
		if q[(i+1)%4].minus(corner).cross(p.minus(corner)) < 0 {
			return false
		}
	}
	return true
}

// box is the upright box around a rectangle, in thousandths of the image.
func (q quad) box(width, height int) reward.Box {
	b := reward.Box{Coords: [4]float64{1000, 1000, 0, 0}, Label: "artifact", Importance: 100}
	for _, p := range q {
		x, y := p.x/float64(width)*1000, p.y/float64(height)*1000
		b.Coords[0], b.Coords[2] = min(b.Coords[0], x), max(b.Coords[2], x)
		b.Coords[1], b.Coords[3] = min(b.Coords[1], y), max(b.Coords[3], y)
	}
	return b
}
