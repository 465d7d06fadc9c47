package onnx

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Value is one tensor of a graph: the output of a node, an input or an
// initializer. The zero Value stands for an optional input that is absent.
type Value struct {
	g     *Graph
	name  string
	dtype DType
	shape Shape
}

// Name is the name of v in the model, "" for an absent value.
func (v Value) Name() string { return v.name }

// DType is the element type of v.
func (v Value) DType() DType { return v.dtype }

// Shape is the shape of v. The caller must not change it.
func (v Value) Shape() Shape { return v.shape }

// Dim is dimension i of v; negative i counts from the end.
func (v Value) Dim(i int) Dim {
	if i < 0 {
		i += len(v.shape)
	}
	if i < 0 || i >= len(v.shape) {
		return Dim{}
	}
	return v.shape[i]
}

// Valid reports whether v is a tensor: neither absent nor the result of a
// mistake.
func (v Value) Valid() bool { return v.g != nil }

// Location is the place of an initializer's bytes, little endian, inside a
// file of the folder that the session is told of.
type Location struct {
	File           string // base name
	Offset, Length int64
}

// root is what a graph shares with its subgraphs.
type root struct {
	err     error
	names   map[string]int
	scopes  []string
	domains map[string]bool
	symbols int

	operators Operators
	eightBit  bool             // there is a custom operator of eight bits
	id        int64            // of no other graph
	kept      map[string]int64 // numbers of the weights that operators keep in eight bits
	quantised map[string]Rows  // weights in eight bits by plain nodes
}

// Graph is a graph under construction. It is not safe for concurrent use.
type Graph struct {
	*root
	parent       *Graph
	name         string
	nodes        []node
	initializers []initializer
	inputs       []Value
	outputs      []Value
	consts       map[string]Value
	weights      map[string]weight
	outputNames  []string
	joined       map[string]Value // by the names of what was joined
	shaped       []Value          // whose shapes the runtime cannot infer
}

type node struct {
	domain, op, name string
	inputs, outputs  []string
	attrs            []Attr
}

type initializer struct {
	value Value
	raw   []byte
	at    *Location
}

// weight is an initializer that was asked for by name.
type weight struct {
	value Value
	at    Location
}

// New starts an empty graph.
func New(name string) *Graph {
	return newGraph(&root{names: map[string]int{}, domains: map[string]bool{}, id: rand.Int64(), kept: map[string]int64{}, quantised: map[string]Rows{}}, nil, name)
}

func newGraph(r *root, parent *Graph, name string) *Graph {
	return &Graph{root: r, parent: parent, name: name, consts: map[string]Value{}, weights: map[string]weight{}, joined: map[string]Value{}}
}

// Err is the first mistake made while building, nil if there was none.
func (g *Graph) Err() error { return g.err }

// Scope names the nodes that f adds: their names begin with name and a slash.
func (g *Graph) Scope(name string, f func()) {
	g.scopes = append(g.scopes, name)
	f()
	g.scopes = g.scopes[:len(g.scopes)-1]
}

// Fail records a mistake at the place where the graph is being built, unless
// one is recorded already, and returns the invalid Value.
func (g *Graph) Fail(format string, args ...any) Value {
	if g.err == nil {
		at := strings.Join(g.scopes, "/")
		if at == "" {
			at = g.name
		}
		g.err = fmt.Errorf("onnx: %s: %w", at, fmt.Errorf(format, args...))
	}
	return Value{}
}

// NewSym is a symbol that no other dimension of the graph has; hint is its
// first part.
func (g *Graph) NewSym(hint string) Dim {
	g.symbols++
	return Sym(fmt.Sprintf("%s_%d", hint, g.symbols))
}

// Input adds a graph input. A name that is taken fails the graph.
func (g *Graph) Input(name string, dtype DType, shape Shape) Value {
	if g.names[name] > 0 {
		return g.Fail("input %q: the name is taken", name)
	}
	return g.input(g.unique(name), dtype, shape)
}

func (g *Graph) input(name string, dtype DType, shape Shape) Value {
	v := Value{g: g, name: name, dtype: dtype, shape: shape}
	g.inputs = append(g.inputs, v)
	return v
}

// Output makes v a graph output. A value of another graph, or of a loop's body, fails
// the graph.
func (g *Graph) Output(name string, v Value) {
	if !v.Valid() {
		g.Fail("output %q: the value is invalid", name)
		return
	}
	if !g.sees(v.g) {
		g.Fail("output %q: %s belongs to another graph", name, v.name)
		return
	}
	out := Value{g: g, name: name, dtype: v.dtype, shape: v.shape}
	if g.names[name] > 0 {
		g.Fail("output %q: the name is taken", name)
		return
	}
	g.names[name]++
	g.nodes = append(g.nodes, node{op: "Identity", name: "output/" + name, inputs: []string{v.name}, outputs: []string{name}})
	g.outputs = append(g.outputs, out)
	g.outputNames = append(g.outputNames, name)
}

// InputNames lists the graph inputs in order.
func (g *Graph) InputNames() []string {
	names := make([]string, len(g.inputs))
	for i, v := range g.inputs {
		names[i] = v.name
	}
	return names
}

// OutputNames lists the graph outputs in order.
func (g *Graph) OutputNames() []string { return append([]string(nil), g.outputNames...) }

// Initializer adds a tensor whose bytes lie in a file. The same name may be
// asked for again: the first one is returned, if type, shape and place agree.
func (g *Graph) Initializer(name string, dtype DType, shape Shape, at Location) Value {
	top := g
	for top.parent != nil {
		top = top.parent
	}
	if w, ok := top.weights[name]; ok {
		if v := w.value; v.dtype != dtype || !v.shape.Equal(shape) {
			return g.Fail("initializer %q: %v %v, but it was %v %v before", name, dtype, shape, v.dtype, v.shape)
		}
		if w.at != at {
			return g.Fail("initializer %q: at %+v, but it was at %+v before", name, at, w.at)
		}
		return w.value
	}
	count, ok := shape.Elements().Fixed()
	if !ok || count*dtype.Size() != at.Length || at.Offset < 0 {
		return g.Fail("initializer %q: %v %v does not fill %d bytes at %d", name, dtype, shape, at.Length, at.Offset)
	}
	v := Value{g: top, name: g.unique(name), dtype: dtype, shape: shape}
	top.initializers = append(top.initializers, initializer{value: v, at: &at})
	top.weights[name] = weight{v, at}
	return v
}

// unique returns name, with a number behind it if it was taken.
func (g *Graph) unique(name string) string {
	g.names[name]++
	if n := g.names[name]; n > 1 {
		return g.unique(fmt.Sprintf("%s_%d", name, n))
	}
	return name
}

// outputType is what an operator says of one of its outputs.
type outputType struct {
	dtype DType
	shape Shape
}

func typed(dtype DType, shape Shape) outputType { return outputType{dtype, shape} }

// Op adds a node and returns its outputs. It is what the typed operators are
// made of; it checks only that the inputs exist and can be seen from g.
func (g *Graph) Op(domain, op string, inputs []Value, attrs []Attr, outs ...outputType) []Value {
	values := make([]Value, len(outs))
	if g.err != nil {
		return values
	}
	n := node{domain: domain, op: op, attrs: attrs, name: g.unique(strings.Join(append(g.scopes[:len(g.scopes):len(g.scopes)], op), "/"))}
	for i, v := range inputs {
		if v.Valid() && !g.sees(v.g) {
			g.Fail("%s: input %d (%s) belongs to another graph", n.name, i, v.name)
			return values
		}
		n.inputs = append(n.inputs, v.name)
	}
	for len(n.inputs) > 0 && n.inputs[len(n.inputs)-1] == "" {
		n.inputs = n.inputs[:len(n.inputs)-1]
	}
	for i, o := range outs {
		if o.dtype == Invalid { // an optional output that nobody asked for
			n.outputs = append(n.outputs, "")
			continue
		}
		name := n.name
		if len(outs) > 1 {
			name = fmt.Sprintf("%s:%d", n.name, i)
		}
		values[i] = Value{g: g, name: g.unique(name + "/out"), dtype: o.dtype, shape: o.shape}
		n.outputs = append(n.outputs, values[i].name)
		if domain == customDomain {
			g.shaped = append(g.shaped, values[i])
		}
	}
	g.domains[domain] = true
	g.nodes = append(g.nodes, n)
	return values
}

// sees reports whether values of h may be used in g: h is g or encloses it.
func (g *Graph) sees(h *Graph) bool {
	for at := g; at != nil; at = at.parent {
		if at == h {
			return true
		}
	}
	return false
}

// need reports whether all values are valid; if one is not, it records that
// operator op lacks it.
func (g *Graph) need(op string, values ...Value) bool {
	for i, v := range values {
		if !v.Valid() {
			g.Fail("%s: input %d is missing", op, i)
			return false
		}
	}
	return g.err == nil
}

// sameType is need, and reports as well whether all values have one type.
func (g *Graph) sameType(op string, values ...Value) bool {
	if !g.need(op, values...) {
		return false
	}
	for _, v := range values[1:] {
		if v.dtype != values[0].dtype {
			g.Fail("%s: %s is %v and %s is %v", op, values[0].name, values[0].dtype, v.name, v.dtype)
			return false
		}
	}
	return true
}

// axis resolves a negative axis of v.
func (g *Graph) axis(op string, v Value, axis int) (int, bool) {
	resolved := axis
	if axis < 0 {
		resolved += len(v.shape)
	}
	if resolved < 0 || resolved >= len(v.shape) {
		g.Fail("%s: axis %d of %s %v", op, axis, v.name, v.shape)
		return 0, false
	}
	return resolved, true
}
