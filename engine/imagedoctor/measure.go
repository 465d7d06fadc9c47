package imagedoctor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	goruntime "runtime"
	"strings"
	"time"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/pixels"
	"github.com/denseflow/densereward/engine/safetensors"
	"github.com/denseflow/densereward/engine/tokenizer"
	"github.com/denseflow/densereward/reward"
	"golang.org/x/sync/errgroup"
)

// MeasureOptions say what Measure measures. The zero value of each number is
// the default in brackets.
type MeasureOptions struct {
	Provider     ort.Provider
	Batch        int  // pictures in a batch [32]
	PromptTokens int  // tokens of each prompt, the picture's included [671]
	NewTokens    int  // most tokens of each answer [60]
	OneByOne     bool // decode a token a step, without the draft
	Rounds       int  // batches that are timed [4]
	InFlight     int  // batches at once on the device [1]
}

// Measurement is what the engine did, in seconds unless the name says otherwise.
// Stages are seconds a batch; those of the host are of one core.
type Measurement struct {
	Device       string  `json:"device"`
	Batch        int     `json:"batch"`
	InFlight     int     `json:"in_flight"`
	PromptTokens int     `json:"prompt_tokens"`
	NewTokens    int     `json:"new_tokens"`
	Speculation  bool    `json:"speculation"`
	ImagesPerSec float64 `json:"images_per_second"`
	TokensPerSec float64 `json:"tokens_per_second"`
	LoadSeconds  float64 `json:"load_seconds"`
	Stages       []Stage `json:"stages"`
	FloorSeconds float64 `json:"floor_seconds_a_batch"`
}

// Stage is the time that one part of the work takes for a batch by itself.
type Stage struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
	Where   string  `json:"where"` // "host" or "device"
}

// The peaks that the floor is computed with: what an H100 was measured to do.
const (
	peakFlops = 790e12 // bfloat16 matrix products, a second
	peakBytes = 3.0e12 // of memory, a second
)

// measuring is one Measure at work.
type measuring struct {
	o         MeasureOptions
	runtime   *ort.Runtime
	config    Config
	source    *safetensors.Checkpoint
	tokenizer *tokenizer.Tokenizer
	rng       *rand.Rand
	resizer   pixels.Resizer
	form      graphOptions
	prefix    []int32
}

// Measure loads the checkpoint folder dir and times the engine on made-up
// prompts and pictures. Answers are forced to the published form with random
// scores, so that random weights do the work that trained ones do: every step
// runs in full, only its outcome is replaced.
func Measure(ctx context.Context, runtime *ort.Runtime, dir string, o MeasureOptions) (Measurement, error) {
	m, err := newMeasuring(runtime, dir, o)
	if err != nil {
		return Measurement{}, err
	}
	out := Measurement{
		Device: m.o.Provider.String(), Batch: m.o.Batch, InFlight: m.o.InFlight, PromptTokens: m.o.PromptTokens,
		Speculation: !m.o.OneByOne, NewTokens: m.o.NewTokens, FloorSeconds: m.floor(),
	}
	if out.Stages, err = m.hostStages(); err != nil {
		return out, err
	}
	for _, part := range []string{"vision", "heads"} {
		s, err := m.partStage(ctx, part)
		if err != nil {
			return out, fmt.Errorf("imagedoctor: measuring %s: %w", part, err)
		}
		out.Stages = append(out.Stages, s)
	}
	return out, m.whole(ctx, &out)
}

func newMeasuring(runtime *ort.Runtime, dir string, o MeasureOptions) (*measuring, error) {
	for _, d := range []struct {
		field    *int
		fallback int
	}{{&o.Batch, 32}, {&o.PromptTokens, 671}, {&o.NewTokens, 60}, {&o.Rounds, 4}, {&o.InFlight, 1}} {
		if *d.field == 0 {
			*d.field = d.fallback
		}
		if *d.field < 0 {
			return nil, errors.New("imagedoctor: measuring: numbers must be positive")
		}
	}
	config, err := LoadConfig(dir)
	if err != nil {
		return nil, err
	}
	source, err := safetensors.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("imagedoctor: %w", err)
	}
	t, err := readTokenizer(dir)
	if err != nil {
		return nil, err
	}
	e := &Evaluator{config: config, options: Options{Provider: o.Provider, RepetitionPenalty: 1}, imageStart: len(t.Encode(promptHead))}
	if !o.OneByOne {
		e.draft = newDraft(t, (&language{w: newWeights(nil, source), c: config}).vocabulary())
	}
	m := &measuring{
		o: o, runtime: runtime, config: config, source: source, tokenizer: t,
		rng: rand.New(rand.NewPCG(1, 2)), form: e.form(), prefix: t.Encode(answerPrefix),
	}
	m.form.forced = true
	if least := m.form.imageStart + config.imageTokens() + 1; o.PromptTokens < least {
		return nil, fmt.Errorf("imagedoctor: measuring: %d prompt tokens, the least is %d", o.PromptTokens, least)
	}
	return m, nil
}

// hostStages times what the host does for one batch, on one core.
func (m *measuring) hostStages() ([]Stage, error) {
	const side = squareSide
	img := &pixels.RGB{Width: side, Height: side, Pix: make([]uint8, 3*side*side)}
	for i := range img.Pix {
		img.Pix[i] = uint8(i/97 + i%61)
	}
	encoded, err := pixels.EncodePNG(img)
	if err != nil {
		return nil, err
	}
	batch := time.Duration(m.o.Batch)
	began := time.Now()
	if _, err := pixels.Decode(encoded, pixels.Limits{}); err != nil {
		return nil, err
	}
	decode := time.Since(began) * batch
	e := &Evaluator{config: m.config}
	e.picture((*reward.Image)(img)) // makes the tables
	began = time.Now()
	picture := e.picture((*reward.Image)(img))
	resize := time.Since(began) * batch
	began = time.Now()
	all := make([]uint8, 0, len(picture)*m.o.Batch)
	for range m.o.Batch {
		all = append(all, picture...)
	}
	join := time.Since(began)
	return []Stage{
		{"decode PNG", decode.Seconds(), "host"}, {"resize", resize.Seconds(), "host"}, {"join batch", join.Seconds(), "host"},
	}, nil
}

// made is a batch of made-up samples with newTokens tokens of an answer.
func (m *measuring) made(newTokens int) (batch, error) {
	side := int64(m.config.ImageSide())
	b := batch{maxTokens: newTokens, penalty: 1}
	pictures := make([]uint8, int64(m.o.Batch)*side*side*3)
	for i := range pictures {
		pictures[i] = uint8(m.rng.Uint32())
	}
	b.pictures = ort.Uint8s([]int64{int64(m.o.Batch), side, side, 3}, pictures)
	if m.form.draft != nil {
		b.state = m.form.draft.start(m.prefix)
	}
	var forced []int64
	length := 0
	for range m.o.Batch {
		p, err := m.config.layOut(m.promptIDs(), m.form.imageStart)
		if err != nil {
			return b, err
		}
		b.prompts = append(b.prompts, p)
		answer := m.answer()
		length = len(answer)
		for _, id := range answer {
			forced = append(forced, int64(id))
		}
	}
	b.forced = ort.Int64s([]int64{int64(m.o.Batch), int64(length)}, forced)
	return b, nil
}

func (m *measuring) promptIDs() []int32 {
	ids := make([]int32, m.o.PromptTokens)
	from, to := m.form.imageStart, m.form.imageStart+m.config.imageTokens()
	for i := range ids {
		ids[i] = int32(m.rng.IntN(256))
		if i >= from && i < to {
			ids[i] = m.config.ImageTokenID
		}
	}
	return ids
}

// answer is the published form with random scores, cut or filled up to NewTokens.
func (m *measuring) answer() []int32 {
	text := answerForm
	for strings.Contains(text, number) {
		// No score is the mark that is being replaced.
		text = strings.Replace(text, number, fmt.Sprintf("0.%d%d", m.rng.IntN(10), 1+m.rng.IntN(9)), 1)
	}
	ids := m.tokenizer.Encode(text)
	for len(ids) < m.o.NewTokens {
		ids = append(ids, ids[0])
	}
	return ids[:m.o.NewTokens]
}

// floor is the least time a batch can take on an H100: its matrix products at
// the measured peak, and the weights once a decoding step from memory.
func (m *measuring) floor() float64 {
	var language, visionWeights, embedding float64
	for _, name := range m.source.Names() {
		t, _ := m.source.Tensor(name)
		count := float64(t.Length) / 2
		switch {
		case name == embeddingName:
			embedding = count
		case strings.HasPrefix(name, "model."):
			language += count
		case strings.HasPrefix(name, "visual."):
			visionWeights += count
		}
	}
	patches := float64(m.config.patchGrid() * m.config.patchGrid())
	flops := 2*language*float64(m.o.PromptTokens) + 2*visionWeights*patches
	steps := float64(m.o.NewTokens)
	return float64(m.o.Batch)*flops/peakFlops + steps*2*(language+embedding)/peakBytes
}

// whole times the evaluator's graph.
func (m *measuring) whole(ctx context.Context, out *Measurement) error {
	g, err := buildGraph(m.config, m.source, m.form)
	if err != nil {
		return err
	}
	began := time.Now()
	s, err := m.session(g)
	if err != nil {
		return err
	}
	defer s.Close() //nolint:errcheck // nothing is lost with a session that was read from
	out.LoadSeconds = time.Since(began).Seconds()

	one, err := m.made(1)
	if err != nil {
		return err
	}
	short, err := m.best(ctx, s, one.inputs(g.InputNames()))
	if err != nil {
		return err
	}
	full, err := m.made(m.o.NewTokens)
	if err != nil {
		return err
	}
	long, err := m.best(ctx, s, full.inputs(g.InputNames()))
	if err != nil {
		return err
	}
	var known float64
	for _, stage := range out.Stages {
		if stage.Where == "device" {
			known += stage.Seconds
		}
	}
	out.Stages = append(out.Stages,
		Stage{"prompt and copies", max(0, short-known), "device"},
		Stage{"decoding", max(0, long-short), "device"})
	return m.sustained(ctx, s, g, out)
}

// best is the least time of some runs, in seconds; the first is not counted.
func (m *measuring) best(ctx context.Context, s *ort.Session, inputs []ort.Tensor) (float64, error) {
	least := 0.0
	for i := range 3 {
		began := time.Now()
		if _, err := s.Run(ctx, inputs); err != nil {
			return 0, memoryError(err)
		}
		if took := time.Since(began).Seconds(); i == 1 || i > 1 && took < least {
			least = took
		}
	}
	return least, nil
}

// sustained runs batches one behind the other, InFlight at a time, while the
// host prepares the next ones on all cores, as the server does.
func (m *measuring) sustained(ctx context.Context, s *ort.Session, g *onnx.Graph, out *Measurement) error {
	full, err := m.made(m.o.NewTokens)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	ready := make(chan batch, m.o.InFlight)
	rounds := m.o.Rounds * m.o.InFlight
	group.Go(func() error {
		defer close(ready)
		for range rounds {
			b := full
			b.pictures = ort.Uint8s(full.pictures.Shape, m.pictures(len(full.pictures.Uint8s())))
			select {
			case ready <- b:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	began := time.Now()
	for range m.o.InFlight {
		group.Go(func() error {
			for b := range ready {
				if _, err := s.Run(ctx, b.inputs(g.InputNames())); err != nil {
					return memoryError(err)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	out.ImagesPerSec = float64(m.o.Batch*rounds) / time.Since(began).Seconds()
	out.TokensPerSec = out.ImagesPerSec * float64(m.o.NewTokens)
	return nil
}

// pictures resizes a batch's pictures on all cores, into size bytes.
func (m *measuring) pictures(size int) []uint8 {
	img := reward.Image{Width: squareSide, Height: squareSide, Pix: make([]uint8, 3*squareSide*squareSide)}
	all := make([]uint8, size)
	e := &Evaluator{config: m.config}
	var group errgroup.Group
	group.SetLimit(goruntime.GOMAXPROCS(0))
	each := size / m.o.Batch
	for i := range m.o.Batch {
		group.Go(func() error {
			copy(all[i*each:(i+1)*each], e.picture(&img))
			return nil
		})
	}
	_ = group.Wait() // nothing fails
	return all
}

func (m *measuring) session(g *onnx.Graph) (*ort.Session, error) {
	model, err := g.Marshal()
	if err != nil {
		return nil, err
	}
	dir, err := weightsFolder(m.source)
	if err != nil {
		return nil, err
	}
	s, err := m.runtime.NewSession(model, g.InputNames(), g.OutputNames(), ort.SessionOptions{
		Provider: m.form.provider(m.o.Provider), InitializersDir: dir,
	})
	return s, memoryError(err)
}

// partStage times one part of the graph by itself.
func (m *measuring) partStage(ctx context.Context, part string) (Stage, error) {
	g := onnx.New(part)
	w := newWeights(g, m.source)
	batch := onnx.Sym("batch")
	grid := m.config.patchGrid()
	rows, hidden := int64(m.o.Batch), int64(m.config.HiddenSize)
	var inputs []ort.Tensor
	turns := 1
	switch part {
	case "vision":
		v := newVision(w, m.config.Vision, grid, m.form.dtype)
		side := int64(m.config.ImageSide())
		in := g.Input(inputPictures, onnx.Uint8, onnx.Shape{batch, onnx.N(side), onnx.N(side), onnx.N(3)})
		features := g.Cast(v.features(g, v.patchify(g, in, m.config.Preprocessor)), onnx.Float32)
		g.Output("mean", g.ReduceMean(g.ReduceMean(features, 2, false), 1, false))
		inputs = []ort.Tensor{ort.Uint8s([]int64{rows, side, side, 3}, make([]uint8, rows*side*side*3))}
	case "heads":
		units := int64(m.config.imageTokens())
		h := newHeatmap(w, m.config.HiddenSize, grid/m.config.Vision.SpatialMergeSize, m.form.heads)
		features := g.Input("features", onnx.Float32, onnx.Shape{batch, onnx.N(units), onnx.N(hidden)})
		states := g.Input("states", onnx.Float32, onnx.Shape{batch, onnx.N(kinds), onnx.N(hidden)})
		maps := h.maps(g, features, states)
		g.Output("mean", g.ReduceMean(g.ReduceMean(maps, 3, false), 2, false))
		each := min(rows, maxHeadPart)
		turns = int((rows + each - 1) / each)
		inputs = []ort.Tensor{
			ort.Float32s([]int64{each, units, hidden}, make([]float32, each*units*hidden)),
			ort.Float32s([]int64{each, kinds, hidden}, make([]float32, each*kinds*hidden)),
		}
	}
	if err := errors.Join(w.Err(), g.Err()); err != nil {
		return Stage{}, err
	}
	s, err := m.session(g)
	if err != nil {
		return Stage{}, err
	}
	defer s.Close() //nolint:errcheck // nothing is lost with a session that was read from
	took, err := m.best(ctx, s, inputs)
	return Stage{part, took * float64(turns), "device"}, err
}
