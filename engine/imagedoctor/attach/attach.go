// Package attach makes an ImageDoctor of a plain Qwen2.5-VL checkpoint: the two
// tokens that ask for heatmaps, and the heads that draw them, untrained. It is
// where training of one's own begins.
package attach

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/denseflow/densereward/engine/imagedoctor"
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/engine/safetensors"
)

const shardBytes = 4 << 30 // of a shard, at most

// Options say what is attached.
type Options struct {
	Heads imagedoctor.HeadWidths // released: 768 and 2048
	Seed  uint64                 // of the heads' weights; equal seeds write equal files
}

// ErrNotPlain is returned for a folder that is not a plain Qwen2.5-VL.
var ErrNotPlain = errors.New("not a plain Qwen2.5-VL checkpoint")

// Attach writes the ImageDoctor of the checkpoint folder plain to the folder out,
// which must not exist or be empty; after an error it is not there. The trunk's
// bytes are copied as they are, under the names of the released checkpoint; the
// embedding gets rows for the two tokens, which begin as the mean of its rows; the
// heads are random, in bfloat16. Weights are streamed: memory is that of a row.
func Attach(ctx context.Context, plain, out string, o Options) (err error) {
	weights, err := open(plain)
	if err != nil {
		return err
	}
	if err := os.Remove(out); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("attach: the folder to write to must not exist or be empty: %w", err)
	}
	dir, err := os.MkdirTemp(filepath.Dir(filepath.Clean(out)), ".attach-*")
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	ids, err := writeFiles(plain, dir, weights)
	if err != nil {
		return err
	}
	sources, err := sources(ctx, dir, weights, ids, o)
	if err != nil {
		return err
	}
	if err := safetensors.WriteShards(dir, sources, shardBytes); err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // temporary folders are their owner's alone
		return fmt.Errorf("attach: %w", err)
	}
	if err := os.Rename(dir, out); err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	return nil
}

// open opens the weights of plain under the released names.
func open(plain string) (*safetensors.Checkpoint, error) {
	config, err := checkpoint.LoadConfig(plain)
	if err != nil {
		return nil, fmt.Errorf("attach: %w", err)
	}
	if config.Family != checkpoint.Qwen25VL {
		return nil, fmt.Errorf("attach: %s: %w: it is a %s", plain, ErrNotPlain, config.Family)
	}
	weights, err := safetensors.Open(plain)
	if err != nil {
		return nil, fmt.Errorf("attach: %w", err)
	}
	if weights, err = weights.Rename(checkpoint.TensorName); err != nil {
		return nil, fmt.Errorf("attach: %w", err)
	}
	for _, name := range weights.Names() {
		if !ofTrunk(name) {
			return nil, fmt.Errorf("attach: %s: %w: it has a tensor %s", plain, ErrNotPlain, name)
		}
	}
	return weights, nil
}

// ofTrunk reports whether a tensor is one of Qwen2.5-VL's own.
func ofTrunk(name string) bool {
	return name == headName || strings.HasPrefix(name, "model.") || strings.HasPrefix(name, "visual.")
}

// headName is the output layer of models whose embedding is not tied to it.
const headName = "lm_head.weight"

// sources are the tensors to be written: the trunk's, sorted, then the heads'.
func sources(ctx context.Context, dir string, weights *safetensors.Checkpoint, ids [2]int, o Options) ([]safetensors.Source, error) {
	config, err := imagedoctor.LoadConfig(dir)
	if err != nil {
		return nil, fmt.Errorf("attach: %w", err)
	}
	wanted, err := imagedoctor.Inventory(config, o.Heads)
	if err != nil {
		return nil, fmt.Errorf("attach: %w", err)
	}
	var heads []safetensors.Source
	for i, t := range wanted {
		if !ofTrunk(t.Name) {
			heads = append(heads, safetensors.Source{Name: t.Name, DType: t.DType, Shape: t.Shape,
				Fill: under(ctx, random(t, rand.NewPCG(o.Seed, uint64(i))))})
			continue
		}
		found, ok := weights.Tensor(t.Name)
		if !ok {
			return nil, fmt.Errorf("attach: %w: it has no tensor %s", ErrNotPlain, t.Name)
		}
		if !grows(t.Name) && !slices.Equal(found.Shape, t.Shape) {
			return nil, fmt.Errorf("attach: %w: %s is %v, its configuration says %v", ErrNotPlain, t.Name, found.Shape, t.Shape)
		}
	}
	var all []safetensors.Source
	for _, name := range weights.Names() {
		t, _ := weights.Tensor(name)
		s := safetensors.Source{Name: name, DType: t.DType, Shape: t.Shape, Fill: under(ctx, copied(t))}
		if grows(name) {
			rows, err := newGrown(t, ids)
			if err != nil {
				return nil, err
			}
			s.Shape, s.Fill = []int64{int64(rows.count), t.Shape[1]}, under(ctx, rows.fill)
		}
		all = append(all, s)
	}
	return append(all, heads...), nil
}

// under is fill until ctx ends.
func under(ctx context.Context, fill func(io.Writer) error) func(io.Writer) error {
	return func(w io.Writer) error { return fill(untilDone{ctx, w}) }
}

type untilDone struct {
	ctx context.Context
	w   io.Writer
}

func (u untilDone) Write(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.w.Write(p)
}

// copied writes a tensor's bytes as they are.
func copied(t safetensors.Tensor) func(io.Writer) error {
	return func(w io.Writer) error {
		f, err := os.Open(t.Path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.CopyN(w, io.NewSectionReader(f, t.Offset, t.Length), t.Length)
		return err
	}
}
