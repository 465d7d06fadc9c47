package safetensors

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
)

// pieceBytes is what is hashed as one: small enough that processors end together, large
// enough that a disk reads in its stride.
const pieceBytes = 4 << 20

// Fingerprint identifies the weights: the SHA-256, in hex, of every tensor's name, dtype,
// shape and the SHA-256 of each 4 MiB of its bytes, in the order of the names. All bytes
// are read, on all processors.
//
// It tells apart any two checkpoints of different weights, and is the same for the same
// weights in other shards, folders or files. It does not cover the configuration or the
// tokenizer.
func (c *Checkpoint) Fingerprint() (string, error) {
	pieces := c.pieces()
	if err := hashPieces(pieces); err != nil {
		return "", err
	}
	sum := sha256.New()
	sum.Write([]byte("safetensors pieces 2\n"))
	for _, name := range c.names {
		hashDescription(sum, c.tensors[name])
		for ; len(pieces) > 0 && pieces[0].tensor.Name == name; pieces = pieces[1:] {
			sum.Write(pieces[0].sum[:])
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// hashDescription adds what t is. Lengths precede strings and shapes so that no
// two descriptions run together.
func hashDescription(sum hash.Hash, t Tensor) {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(t.Name)))
	b = append(b, t.Name...)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(t.DType)))
	b = append(b, t.DType...)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(t.Shape)))
	for _, dim := range t.Shape {
		b = binary.LittleEndian.AppendUint64(b, uint64(dim))
	}
	sum.Write(b)
}

// piece is a part of a tensor's bytes.
type piece struct {
	tensor        Tensor
	begin, length int64 // from the start of the file
	sum           [sha256.Size]byte
}

// pieces are those of all tensors, in the order of their names.
func (c *Checkpoint) pieces() []piece {
	var all []piece
	for _, name := range c.names {
		t := c.tensors[name]
		for at := int64(0); at < t.Length; at += pieceBytes {
			all = append(all, piece{tensor: t, begin: t.Offset + at, length: min(pieceBytes, t.Length-at)})
		}
	}
	return all
}

// hashPieces fills in the sums. The first failure ends it.
func hashPieces(pieces []piece) error {
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var hashing sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(pieces)) {
		hashing.Go(func() {
			var h pieceHasher
			defer h.close()
			for i := next.Add(1) - 1; i < int64(len(pieces)) && failed.Load() == nil; i = next.Add(1) - 1 {
				if err := h.hash(&pieces[i]); err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	hashing.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// pieceHasher hashes pieces one after the other. Neighbours lie in one file.
type pieceHasher struct {
	file *os.File
	path string
}

func (h *pieceHasher) hash(p *piece) error {
	if h.path != p.tensor.Path {
		h.close()
		f, err := os.Open(p.tensor.Path)
		if err != nil {
			return fmt.Errorf("safetensors: %w", err)
		}
		h.file, h.path = f, p.tensor.Path
	}
	sum := sha256.New()
	n, err := io.Copy(sum, io.NewSectionReader(h.file, p.begin, p.length))
	if err == nil && n < p.length {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("safetensors: %s: tensor %q: %w", p.tensor.Path, p.tensor.Name, err)
	}
	sum.Sum(p.sum[:0])
	return nil
}

func (h *pieceHasher) close() {
	if h.file != nil {
		h.file.Close()
		h.file, h.path = nil, ""
	}
}
