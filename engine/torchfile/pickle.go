package torchfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// What a pickle's values become. Numbers are int64 and float64, texts string,
// truth values bool, None nil.
type (
	// dict keeps the order of its keys.
	dict struct{ entries []entry }
	list struct{ items []any }
	// tuple never changes.
	tuple []any
	// global is a name of Python: module and name.
	global string
	// opaque is an object of which nothing matters.
	opaque struct{}
	// mark is a place on the stack.
	mark struct{}
)

type entry struct{ key, value any }

// maxObjects bounds the values that a pickle makes. A state dict of ten thousand
// tensors has some 300,000.
const maxObjects = 1 << 22

// The instructions that state dicts consist of.
const (
	opMark         = '('
	opStop         = '.'
	opPop          = '0'
	opBinFloat     = 'G'
	opBinInt       = 'J'
	opBinInt1      = 'K'
	opBinInt2      = 'M'
	opNone         = 'N'
	opBinPersID    = 'Q'
	opReduce       = 'R'
	opBinUnicode   = 'X'
	opAppend       = 'a'
	opBuild        = 'b'
	opGlobal       = 'c'
	opAppends      = 'e'
	opBinGet       = 'h'
	opLongBinGet   = 'j'
	opBinPut       = 'q'
	opLongBinPut   = 'r'
	opSetItem      = 's'
	opTuple        = 't'
	opSetItems     = 'u'
	opEmptyList    = ']'
	opEmptyTuple   = ')'
	opEmptyDict    = '}'
	opProto        = 0x80
	opTuple1       = 0x85
	opTuple2       = 0x86
	opTuple3       = 0x87
	opNewTrue      = 0x88
	opNewFalse     = 0x89
	opLong1        = 0x8a
	opBinBytes     = 'B'
	opShortBinByte = 'C'
)

var errCut = errors.New("the pickle ends early")

// machine runs a pickle.
type machine struct {
	data    []byte
	stack   []any
	memo    map[uint32]any
	objects int
	storage func(id any) (any, error) // resolves a persistent id
}

// unpickle runs data and returns the value that it leaves.
func unpickle(data []byte, storage func(id any) (any, error)) (any, error) {
	m := &machine{data: data, memo: map[uint32]any{}, storage: storage}
	for {
		op, err := m.take(1)
		if err != nil {
			return nil, err
		}
		if op[0] == opStop {
			return m.pop()
		}
		if m.objects++; m.objects > maxObjects {
			return nil, fmt.Errorf("more than %d instructions", maxObjects)
		}
		if err := m.step(op[0]); err != nil {
			return nil, err
		}
	}
}

// step runs an instruction.
func (m *machine) step(op byte) error {
	switch op {
	case opProto:
		return m.proto()
	case opMark:
		m.push(mark{})
	case opPop:
		_, err := m.pop()
		return err
	case opNone:
		m.push(nil)
	case opNewTrue, opNewFalse:
		m.push(op == opNewTrue)
	case opEmptyDict:
		m.push(&dict{})
	case opEmptyList:
		m.push(&list{})
	case opEmptyTuple:
		m.push(tuple{})
	case opBinInt, opBinInt1, opBinInt2, opLong1, opBinFloat:
		return m.number(op)
	case opBinUnicode, opBinBytes, opShortBinByte:
		return m.text(op)
	case opTuple, opTuple1, opTuple2, opTuple3:
		return m.tuple(op)
	case opAppend, opAppends, opSetItem, opSetItems:
		return m.fill(op)
	case opBinGet, opLongBinGet, opBinPut, opLongBinPut:
		return m.remember(op)
	case opGlobal:
		return m.global()
	case opReduce, opBuild, opBinPersID:
		return m.object(op)
	default:
		return fmt.Errorf("instruction 0x%02x, which no state dict has", op)
	}
	return nil
}

func (m *machine) take(n int) ([]byte, error) {
	if n > len(m.data) {
		return nil, errCut
	}
	taken := m.data[:n]
	m.data = m.data[n:]
	return taken, nil
}

// line returns the bytes up to the next newline.
func (m *machine) line() (string, error) {
	text, rest, found := bytes.Cut(m.data, []byte("\n"))
	if !found {
		return "", errCut
	}
	m.data = rest
	return string(text), nil
}

func (m *machine) push(v any) { m.stack = append(m.stack, v) }

func (m *machine) pop() (any, error) {
	if len(m.stack) == 0 {
		return nil, errors.New("an instruction finds nothing on the stack")
	}
	v := m.stack[len(m.stack)-1]
	m.stack = m.stack[:len(m.stack)-1]
	return v, nil
}

// popMark returns what lies above the topmost mark, in an array of its own.
func (m *machine) popMark() ([]any, error) {
	for i := len(m.stack) - 1; i >= 0; i-- {
		if _, ok := m.stack[i].(mark); ok {
			items := append([]any(nil), m.stack[i+1:]...)
			m.stack = m.stack[:i]
			return items, nil
		}
	}
	return nil, errors.New("an instruction finds no mark on the stack")
}

func (m *machine) proto() error {
	version, err := m.take(1)
	if err != nil {
		return err
	}
	if version[0] != 2 {
		return fmt.Errorf("pickle protocol %d, only 2 is read: save without pickle_protocol", version[0])
	}
	return nil
}

func (m *machine) number(op byte) error {
	sizes := map[byte]int{opBinInt: 4, opBinInt1: 1, opBinInt2: 2, opLong1: 1, opBinFloat: 8}
	b, err := m.take(sizes[op])
	if err != nil {
		return err
	}
	switch op {
	case opBinInt:
		m.push(int64(int32(binary.LittleEndian.Uint32(b))))
	case opBinInt1:
		m.push(int64(b[0]))
	case opBinInt2:
		m.push(int64(binary.LittleEndian.Uint16(b)))
	case opBinFloat:
		m.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
	case opLong1:
		return m.long(int(b[0]))
	}
	return nil
}

// long reads a number of n bytes in two's complement.
func (m *machine) long(n int) error {
	b, err := m.take(n)
	if err != nil {
		return err
	}
	if n > 8 {
		m.push(opaque{}) // a seed, say: no size of a tensor
		return nil
	}
	var v int64
	for i, digit := range b {
		v |= int64(digit) << (8 * i)
	}
	if n > 0 {
		shift := 64 - 8*n
		v = v << shift >> shift
	}
	m.push(v)
	return nil
}

func (m *machine) text(op byte) error {
	width := 4
	if op == opShortBinByte {
		width = 1
	}
	b, err := m.take(width)
	if err != nil {
		return err
	}
	n := uint32(b[0])
	if width == 4 {
		n = binary.LittleEndian.Uint32(b)
	}
	if int64(n) > int64(len(m.data)) {
		return errCut
	}
	data, err := m.take(int(n))
	if err != nil {
		return err
	}
	if op != opBinUnicode {
		m.push(opaque{})
		return nil
	}
	m.push(string(data))
	return nil
}

func (m *machine) tuple(op byte) error {
	if op == opTuple {
		items, err := m.popMark()
		if err != nil {
			return err
		}
		m.push(tuple(items))
		return nil
	}
	items := make(tuple, int(op)-opTuple1+1)
	for i := len(items) - 1; i >= 0; i-- {
		var err error
		if items[i], err = m.pop(); err != nil {
			return err
		}
	}
	m.push(items)
	return nil
}

// fill puts what lies on the stack into the list or dictionary below.
func (m *machine) fill(op byte) error {
	var items []any
	var err error
	switch op {
	case opAppends, opSetItems:
		items, err = m.popMark()
	case opSetItem:
		items = make([]any, 2)
		if items[1], err = m.pop(); err == nil {
			items[0], err = m.pop()
		}
	default:
		items = make([]any, 1)
		items[0], err = m.pop()
	}
	if err != nil {
		return err
	}
	below, err := m.pop()
	if err != nil {
		return err
	}
	m.push(below)
	switch to := below.(type) {
	case *list:
		if op != opAppend && op != opAppends {
			return errors.New("a key is set in a list")
		}
		to.items = append(to.items, items...)
	case *dict:
		if op != opSetItem && op != opSetItems || len(items)%2 != 0 {
			return errors.New("a dictionary is filled with something else than keys and values")
		}
		for i := 0; i < len(items); i += 2 {
			to.entries = append(to.entries, entry{items[i], items[i+1]})
		}
	case opaque:
	default:
		return fmt.Errorf("%T is filled as a list or dictionary", below)
	}
	return nil
}

// remember puts the top of the stack into the memo or fetches from it.
func (m *machine) remember(op byte) error {
	width := 1
	if op == opLongBinGet || op == opLongBinPut {
		width = 4
	}
	b, err := m.take(width)
	if err != nil {
		return err
	}
	at := uint32(b[0])
	if width == 4 {
		at = binary.LittleEndian.Uint32(b)
	}
	if op == opBinPut || op == opLongBinPut {
		if len(m.stack) == 0 {
			return errors.New("an instruction finds nothing on the stack")
		}
		m.memo[at] = m.stack[len(m.stack)-1]
		return nil
	}
	v, ok := m.memo[at]
	if !ok {
		return fmt.Errorf("the memo has nothing at %d", at)
	}
	m.push(v)
	return nil
}

func (m *machine) global() error {
	module, err := m.line()
	if err != nil {
		return err
	}
	name, err := m.line()
	if err != nil {
		return err
	}
	g := global(module + "." + name)
	if !known(g) {
		return fmt.Errorf("the file holds %q, which no state dict needs and which might run code; save the state_dict alone", string(g))
	}
	m.push(g)
	return nil
}

// object builds what a call, a state or a persistent id describes.
func (m *machine) object(op byte) error {
	argument, err := m.pop()
	if err != nil {
		return err
	}
	if op == opBinPersID {
		s, err := m.storage(argument)
		if err != nil {
			return err
		}
		m.push(s)
		return nil
	}
	target, err := m.pop()
	if err != nil {
		return err
	}
	if op == opBuild {
		m.push(target) // a state says nothing of tensors: an OrderedDict's _metadata
		return nil
	}
	function, isGlobal := target.(global)
	arguments, isTuple := argument.(tuple)
	if !isGlobal || !isTuple {
		return errors.New("something that is no function is called")
	}
	v, err := call(function, arguments)
	if err != nil {
		return err
	}
	m.push(v)
	return nil
}
