// Package synthetic writes whole ImageDoctor checkpoints with random weights. What
// they say means nothing, but they do the work that the trained one does: for
// benchmarks and tests.
package synthetic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/denseflow/densereward/engine/imagedoctor"
	"github.com/denseflow/densereward/engine/imagedoctor/nano"
	"github.com/denseflow/densereward/engine/imagedoctor/released"
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/engine/safetensors"
	"github.com/denseflow/densereward/engine/tokenizer/qwen"
)

// Like names a checkpoint whose shapes another one takes.
type Like string

const (
	LikeReleased Like = "released" // the published one: 3.8 billion parameters, 7.6 GB
	LikeNano     Like = "nano"     // the embedded miniature: 0.8 million, 1.6 MB
)

const shardBytes = 4 << 30 // of a shard, at most

// Progress is told how many bytes of how many are written, from time to time.
// It may be nil.
type Progress func(written, total int64)

// Write writes a whole checkpoint with random weights into dir: the
// configuration, the tokenizer and every tensor of the checkpoint that like
// names, in bfloat16, norms 1 and all else normal with deviation 0.02. Nothing it
// says means anything, but it does the work that the trained one does. Equal
// seeds write equal files.
//
// dir is made if need be and must be empty; after an error it is empty again.
// Weights are streamed, so that the released shapes need little memory.
func Write(ctx context.Context, dir string, like Like, seed uint64, progress Progress) (err error) {
	files, heads, err := like.files()
	if err != nil {
		return err
	}
	if err := makeEmpty(dir); err != nil {
		return fmt.Errorf("synthetic: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeAllIn(dir))
		}
	}()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return fmt.Errorf("synthetic: %w", err)
		}
	}
	config, err := imagedoctor.LoadConfig(dir)
	if err != nil {
		return fmt.Errorf("synthetic: %w", err)
	}
	tensors, err := imagedoctor.Inventory(config, heads)
	if err != nil {
		return err
	}
	table := normalTable()
	meter := newMeter(ctx, tensors, progress)
	return writeTensors(dir, tensors, func(t safetensors.Tensor, stream uint64) func(io.Writer) error {
		return meter.watch(randomFill(t, table, seed, stream))
	})
}

// writeTensors writes the shards. What fill returns writes a tensor's bytes; nil
// leaves a hole.
func writeTensors(dir string, tensors []safetensors.Tensor, fill func(t safetensors.Tensor, stream uint64) func(io.Writer) error) error {
	sources := make([]safetensors.Source, len(tensors))
	for i, t := range tensors {
		sources[i] = safetensors.Source{Name: t.Name, DType: t.DType, Shape: t.Shape, Fill: fill(t, uint64(i))}
	}
	if err := safetensors.WriteShards(dir, sources, shardBytes); err != nil {
		return fmt.Errorf("synthetic: random weights: %w", err)
	}
	return nil
}

// files are the checkpoint's files beside the weights, by their names, and the
// widths of its heads.
func (l Like) files() (map[string][]byte, imagedoctor.HeadWidths, error) {
	switch l {
	case LikeNano:
		files := map[string][]byte{}
		for _, name := range []string{checkpoint.ConfigFile, checkpoint.PreprocessorFile, checkpoint.TokenizerFile} {
			data, err := nano.Checkpoint().Read(name)
			if err != nil {
				return nil, imagedoctor.HeadWidths{}, fmt.Errorf("synthetic: %w", err)
			}
			files[name] = data
		}
		return files, imagedoctor.HeadWidths{Width: nano.HeadWidth, MLP: nano.HeadMLP}, nil
	case LikeReleased:
		files, err := releasedFiles()
		return files, imagedoctor.HeadWidths{Width: released.HeadWidth, MLP: released.HeadMLP}, err
	}
	return nil, imagedoctor.HeadWidths{}, fmt.Errorf("synthetic: no checkpoint %q to be like, only %s and %s", l, LikeReleased, LikeNano)
}

// releasedFiles are the published files; the size of the vocabulary, which the
// published configuration leaves to the tensors, is added. The processor's
// settings are those of Qwen2.5-VL, which the nano checkpoint has as well.
func releasedFiles() (map[string][]byte, error) {
	var config map[string]any
	if err := json.Unmarshal([]byte(released.Config), &config); err != nil {
		return nil, fmt.Errorf("synthetic: %s: %w", checkpoint.ConfigFile, err)
	}
	config["vocab_size"] = released.Vocabulary
	model, err := json.MarshalIndent(config, "", " ")
	if err != nil {
		return nil, fmt.Errorf("synthetic: %s: %w", checkpoint.ConfigFile, err)
	}
	preprocessor, err := nano.Checkpoint().Read(checkpoint.PreprocessorFile)
	if err != nil {
		return nil, fmt.Errorf("synthetic: %w", err)
	}
	tokens, err := qwen.JSON()
	if err != nil {
		return nil, fmt.Errorf("synthetic: %w", err)
	}
	return map[string][]byte{checkpoint.ConfigFile: append(model, '\n'), checkpoint.PreprocessorFile: preprocessor, checkpoint.TokenizerFile: tokens}, nil
}

// makeEmpty makes the folder dir, which must be empty if it is there.
func makeEmpty(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty: it holds %s", dir, entries[0].Name())
	}
	return nil
}

// removeAllIn removes everything in the folder dir.
func removeAllIn(dir string) error {
	entries, err := os.ReadDir(dir)
	errs := []error{err}
	for _, e := range entries {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return errors.Join(errs...)
}

// meter counts the bytes of weights and ends the writing with its context.
type meter struct {
	ctx            context.Context
	progress       Progress
	written, total int64
}

func newMeter(ctx context.Context, tensors []safetensors.Tensor, progress Progress) *meter {
	m := &meter{ctx: ctx, progress: progress}
	for _, t := range tensors {
		m.total += t.Length
	}
	return m
}

// watch is fill with its bytes counted.
func (m *meter) watch(fill func(io.Writer) error) func(io.Writer) error {
	return func(w io.Writer) error { return fill(&metered{meter: m, w: w}) }
}

type metered struct {
	*meter
	w io.Writer
}

func (m *metered) Write(p []byte) (int, error) {
	if err := m.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := m.w.Write(p)
	m.written += int64(n)
	if m.progress != nil {
		m.progress(m.written, m.total)
	}
	return n, err
}
