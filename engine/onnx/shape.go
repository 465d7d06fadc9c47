package onnx

import (
	"fmt"
	"sort"
	"strings"
)

// Dim is one dimension of a shape: a number times zero or more symbols.
type Dim struct {
	n    int64
	syms string // sorted, joined by "*"
}

// N is the dimension of a known size n.
func N(n int64) Dim { return Dim{n: n} }

// Sym is the dimension called name, whose size is known when the graph runs.
func Sym(name string) Dim { return Dim{n: 1, syms: name} }

// Times is the product of the dimensions d and e.
func (d Dim) Times(e Dim) Dim {
	if d.n == 0 || e.n == 0 {
		return N(0)
	}
	var syms []string
	for _, s := range []string{d.syms, e.syms} {
		if s != "" {
			syms = append(syms, strings.Split(s, "*")...)
		}
	}
	sort.Strings(syms)
	return Dim{n: d.n * e.n, syms: strings.Join(syms, "*")}
}

// Fixed returns the size of d and whether it is known while building.
func (d Dim) Fixed() (int64, bool) { return d.n, d.syms == "" }

// String is d as it is written into the model: "16", "batch", "324*batch".
func (d Dim) String() string {
	switch {
	case d.syms == "":
		return fmt.Sprint(d.n)
	case d.n == 1:
		return d.syms
	}
	return fmt.Sprintf("%d*%s", d.n, d.syms)
}

// Shape is the dimensions of a tensor, outermost first. A scalar has none.
type Shape []Dim

// Dims is the shape of the known sizes n.
func Dims(n ...int64) Shape {
	s := make(Shape, len(n))
	for i, v := range n {
		s[i] = N(v)
	}
	return s
}

// Elements is the product of all dimensions.
func (s Shape) Elements() Dim {
	p := N(1)
	for _, d := range s {
		p = p.Times(d)
	}
	return p
}

// Equal reports whether s and t have the same dimensions.
func (s Shape) Equal(t Shape) bool {
	if len(s) != len(t) {
		return false
	}
	for i := range s {
		if s[i] != t[i] {
			return false
		}
	}
	return true
}

// Fixed returns the sizes of s and whether all are known while building.
func (s Shape) Fixed() ([]int64, bool) {
	sizes := make([]int64, len(s))
	for i, d := range s {
		n, ok := d.Fixed()
		if !ok {
			return nil, false
		}
		sizes[i] = n
	}
	return sizes, true
}

// symbolic is the number of dimensions of s whose size only the run can tell.
func (s Shape) symbolic() int {
	n := 0
	for _, d := range s {
		if _, fixed := d.Fixed(); !fixed {
			n++
		}
	}
	return n
}

// String is s in parentheses: "(batch,324,2048)".
func (s Shape) String() string {
	parts := make([]string, len(s))
	for i, d := range s {
		parts[i] = d.String()
	}
	return "(" + strings.Join(parts, ",") + ")"
}

// with returns a copy of s whose dimension axis is d.
func (s Shape) with(axis int, d Dim) Shape {
	t := append(Shape(nil), s...)
	t[axis] = d
	return t
}

// broadcast is the shape of an element-wise operator on a and b.
func broadcast(a, b Shape) (Shape, error) {
	if len(a) < len(b) {
		a, b = b, a
	}
	out := append(Shape(nil), a...)
	shift := len(a) - len(b)
	for i, d := range b {
		switch e := out[shift+i]; {
		case d == e || d == N(1):
		case e == N(1):
			out[shift+i] = d
		default:
			return nil, fmt.Errorf("shapes %v and %v do not broadcast: %v against %v", a, b, e, d)
		}
	}
	return out, nil
}
