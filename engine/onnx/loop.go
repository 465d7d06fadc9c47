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
// called turns.
func (g *Graph) Loop(limit, start Value, initial []Value, shapes []Shape, turns Dim, body LoopBody) []Value {
	if !g.need("Loop", append([]Value{limit, start}, initial...)...) {
		return make([]Value, len(initial))
	}
	b := newGraph(g.root, g, g.unique("loop"))
	turn := b.input(g.unique("turn"), Int64, Shape{})
	b.input(g.unique("again"), Bool, Shape{})
	carried := make([]Value, len(initial))
	for i, v := range initial {
		shape := v.shape
		if i < len(shapes) && shapes[i] != nil {
			shape = shapes[i]
		}
		if len(shape) != len(v.shape) {
			g.Fail("Loop: carried value %d has shape %v and then %v", i, v.shape, shape)
		}
		carried[i] = b.input(g.unique("carried"), v.dtype, shape)
	}
	again, next, collected := body(b, turn, carried)
	if !g.need("Loop", append(append([]Value{again}, next...), collected...)...) {
		return make([]Value, len(initial)+len(collected))
	}
	if len(next) != len(initial) {
		g.Fail("Loop: %d values carried in, %d out", len(initial), len(next))
		return make([]Value, len(initial)+len(collected))
	}
	b.yield(again)
	var outs []outputType
	for i, v := range next {
		if v.dtype != carried[i].dtype || len(v.shape) != len(carried[i].shape) {
			g.Fail("Loop: carried value %d is %v %v, then %v %v", i, carried[i].dtype, carried[i].shape, v.dtype, v.shape)
		}
		for j, d := range carried[i].shape {
			if i < len(shapes) && shapes[i] != nil && d != initial[i].shape[j] {
				continue
			}
			if len(v.shape) > j && v.shape[j] != d {
				g.Fail("Loop: dimension %d of carried value %d is %v, then %v", j, i, d, v.shape[j])
			}
		}
		b.yield(v)
		outs = append(outs, typed(v.dtype, carried[i].shape))
	}
	for _, v := range collected {
		b.yield(v)
		outs = append(outs, typed(v.dtype, append(Shape{turns}, v.shape...)))
	}
	return g.Op("", "Loop", append([]Value{limit, start}, initial...), []Attr{{"body", b}}, outs...)
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
