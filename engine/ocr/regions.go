package ocr

// bitmap is a map of height*width values, row major.
type bitmap struct {
	width, height int
	on            []bool
}

// dilated is b where each place also takes what is on at its left, above it and
// between the two: OpenCV's dilate with a kernel of 2x2 ones.
func (b bitmap) dilated() bitmap {
	out := bitmap{b.width, b.height, make([]bool, len(b.on))}
	for y := range b.height {
		for x := range b.width {
			at := y*b.width + x
			out.on[at] = b.on[at] || x > 0 && b.on[at-1] || y > 0 && (b.on[at-b.width] || x > 0 && b.on[at-b.width-1])
		}
	}
	return out
}

// outlines gives for each connected region of b, and for each hole in one, points
// that have the convex hull of its contour as OpenCV's findContours with RETR_LIST
// finds it: of a region all its edge, of a hole the places around it that are on.
// Regions hang together at corners too, holes at sides alone. The lowest come
// first, and no more than limit come.
func (b bitmap) outlines(limit int) [][]point {
	label := make([]bool, len(b.on)) // whether a place has been visited
	var found [][]point
	for start := range b.on {
		if label[start] {
			continue
		}
		if points := b.trace(start, label); points != nil {
			found = append(found, points)
		}
	}
	for i, j := 0, len(found)-1; i < j; i, j = i+1, j-1 {
		found[i], found[j] = found[j], found[i]
	}
	return found[:min(len(found), limit)]
}

// trace visits the region of start, all of whose places are on or off as it is, and
// returns its outline; nil for the ground that reaches the edge of the map.
func (b bitmap) trace(start int, visited []bool) []point {
	on := b.on[start]
	ground := false
	var points []point
	stack := []int{start}
	visited[start] = true
	visit := func(x, y int) {
		at := y*b.width + x
		if b.on[at] == on && !visited[at] {
			visited[at] = true
			stack = append(stack, at)
		}
	}
	for len(stack) > 0 {
		at := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		x, y := at%b.width, at/b.width
		border := x == 0 || y == 0 || x == b.width-1 || y == b.height-1
		ground = ground || border && !on
		edge := border
		for _, d := range [4][2]int{{1, 0}, {-1, 0}, {0, 1}, {0, -1}} {
			nx, ny := x+d[0], y+d[1]
			if nx < 0 || ny < 0 || nx >= b.width || ny >= b.height {
				continue
			}
			if b.on[ny*b.width+nx] != on {
				edge = true
				if !on {
					points = append(points, point{float64(nx), float64(ny)})
				}
			}
			visit(nx, ny)
		}
		if !on {
			continue
		}
		if edge {
			points = append(points, point{float64(x), float64(y)})
		}
		for _, d := range [4][2]int{{1, 1}, {-1, 1}, {1, -1}, {-1, -1}} {
			if nx, ny := x+d[0], y+d[1]; nx >= 0 && ny >= 0 && nx < b.width && ny < b.height {
				visit(nx, ny)
			}
		}
	}
	if ground {
		return nil
	}
	return points
}

// meanWithin is the mean of values (height,width) over the places that a rectangle
// covers, its corners cut to whole numbers, outline included: OpenCV's mean with a
// mask of fillPoly.
func meanWithin(values []float32, width, height int, q quad) float64 {
	spans := make(map[int][2]int)
	mark := func(x, y int) {
		s, ok := spans[y]
		if !ok {
			s = [2]int{x, x}
		}
		spans[y] = [2]int{min(s[0], x), max(s[1], x)}
	}
	for i, p := range q {
		next := q[(i+1)%4]
		line(int(p.x), int(p.y), int(next.x), int(next.y), mark)
	}
	var sum float64
	count := 0
	for y, s := range spans {
		if y < 0 || y >= height {
			continue
		}
		for x := max(s[0], 0); x <= min(s[1], width-1); x++ {
			sum += float64(values[y*width+x])
			count++
		}
	}
	if count == 0 {
		return 0
	}
	return sum / float64(count)
}

// line visits the places of a line with 8 neighbours, from left to right, as
// OpenCV's LineIterator does.
func line(x0, y0, x1, y1 int, visit func(x, y int)) {
	if x0 > x1 {
		x0, y0, x1, y1 = x1, y1, x0, y0
	}
	dx, dy, down := x1-x0, y1-y0, 1
	if dy < 0 {
		dy, down = -dy, -1
	}
	steep := dy > dx
	if steep {
		dx, dy = dy, dx
	}
	rest := dx - 2*dy
	for range dx + 1 {
		visit(x0, y0)
		minor := rest < 0
		rest -= 2 * dy
		if minor {
			rest += 2 * dx
		}
		if steep || minor {
			y0 += down
		}
		if !steep || minor {
			x0++
		}
	}
}
