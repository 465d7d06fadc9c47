package onnx

// LoopBody writes one turn of a Loop: given the turn's number (int64 scalar)
// and the carried values, it returns whether to go on (bool scalar), the
// carried values of the next turn, and the values of this turn that are
// collected. Values of the enclosing graphs can be used in it.
type LoopBody func(g *Graph, turn Value, carried []Value) (again Value, next, collected []Value)

// Loop runs body at most limit times (int64 scalar), and as long as it says so;
// start (bool scalar) tells whether it runs at all. initial are the carried
// values before the first turn; each keeps its type and rank, and a dimension
// for which shapes gives a symbol may change from turn to turn. shapes may be
// nil, or nil for a value whose shape stays. It returns the carried values after
// the last turn, then the collected ones stacked along a new first dimension
// called turns. body is called once, also after a mistake, so that there are as
// many results then, all invalid.
func (g *Graph) Loop(limit, start Value, initial []Value, shapes []Shape, turns Dim, body LoopBody) []Value {
	ok := g.need("Loop", initial...) && g.scalar("Loop", limit, Int64) && g.scalar("Loop", start, Bool)
	b := newGraph(g.root, g, g.unique("loop"))
	turn := b.input(g.unique(b.name+"/turn"), Int64, Shape{})
	b.input(g.unique(b.name+"/again"), Bool, Shape{})
	carried := make([]Value, len(initial))
	ok = ok && b.carry(carried, initial, shapes)
	again, next, collected := body(b, turn, carried)
	failed := make([]Value, len(initial)+len(collected))
	if !ok || !g.need("Loop", append(next[:len(next):len(next)], collected...)...) || !g.scalar("Loop", again, Bool) ||
		!g.carriedOn(initial, carried, next) {
		return failed
	}
	if len(collected) > 0 && turns == (Dim{}) {
		g.Fail("Loop: collected values, but no name for the number of turns")
		return failed
	}
	b.yield(again)
	var outs []outputType
	for i, v := range next {
		b.yield(v)
		outs = append(outs, typed(v.dtype, carried[i].shape))
	}
	for _, v := range collected {
		b.yield(v)
		outs = append(outs, typed(v.dtype, append(Shape{turns}, v.shape...)))
	}
	return g.Op("", "Loop", append([]Value{limit, start}, initial...), []Attr{{"body", b}}, outs...)
}

// carry makes the carried values inputs of the body g, with the shapes that they
// have from the second turn on.
func (g *Graph) carry(carried, initial []Value, shapes []Shape) bool {
	for i, v := range initial {
		shape := v.shape
		if i < len(shapes) && shapes[i] != nil {
			shape = shapes[i]
		}
		if len(shape) != len(v.shape) {
			g.Fail("Loop: carried value %d has shape %v and then %v", i, v.shape, shape)
			return false
		}
		for j, d := range shape {
			if _, fixed := d.Fixed(); fixed && d != v.shape[j] {
				g.Fail("Loop: dimension %d of carried value %d is %v and then %v", j, i, v.shape[j], d)
				return false
			}
		}
		carried[i] = g.input(g.unique(g.name+"/carried"), v.dtype, shape)
	}
	return true
}

// carriedOn reports whether next can take the place of carried: the same types,
// ranks and sizes, but for sizes that change from turn to turn, which are those
// that differ between initial and carried.
func (g *Graph) carriedOn(initial, carried, next []Value) bool {
	if len(next) != len(initial) {
		g.Fail("Loop: %d values carried in, %d out", len(initial), len(next))
		return false
	}
	for i, v := range next {
		c := carried[i]
		if v.dtype != c.dtype || len(v.shape) != len(c.shape) {
			g.Fail("Loop: carried value %d is %v %v, then %v %v", i, c.dtype, c.shape, v.dtype, v.shape)
			return false
		}
		for j, d := range c.shape {
			if changes := d != initial[i].shape[j]; !changes && v.shape[j] != d {
				g.Fail("Loop: dimension %d of carried value %d is %v, then %v", j, i, d, v.shape[j])
				return false
			}
		}
	}
	return true
}

// yield makes v an output of a subgraph, under its own name where it can be: a
// value of another graph, an input, or one that is an output already needs a
// copy.
func (g *Graph) yield(v Value) {
	own := v.g == g
	for _, taken := range append(append([]Value(nil), g.inputs...), g.outputs...) {
		own = own && taken.name != v.name
	}
	if !own {
		v = g.Op("", "Identity", []Value{v}, nil, typed(v.dtype, v.shape))[0]
	}
	g.outputs = append(g.outputs, v)
}
