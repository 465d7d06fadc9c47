package ocr

import (
	"cmp"
	"math"
	"slices"
)

// point is a place in an image, x to the right and y down.
type point struct{ x, y float64 }

func (p point) plus(q point) point    { return point{p.x + q.x, p.y + q.y} }
func (p point) minus(q point) point   { return point{p.x - q.x, p.y - q.y} }
func (p point) times(f float64) point { return point{p.x * f, p.y * f} }
func (p point) dot(q point) float64   { return p.x*q.x + p.y*q.y }
func (p point) cross(q point) float64 { return p.x*q.y - p.y*q.x }
func (p point) length() float64       { return math.Hypot(p.x, p.y) }

// quad holds the corners of a rectangle in any direction, from the upper left one
// clockwise.
type quad [4]point

// hull is the convex hull of points, counter-clockwise in x and y, by Andrew's
// monotone chain. It sorts points.
func hull(points []point) []point {
	slices.SortFunc(points, func(a, b point) int { return cmp.Or(cmp.Compare(a.x, b.x), cmp.Compare(a.y, b.y)) })
	points = slices.Compact(points)
	if len(points) < 3 {
		return points
	}
	half := func(points []point) []point {
		var chain []point
		for _, p := range points {
			for len(chain) > 1 && chain[len(chain)-1].minus(chain[len(chain)-2]).cross(p.minus(chain[len(chain)-1])) <= 0 {
				chain = chain[:len(chain)-1]
			}
			chain = append(chain, p)
		}
		return chain[:len(chain)-1]
	}
	lower := half(points)
	slices.Reverse(points)
	return append(lower, half(points)...)
}

// smallestRectangle is the rectangle of least area around points, and the length of
// its shorter side: OpenCV's minAreaRect. It sorts points.
func smallestRectangle(points []point) (quad, float64) {
	corners := hull(points)
	if len(corners) < 3 {
		return quad{}, 0
	}
	var best quad
	var side float64
	least := math.Inf(1)
	for i, p := range corners {
		edge := corners[(i+1)%len(corners)].minus(p)
		along := edge.times(1 / edge.length())
		across := point{-along.y, along.x}
		left, right, near, far := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
		for _, c := range corners {
			left, right = min(left, c.dot(along)), max(right, c.dot(along))
			near, far = min(near, c.dot(across)), max(far, c.dot(across))
		}
		if area := (right - left) * (far - near); area < least {
			least, side = area, min(right-left, far-near)
			at := func(a, b float64) point { return along.times(a).plus(across.times(b)) }
			best = quad{at(left, near), at(right, near), at(right, far), at(left, far)}
		}
	}
	return ordered(best), side
}

// ordered sorts corners as the text detector does: the two on the left by height,
// then the two on the right.
func ordered(q quad) quad {
	for i := range q { // OpenCV's corners are float32, without the noise below
		q[i] = point{float64(float32(q[i].x)), float64(float32(q[i].y))}
	}
	slices.SortStableFunc(q[:], func(a, b point) int { return cmp.Compare(a.x, b.x) })
	if q[1].y <= q[0].y {
		q[0], q[1] = q[1], q[0]
	}
	if q[3].y <= q[2].y {
		q[2], q[3] = q[3], q[2]
	}
	return quad{q[0], q[2], q[3], q[1]}
}

// clockwise is ordered for whole numbers, where equal places may be in one another's
// way.
func clockwise(q quad) quad {
	slices.SortStableFunc(q[:], func(a, b point) int { return cmp.Compare(a.x, b.x) })
	byY := func(a, b point) int { return cmp.Compare(a.y, b.y) }
	slices.SortStableFunc(q[:2], byY)
	slices.SortStableFunc(q[2:], byY)
	return quad{q[0], q[2], q[3], q[1]}
}

// grown is the outline of a rectangle moved outwards by distance, with round
// corners and whole numbers: Clipper's offset with JT_ROUND.
func grown(q quad, distance float64) []point {
	var path []point
	for _, p := range q {
		p = point{math.Trunc(p.x), math.Trunc(p.y)}
		if len(path) == 0 || path[len(path)-1] != p {
			path = append(path, p)
		}
	}
	for len(path) > 1 && path[0] == path[len(path)-1] {
		path = path[:len(path)-1]
	}
	if len(path) < 3 {
		return nil
	}
	var area float64
	for i, p := range path {
		area += p.cross(path[(i+1)%len(path)])
	}
	if area < 0 {
		slices.Reverse(path)
	}
	normals := make([]point, len(path))
	for i, p := range path {
		edge := path[(i+1)%len(path)].minus(p)
		normals[i] = point{edge.y, -edge.x}.times(1 / edge.length())
	}
	const arcTolerance = 0.25
	steps := min(math.Pi/math.Acos(1-arcTolerance/distance), distance*math.Pi)
	if math.IsNaN(steps) { // a distance below half the tolerance
		steps = distance * math.Pi
	}
	sin, cos := math.Sincos(2 * math.Pi / steps)
	var out []point
	add := func(p, normal point) {
		p = p.plus(normal.times(distance))
		out = append(out, point{math.Round(p.x), math.Round(p.y)})
	}
	for i, p := range path {
		before, after := normals[(i+len(path)-1)%len(path)], normals[i]
		turn := before.cross(after)
		if math.Abs(turn*distance) < 1 && before.dot(after) > 0 {
			add(p, before)
			continue
		}
		n := before
		for range max(1, int(math.Round(steps/(2*math.Pi)*math.Abs(math.Atan2(turn, before.dot(after)))))) {
			add(p, n)
			n = point{n.x*cos - sin*n.y, n.x*sin + n.y*cos}
		}
		add(p, after)
	}
	return out
}

// shape is the area and the length of the outline of a rectangle.
func (q quad) shape() (area, length float64) {
	for i, p := range q {
		next := q[(i+1)%4]
		area += p.cross(next)
		length += next.minus(p).length()
	}
	return math.Abs(area) / 2, length
}
