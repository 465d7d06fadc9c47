package bench

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/engine/image/codec"
	"github.com/denseflow/densereward/engine/imagedoctor"
	"github.com/denseflow/densereward/engine/initializers"
	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/qwenvl"
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/reward"
)

// Stage is the time that one part of the work takes for a batch by itself: of
// one core on the host, of the whole device there. Many cores share the host's,
// which overlaps the device's.
type Stage struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
	Where   Place   `json:"where"`
}

// Place is where a stage runs.
type Place string

// The places.
const (
	OnHost   Place = "host"
	OnDevice Place = "device"
)

// hostStages times what the host does for one batch, on one core.
func (m *measuring) hostStages() ([]Stage, error) {
	encoded, err := m.noisy()
	if err != nil {
		return nil, err
	}
	img, err := image.Decode(encoded, image.Limits{})
	if err != nil {
		return nil, err
	}
	resized, err := m.w.Resized(img) // also makes the resizer's tables
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if _, err := image.Decode(encoded, image.Limits{}); err != nil {
		return nil, err
	}
	decode := time.Since(began).Seconds()
	began = time.Now()
	if _, err := m.w.Resized(img); err != nil {
		return nil, err
	}
	resize := time.Since(began).Seconds()

	l, err := m.synthetic()
	if err != nil {
		return nil, err
	}
	for i := range l.prompts {
		l.prompts[i].Images = []*reward.Image{resized}
	}
	began = time.Now()
	m.inputs(l, m.o.NewTokens)
	join := time.Since(began).Seconds()
	rows := float64(m.o.Batch)
	return []Stage{
		{"decode", rows * decode, OnHost}, {"resize", rows * resize, OnHost}, {"join", join, OnHost},
	}, nil
}

// partStages times the parts of the graph that can run by themselves, on the
// first device: the copies to and from it, the cutting of patches, which the
// graph does, the vision tower and the heads.
func (m *measuring) partStages(ctx context.Context) ([]Stage, error) {
	var seconds [5]float64
	for i, make := range []func(*parts) (outputs []onnx.Value, inputs map[string]ort.Tensor){
		(*parts).arrival, (*parts).copies, (*parts).patches, (*parts).vision, (*parts).heads,
	} {
		var err error
		if seconds[i], err = m.timePart(ctx, make); err != nil {
			return nil, err
		}
	}
	arrival, copies, patches, vision := seconds[0], seconds[1], seconds[2], seconds[3]
	each := min(m.o.Batch, imagedoctor.HeadPart)
	turns := float64((m.o.Batch + each - 1) / each)
	return []Stage{
		{"copy", copies, OnDevice},
		{"patches", max(0, patches-arrival), OnDevice},
		{"vision", max(0, vision-patches), OnDevice},
		{"heads", turns * seconds[4], OnDevice},
	}, nil
}

// timePart is the seconds of a graph of its own.
func (m *measuring) timePart(ctx context.Context, make func(*parts) ([]onnx.Value, map[string]ort.Tensor)) (float64, error) {
	g := onnx.New("part")
	p := &parts{measuring: m, c: m.w.Config(), g: g, set: initializers.New(g, m.w.Checkpoint().Weights, "imagedoctor"), batch: onnx.Sym("batch")}
	outputs, inputs := make(p)
	for i, v := range outputs {
		g.Output([]string{"first", "second"}[i], v)
	}
	if err := errors.Join(p.set.Err(), g.Err()); err != nil {
		return 0, err
	}
	s, err := m.session(g, m.o.Providers[0])
	if err != nil {
		return 0, err
	}
	defer closeAll([]*qwenvl.Session{s})
	return m.best(ctx, s, inputs)
}

// parts builds parts of the evaluator's graph. Results are reduced, so that
// nothing but copies has them copied.
type parts struct {
	*measuring
	c     imagedoctor.Config
	g     *onnx.Graph
	set   *initializers.Set
	batch onnx.Dim
}

// images are random ones for a batch, as the vision tower's inputs.
func (p *parts) images() map[string]ort.Tensor {
	side := p.c.ImageSide()
	images := make([]*reward.Image, p.o.Batch)
	for i := range images {
		images[i] = codec.NewImage(side, side)
		for j := range images[i].Pix {
			images[i].Pix[j] = uint8(p.rng.Uint32())
		}
	}
	return qwenvl.VisionInputs(p.c.Config, images, nil)
}

// arrival copies images to the device and looks at one value of each patch.
func (p *parts) arrival() ([]onnx.Value, map[string]ort.Tensor) {
	tensors := p.images()
	in := p.g.Input(qwenvl.InputPixels, onnx.Uint8, onnx.Shape{onnx.Sym("patches"), onnx.N(tensors[qwenvl.InputPixels].Shape[1])})
	return []onnx.Value{p.g.Cast(p.g.Slice(in, 1, 0, 1), onnx.Int32)}, tensors
}

// copies copies images to the device and maps back.
func (p *parts) copies() ([]onnx.Value, map[string]ort.Tensor) {
	corners, tensors := p.arrival()
	side := int64(p.c.UnitGrid() * imagedoctor.MapScale)
	first := p.g.SliceTo(corners[0], 0, onnx.Const(p.g, []int64{0}, 1), onnx.Const(p.g, []int64{1}, 1), onnx.N(1))
	value := p.g.Unsqueeze(p.g.Cast(first, onnx.Float32), 2, 3)
	sizes := []int64{int64(p.o.Batch), imagedoctor.Maps, side, side}
	blank := p.g.Expand(value, onnx.Const(p.g, sizes, 4), onnx.Dims(sizes...)...)
	return []onnx.Value{corners[0], blank}, tensors
}

// visionOptions are those of the evaluator's vision tower.
func (p *parts) visionOptions() qwenvl.Options {
	side := p.c.UnitGrid()
	return qwenvl.Options{DType: p.dtype, Grid: checkpoint.Grid{Rows: side, Cols: side}, Operators: p.w.Operators()}
}

// patches copies images and normalises their patches.
func (p *parts) patches() ([]onnx.Value, map[string]ort.Tensor) {
	v := qwenvl.NewVision(p.g, p.set, p.c.Config, p.visionOptions())
	return []onnx.Value{p.mean(v.Normalised(p.g))}, p.images()
}

// vision does the same and runs the vision tower.
func (p *parts) vision() ([]onnx.Value, map[string]ort.Tensor) {
	v := qwenvl.NewVision(p.g, p.set, p.c.Config, p.visionOptions())
	features, _ := v.Features(p.g)
	return []onnx.Value{p.mean(features)}, p.images()
}

// heads runs the heatmap heads over as many images as they take at once.
// Rows of the embedding stand for features, so that nothing large is copied.
func (p *parts) heads() ([]onnx.Value, map[string]ort.Tensor) {
	c := p.c
	grid := checkpoint.Grid{Rows: c.UnitGrid(), Cols: c.UnitGrid()}
	units, rows := int64(grid.Units()), int64(min(p.o.Batch, imagedoctor.HeadPart))
	table := p.set.Tensor(checkpoint.EmbeddingName, p.dtype, int64(c.Vocabulary(p.set.Lookup)), int64(c.HiddenSize))
	tensors := map[string]ort.Tensor{}
	var looked [2]onnx.Value
	for i, n := range []int64{units, imagedoctor.Maps} {
		ids := make([]int64, rows*n)
		for j := range ids {
			ids[j] = p.rng.Int64N(256)
		}
		name := []string{"features", "states"}[i]
		in := p.g.Input(name, onnx.Int64, onnx.Shape{p.batch, onnx.N(n)})
		looked[i] = p.g.Gather(table, in, 0)
		tensors[name] = ort.Int64s([]int64{rows, n}, ids)
	}
	out, more := p.w.Heads(p.g, p.set, grid, looked[0], looked[1])
	maps.Copy(tensors, more)
	return []onnx.Value{p.g.ReduceMean(p.g.ReduceMean(out, 3, false), 2, false)}, tensors
}

// mean reduces x (n,m) to (n).
func (p *parts) mean(x onnx.Value) onnx.Value {
	return p.g.ReduceMean(p.g.Cast(x, onnx.Float32), 1, false)
}

// wholeStages times the evaluator's graph with answers of one token and of all,
// which tells the prompt and the decoding apart, and puts them between the parts.
func (m *measuring) wholeStages(ctx context.Context, s *qwenvl.Session, parts []Stage) ([]Stage, error) {
	l, err := m.synthetic()
	if err != nil {
		return nil, err
	}
	short, err := m.best(ctx, s, m.inputs(l, 1))
	if err != nil {
		return nil, err
	}
	long, err := m.best(ctx, s, m.inputs(l, m.o.NewTokens))
	if err != nil {
		return nil, err
	}
	prompt := short
	for _, part := range parts {
		prompt -= part.Seconds
	}
	last := len(parts) - 1 // the heads
	return append(parts[:last:last],
		Stage{"prompt", max(0, prompt), OnDevice},
		Stage{"decoding", max(0, long-short), OnDevice},
		parts[last]), nil
}
