package safetensors

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
)

// writeBuffer is the size of the writes that reach the file.
const writeBuffer = 1 << 20

// Source is a tensor to be written.
type Source struct {
	Name  string
	DType DType
	Shape []int64

	// Fill writes the tensor's bytes, exactly as many as DType and Shape say.
	// nil leaves a hole in the file, which reads as zeros and, on most file
	// systems, occupies no disk.
	Fill func(w io.Writer) error
}

// Write makes the file at path of tensors, in their order, replacing a file
// that is there. Nothing is visible at path before the file is complete.
func Write(path string, tensors []Source) (err error) {
	header, lengths, err := buildHeader(tensors)
	if err != nil {
		return at(path, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".part-*")
	if err != nil {
		return fmt.Errorf("safetensors: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(header); err != nil {
		return fmt.Errorf("safetensors: %w", err)
	}
	end := int64(len(header))
	for i, t := range tensors {
		if err := writeTensor(f, t, end, lengths[i]); err != nil {
			return fmt.Errorf("safetensors: %s: tensor %q: %w", path, t.Name, err)
		}
		end += lengths[i]
	}
	if err := f.Truncate(end); err != nil { // a hole at the end has no bytes yet
		return fmt.Errorf("safetensors: %w", err)
	}
	if err := f.Chmod(0o644); err != nil {
		return fmt.Errorf("safetensors: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("safetensors: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("safetensors: %w", err)
	}
	return nil
}

// buildHeader makes the length prefix and the header, padded with spaces so
// that the data begins at a multiple of eight, and each tensor's length.
func buildHeader(tensors []Source) (header []byte, lengths []int64, err error) {
	type item struct {
		DType   DType    `json:"dtype"`
		Shape   []int64  `json:"shape"`
		Offsets [2]int64 `json:"data_offsets"`
	}
	header = append(make([]byte, lengthBytes), `{"__metadata__":{"format":"pt"}`...)
	seen := map[string]bool{metadataKey: true}
	var reached int64
	for _, t := range tensors {
		if seen[t.Name] {
			return nil, nil, tensorError(t.Name, "the name occurs twice or is reserved")
		}
		seen[t.Name] = true
		length, err := ByteLength(t.DType, t.Shape)
		if err != nil {
			return nil, nil, tensorError(t.Name, "%v", err)
		}
		if reached > math.MaxInt64-maxHeaderBytes-length {
			return nil, nil, tensorError(t.Name, "the file would exceed 2^63 bytes")
		}
		name, err := json.Marshal(t.Name)
		if err != nil {
			return nil, nil, tensorError(t.Name, "%v", err)
		}
		shape := append([]int64{}, t.Shape...) // a scalar's is [], not null
		value, err := json.Marshal(item{t.DType, shape, [2]int64{reached, reached + length}})
		if err != nil {
			return nil, nil, tensorError(t.Name, "%v", err)
		}
		header = append(header, ',')
		header = append(header, name...)
		header = append(header, ':')
		header = append(header, value...)
		lengths = append(lengths, length)
		reached += length
	}
	header = append(header, '}')
	for len(header)%8 != 0 {
		header = append(header, ' ')
	}
	n := len(header) - lengthBytes
	if n > maxHeaderBytes {
		return nil, nil, tensorError("", "header of %d bytes exceeds the limit of %d", n, maxHeaderBytes)
	}
	binary.LittleEndian.PutUint64(header, uint64(n))
	return header, lengths, nil
}

// writeTensor writes t's bytes at offset, or leaves them a hole.
func writeTensor(f *os.File, t Source, offset, length int64) error {
	if t.Fill == nil {
		return nil
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return err
	}
	buffer := bufio.NewWriterSize(f, writeBuffer)
	counted := &exactWriter{w: buffer, left: length}
	if err := t.Fill(counted); err != nil {
		return err
	}
	if counted.left != 0 {
		return fmt.Errorf("%d of %d bytes were not written", counted.left, length)
	}
	return buffer.Flush()
}

// exactWriter refuses to write more than left bytes.
type exactWriter struct {
	w    io.Writer
	left int64
}

func (e *exactWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > e.left {
		return 0, errors.New("more bytes than the shape holds")
	}
	n, err := e.w.Write(p)
	e.left -= int64(n)
	return n, err
}

// WriteShards writes tensors, in their order, into files of at most shardBytes
// of data each in the folder dir, with the index that Open and transformers
// look for: model-00001-of-00002.safetensors and so on. A tensor larger than
// shardBytes has a shard to itself.
func WriteShards(dir string, tensors []Source, shardBytes int64) error {
	var shards [][]Source
	var total, room int64
	for _, t := range tensors {
		length, err := ByteLength(t.DType, t.Shape)
		if err != nil {
			return at(dir, tensorError(t.Name, "%v", err))
		}
		if len(shards) == 0 || length > room {
			shards = append(shards, nil)
			room = shardBytes
		}
		last := len(shards) - 1
		shards[last] = append(shards[last], t)
		room -= length
		total += length
	}
	shardOf := make(map[string]string, len(tensors))
	for i, shard := range shards {
		file := fmt.Sprintf("model-%05d-of-%05d%s", i+1, len(shards), fileSuffix)
		for _, t := range shard {
			if _, ok := shardOf[t.Name]; ok {
				return at(dir, tensorError(t.Name, "the name occurs twice"))
			}
			shardOf[t.Name] = file
		}
		if err := Write(filepath.Join(dir, file), shard); err != nil {
			return err
		}
	}
	return writeIndex(filepath.Join(dir, "model"+indexSuffix), shardOf, total)
}

// writeIndex writes which shard holds which tensor; encoding/json sorts keys.
func writeIndex(path string, shardOf map[string]string, total int64) error {
	index := struct {
		Metadata  map[string]int64  `json:"metadata"`
		WeightMap map[string]string `json:"weight_map"`
	}{map[string]int64{"total_size": total}, shardOf}
	data, err := json.MarshalIndent(index, "", " ")
	if err != nil {
		return at(path, err)
	}
	if err := os.WriteFile(path, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("safetensors: %w", err)
	}
	return nil
}
