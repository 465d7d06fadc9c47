package relabel

import (
	"context"
	"io"
)

// Record is one sample of a shard.
type Record struct {
	Name   string // in messages: "row 17", a key, a path
	Prompt string
	// Metadata is what Columns.Metadata asks for and the record has; see
	// reward.Sample.
	Metadata map[string]any
	// Load reads the bytes of the image or latents; it may be called from any
	// goroutine.
	Load func() ([]byte, error)
	// Err is why the record cannot be evaluated: it lacks its image or prompt.
	Err error
	// Row is the format's own, which its Writer takes up again.
	Row any
}

// Columns names where a shard's images and prompts are. An empty name stands for
// the first of the format's usual names that the shard has.
type Columns struct {
	Image  string `json:"image"`
	Prompt string `json:"prompt"`
	// Metadata names columns that evaluators may read: strings, numbers, truth
	// values, and in JSON lists and objects of these.
	Metadata []string `json:"metadata,omitempty"`
}

// A Format knows one kind of shard.
type Format interface {
	// Open begins to read the shard at path, whose name tells its compression.
	// ctx ends its reading.
	Open(ctx context.Context, s Store, path string, columns Columns) (Reader, error)
}

// Reader reads the records of one shard in order. It is not safe for concurrent
// use, but may be used beside its Writer.
type Reader interface {
	// Next returns io.EOF behind the last record. Every other error concerns the
	// whole shard.
	Next() (*Record, error)
	// Position is how far Next has come, in bytes of the shard.
	Position() int64
	// Writer makes the shard's output, in w and in files beside it. It fails where
	// labels do not fit.
	Writer(w io.Writer, beside Beside, labels Labels) (Writer, error)
	Close() error
}

// Beside writes a file that a shard's output names; the name is relative to the
// output's folder. All such files are durable before the output appears.
type Beside func(name string, data []byte) error

// Writer writes records in the order in which they were read. The same records
// and labels give the same bytes.
type Writer interface {
	Write(record *Record, label *Label) error
	// Close writes what remains; it does not close the underlying writer.
	Close() error
}

// Evaluate labels a chunk of records, in order. What concerns one record is that
// record's Failure; an error means that nothing can be evaluated, and ends the
// run. It is called for several chunks at a time.
type Evaluate func(ctx context.Context, chunk []*Record) ([]Label, error)
