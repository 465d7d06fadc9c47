package safetensors

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"os"
)

const (
	sampleBlock  = 4 << 10
	sampleBlocks = 8
	sampleAll    = sampleBlock * sampleBlocks
)

// Fingerprint identifies the weights: the SHA-256, in hex, of every tensor's
// name, dtype and shape and of a sample of its bytes, in the order of the
// names. A tensor of at most 32 KiB is sampled whole, a larger one by eight
// blocks of 4 KiB spread evenly from its first byte to its last. Full-size
// checkpoints take well under a second that way.
//
// It tells apart checkpoints of different training runs or steps, precisions
// and shapes, and is the same for the same weights in other shards, folders or
// files. It does not see a change that lies wholly between the sampled blocks
// of large tensors, so it is no seal against deliberate tampering, and it does
// not cover the configuration or the tokenizer.
func (c *Checkpoint) Fingerprint() (string, error) {
	sum := sha256.New()
	sum.Write([]byte("safetensors sample 1\n"))
	open := map[string]*os.File{}
	defer func() {
		for _, f := range open {
			f.Close()
		}
	}()
	block := make([]byte, sampleAll)
	for _, name := range c.names {
		t := c.tensors[name]
		f := open[t.Path]
		if f == nil {
			var err error
			if f, err = os.Open(t.Path); err != nil {
				return "", fmt.Errorf("safetensors: %w", err)
			}
			open[t.Path] = f
		}
		hashDescription(sum, t)
		if err := hashSample(sum, f, t, block); err != nil {
			return "", fmt.Errorf("safetensors: %s: tensor %q: %w", t.Path, name, err)
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

// hashSample adds a sample of t's bytes; block has room for sampleAll.
func hashSample(sum hash.Hash, f *os.File, t Tensor, block []byte) error {
	if t.Length <= sampleAll {
		if err := readAt(f, block[:t.Length], t.Offset); err != nil {
			return err
		}
		sum.Write(block[:t.Length])
		return nil
	}
	room := t.Length - sampleBlock
	for i := range int64(sampleBlocks) {
		// room/7*i + room%7*i/7 is room*i/7 without its overflow.
		const last = sampleBlocks - 1
		begin := room/last*i + room%last*i/last
		if err := readAt(f, block[:sampleBlock], t.Offset+begin); err != nil {
			return err
		}
		sum.Write(block[:sampleBlock])
	}
	return nil
}
