package wire

import (
	"bytes"
	"io"
	"net"

	"github.com/denseflow/densereward/reward"
	"github.com/vmihailenco/msgpack/v5"
)

// Message is an encoded request or response. The bytes of images and maps in
// it are the caller's own memory, not copies: leave them alone until the
// message was sent.
type Message struct {
	runs [][]byte
	size int64
}

// Len is the number of bytes of the message.
func (m *Message) Len() int64 { return m.size }

// Reader reads the message from its start; each call gives a fresh reader.
func (m *Message) Reader() io.ReadCloser { return &messageReader{runs: m.runs} }

// WriteTo writes the message in as few system calls as w allows.
func (m *Message) WriteTo(w io.Writer) (int64, error) {
	runs := make(net.Buffers, len(m.runs))
	copy(runs, m.runs)
	return runs.WriteTo(w)
}

// Bytes is a copy of the whole message.
func (m *Message) Bytes() []byte { return bytes.Join(m.runs, nil) }

type messageReader struct {
	runs [][]byte // what is left; the first is left from at on
	at   int
}

// Read fills p across runs, so that small heads do not become small writes.
func (r *messageReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && len(r.runs) > 0 {
		c := copy(p[n:], r.runs[0][r.at:])
		n += c
		r.at += c
		if r.at == len(r.runs[0]) {
			r.runs, r.at = r.runs[1:], 0
		}
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Close does nothing: the runs belong to the message.
func (r *messageReader) Close() error { return nil }

// borrowBytes is the length from which a bin is borrowed rather than copied.
const borrowBytes = 2048

// writer builds a Message. Writing to its buffer cannot fail, so the errors of
// msgpack's encoder are not looked at.
type writer struct {
	heads bytes.Buffer
	enc   *msgpack.Encoder
	loans []loan
}

// loan is borrowed data and where in heads it belongs.
type loan struct {
	at   int
	data []byte
}

func newWriter() *writer {
	w := &writer{}
	w.enc = msgpack.NewEncoder(&w.heads)
	return w
}

func (w *writer) mapLen(n int)    { _ = w.enc.EncodeMapLen(n) }
func (w *writer) arrayLen(n int)  { _ = w.enc.EncodeArrayLen(n) }
func (w *writer) text(s string)   { _ = w.enc.EncodeString(s) }
func (w *writer) bool(b bool)     { _ = w.enc.EncodeBool(b) }
func (w *writer) int(n int)       { _ = w.enc.EncodeInt(int64(n)) }
func (w *writer) float(f float64) { _ = w.enc.EncodeFloat64(f) }
func (w *writer) null()           { _ = w.enc.EncodeNil() }

func (w *writer) bin(data []byte) {
	_ = w.enc.EncodeBytesLen(len(data))
	if len(data) < borrowBytes {
		w.heads.Write(data)
		return
	}
	w.loans = append(w.loans, loan{w.heads.Len(), data})
}

func (w *writer) binText(s string) { w.bin([]byte(s)) }

// tensor writes the map that msgpack-numpy writes, keys as bin.
func (w *writer) tensor(t *reward.Tensor) {
	w.mapLen(5)
	w.binText("nd")
	w.bool(true)
	w.binText("type")
	w.text(string(t.Type))
	w.binText("kind")
	w.binText("")
	w.binText("shape")
	w.arrayLen(len(t.Shape))
	for _, d := range t.Shape {
		w.int(d)
	}
	w.binText("data")
	w.bin(t.Data)
}

func (w *writer) message() *Message {
	heads := w.heads.Bytes()
	m := &Message{}
	add := func(run []byte) {
		if len(run) > 0 {
			m.runs = append(m.runs, run)
			m.size += int64(len(run))
		}
	}
	start := 0
	for _, l := range w.loans {
		add(heads[start:l.at])
		add(l.data)
		start = l.at
	}
	add(heads[start:])
	return m
}
