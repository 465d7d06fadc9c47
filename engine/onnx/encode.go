package onnx

import (
	"fmt"
	"math"
	"sort"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// Versions written into every model.
const (
	irVersion     = 10
	opset         = 21
	contribDomain = "com.microsoft"
)

// Attr is an attribute of a node: int64, float32, string, []int64, []float32,
// or a subgraph.
type Attr struct {
	Name  string
	Value any
}

// message appends to a protocol buffer, field by field; the numbers are those
// of onnx.proto.
type message []byte

func (m *message) varint(field protowire.Number, v uint64) {
	*m = protowire.AppendVarint(protowire.AppendTag(*m, field, protowire.VarintType), v)
}

func (m *message) bytes(field protowire.Number, v []byte) {
	*m = protowire.AppendBytes(protowire.AppendTag(*m, field, protowire.BytesType), v)
}

func (m *message) string(field protowire.Number, v string) { m.bytes(field, []byte(v)) }

func (m *message) float(field protowire.Number, v float32) {
	*m = protowire.AppendFixed32(protowire.AppendTag(*m, field, protowire.Fixed32Type), math.Float32bits(v))
}

// Marshal is the serialized ModelProto, or the first mistake made while
// building.
func (g *Graph) Marshal() ([]byte, error) {
	if g.parent != nil {
		return nil, fmt.Errorf("onnx: %s is a subgraph", g.name)
	}
	if g.err != nil {
		return nil, g.err
	}
	if len(g.outputs) == 0 {
		return nil, fmt.Errorf("onnx: graph %s has no outputs", g.name)
	}
	var m message
	m.varint(1, irVersion)
	m.string(2, "densereward")
	body, err := g.encode()
	if err != nil {
		return nil, err
	}
	m.bytes(7, body)
	domains := make([]string, 0, len(g.domains))
	for d := range g.domains {
		domains = append(domains, d)
	}
	if !g.domains[""] {
		domains = append(domains, "")
	}
	sort.Strings(domains)
	for _, d := range domains {
		var set message
		set.string(1, d)
		version := uint64(opset)
		if d != "" {
			version = 1
		}
		set.varint(2, version)
		m.bytes(8, set)
	}
	return m, nil
}

// encode is g as a GraphProto.
func (g *Graph) encode() ([]byte, error) {
	var m message
	for _, n := range g.nodes {
		b, err := n.encode()
		if err != nil {
			return nil, err
		}
		m.bytes(1, b)
	}
	m.string(2, g.name)
	for _, init := range g.initializers {
		m.bytes(5, init.encode())
	}
	for _, v := range g.inputs {
		m.bytes(11, v.encode())
	}
	for _, v := range g.outputs {
		m.bytes(12, v.encode())
	}
	for _, v := range g.shaped {
		m.bytes(13, v.encode())
	}
	return m, nil
}

func (n node) encode() ([]byte, error) {
	var m message
	for _, name := range n.inputs {
		m.string(1, name)
	}
	for _, name := range n.outputs {
		m.string(2, name)
	}
	m.string(3, n.name)
	m.string(4, n.op)
	for _, a := range n.attrs {
		b, err := a.encode()
		if err != nil {
			return nil, fmt.Errorf("onnx: %s: %w", n.name, err)
		}
		m.bytes(5, b)
	}
	if n.domain != "" {
		m.string(7, n.domain)
	}
	return m, nil
}

func (a Attr) encode() ([]byte, error) {
	const (
		typeFloat, typeInt, typeString = 1, 2, 3
		typeTensor, typeGraph          = 4, 5
		typeFloats, typeInts           = 6, 7
	)
	var m message
	m.string(1, a.Name)
	kind := uint64(0)
	switch v := a.Value.(type) {
	case float32:
		m.float(2, v)
		kind = typeFloat
	case int64:
		m.varint(3, uint64(v))
		kind = typeInt
	case string:
		m.string(4, v)
		kind = typeString
	case initializer:
		m.bytes(5, v.encode())
		kind = typeTensor
	case *Graph:
		b, err := v.encode()
		if err != nil {
			return nil, err
		}
		m.bytes(6, b)
		kind = typeGraph
	case []float32:
		for _, f := range v {
			m.float(7, f)
		}
		kind = typeFloats
	case []int64:
		for _, i := range v {
			m.varint(8, uint64(i))
		}
		kind = typeInts
	default:
		return nil, fmt.Errorf("attribute %s: type %T", a.Name, a.Value)
	}
	m.varint(20, kind)
	return m, nil
}

func (i initializer) encode() []byte {
	var m message
	sizes, _ := i.value.shape.Fixed()
	for _, n := range sizes {
		m.varint(1, uint64(n))
	}
	m.varint(2, uint64(i.value.dtype))
	m.string(8, i.value.name)
	if i.at == nil {
		m.bytes(9, i.raw)
		return m
	}
	for _, kv := range [][2]string{
		{"location", i.at.File},
		{"offset", strconv.FormatInt(i.at.Offset, 10)},
		{"length", strconv.FormatInt(i.at.Length, 10)},
	} {
		var entry message
		entry.string(1, kv[0])
		entry.string(2, kv[1])
		m.bytes(13, entry)
	}
	m.varint(14, 1) // EXTERNAL
	return m
}

// encode is v as a ValueInfoProto.
func (v Value) encode() []byte {
	var shape message
	for _, d := range v.shape {
		var dim message
		if n, ok := d.Fixed(); ok {
			dim.varint(1, uint64(n))
		} else {
			dim.string(2, d.String())
		}
		shape.bytes(1, dim)
	}
	var tensor, kind, m message
	tensor.varint(1, uint64(v.dtype))
	tensor.bytes(2, shape)
	kind.bytes(1, tensor)
	m.string(1, v.name)
	m.bytes(2, kind)
	return m
}
