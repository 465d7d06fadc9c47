package vae

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"time"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/vae/autoencoder"
	"github.com/denseflow/densereward/internal/floats"
	"github.com/denseflow/densereward/internal/memorylimit"

	"github.com/denseflow/densereward/reward"
)

// Precision is the type in which a decoder computes.
type Precision int

// Precisions. Float16 is for GPUs; decoders whose activations overflow in it
// compute in Float32 instead, see Decoder.Precision. CUDA's convolutions take no
// bfloat16.
const (
	Float32 Precision = iota
	Float16
)

// Options say how a decoder runs. Runtime is required.
type Options struct {
	Runtime  *ort.Runtime
	Provider ort.Provider
	Threads  int    // of a CPU; 0 is one per core
	Name     string // as requests name the decoder; empty is the folder's name

	Precision Precision
	// ChannelsFirst keeps a GPU from laying a cell's channels side by side, and
	// so to 0.6 of its speed. A CPU always has the channels first.
	ChannelsFirst bool

	// RunPixels bounds the image pixels that are decoded at once, and with
	// them the memory, which is about 4 KB a pixel at SD3's and FLUX's widths
	// in float32 and 2 KB in float16. Larger images are decoded in
	// overlapping tiles. 0 is 2^20 on a CPU and 2^22, sixteen images of
	// 512x512, on a GPU. When memory runs out the decoder halves it until there
	// is enough; after a minute it tries the double, and twice as long after
	// each try in vain, up to 64 minutes.
	RunPixels int
	// MaxPixels bounds one image, MaxSide its height and width each; 0 is 64
	// megapixels and 32768 pixels. They are applied to the size that the shape of
	// latents makes, before anything of it is allocated.
	MaxPixels, MaxSide int
}

// Defaults of Options.
const (
	defaultRunPixelsCPU  = 1 << 20
	defaultRunPixelsCUDA = 1 << 22
	defaultMaxPixels     = 64 << 20
	defaultMaxSide       = 1 << 15
)

// Decoder turns latents into images. It is safe for concurrent use; one call
// at a time is in the session, so that memory stays bounded.
type Decoder struct {
	name        string
	config      autoencoder.Config
	fingerprint string
	precision   Precision
	float32Only string // why, where float16 was asked for
	maxPixels   int
	maxSide     int
	turn        chan struct{} // holds a token while nobody runs

	runPixels *memorylimit.Limit

	// Whoever has the turn has these.
	open     func(autoencoder.Part) (runner, error)
	sessions map[autoencoder.Part]runner // those opened so far
	closed   bool
}

type runner interface {
	Run(ctx context.Context, inputs []ort.Tensor) ([]ort.Tensor, error)
	Close() error
}

var _ reward.LatentDecoder = (*Decoder)(nil)

// Load builds the decoder that lies at path, in float32, float16 or bfloat16: the
// folder of config.json and safetensors that diffusers saves, where variants such
// as .fp16 are found; the folder of a pipeline, which has it in vae/; or a single
// file with the tensor names of FLUX's and Stable Diffusion's authors, or with a
// config.json beside it. The weights are read where they lie when the session
// loads. A tensor that is missing or has another shape than the configuration
// demands, and statistics that are not finite, are errors that name it.
func Load(ctx context.Context, path string, o Options) (*Decoder, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m, err := autoencoder.Open(path)
	if err != nil {
		return nil, err
	}
	fingerprint, err := m.Fingerprint()
	if err != nil {
		return nil, err
	}
	float32Only := ""
	if o.Precision == Float16 {
		if float32Only = m.Config.Float32Only; float32Only != "" {
			o.Precision = Float32
		}
	}
	d := &Decoder{
		name: cmp.Or(o.Name, m.Name), config: m.Config, precision: o.Precision, float32Only: float32Only, fingerprint: fingerprint,
		maxPixels: cmp.Or(o.MaxPixels, defaultMaxPixels), maxSide: cmp.Or(o.MaxSide, defaultMaxSide),
		turn:      make(chan struct{}, 1),
		runPixels: memorylimit.New(o.runPixels()),
		sessions:  map[autoencoder.Part]runner{},
		open:      func(p autoencoder.Part) (runner, error) { return newSession(m, o, p, false) },
	}
	if _, err := d.session(autoencoder.Whole); err != nil {
		return nil, err
	}
	d.turn <- struct{}{}
	return d, nil
}

func (o Options) runPixels() int {
	switch {
	case o.RunPixels > 0:
		return o.RunPixels
	case o.Provider.Kind == ort.CUDA:
		return defaultRunPixelsCUDA
	}
	return defaultRunPixelsCPU
}

// newSession writes the graph and has the runtime load it.
func newSession(m *autoencoder.Model, o Options, p autoencoder.Part, probes bool) (*ort.Session, error) {
	form := autoencoder.Options{DType: onnx.Float32, Last: o.Provider.Kind == ort.CUDA && !o.ChannelsFirst, Part: p, Probes: probes}
	if o.Precision == Float16 {
		form.DType = onnx.Float16
	}
	graph, err := m.Graph(form)
	if err != nil {
		return nil, err
	}
	data, err := graph.Marshal()
	if err != nil {
		return nil, err
	}
	session, err := o.Runtime.NewSession(data, graph.InputNames(), graph.OutputNames(), ort.SessionOptions{
		Provider: o.Provider, Threads: o.Threads, InitializersDir: m.Folder(), Unchanged: m.Unchanged,
		// A plan of the memory would be one more block beside what the first run
		// left: half as much again, and a tenth of a GPU's speed.
		NoMemPattern: true,
	})
	if err != nil {
		return nil, fmt.Errorf("loading the decoder: %w", err)
	}
	return session, nil
}

func (d *Decoder) Describe() reward.DecoderDescription {
	return reward.DecoderDescription{
		Name: d.name, Fingerprint: d.fingerprint, Channels: d.config.LatentChannels,
		Packed: true, PixelScale: d.config.PixelScale(), GridScale: d.config.PixelScale() * d.config.GridSide,
	}
}

// Precision is the type in which the decoder computes, and why it is Float32 where
// Float16 was asked for; else the reason is empty.
func (d *Decoder) Precision() (p Precision, reason string) {
	return d.precision, d.float32Only
}

// Layout says what latents of this shape make: (N,C,h,w), or packed tokens
// (N,L,4C) in height rows of width, where 0 and 0 stand for a square.
func (d *Decoder) Layout(shape []int, height, width int) (reward.LatentLayout, error) {
	l, err := d.layoutOf(shape, height, width)
	if err != nil {
		return reward.LatentLayout{}, err
	}
	scale := d.config.PixelScale()
	of := reward.LatentLayout{
		GridHeight: l.height, GridWidth: l.width,
		ImageHeight: l.height * scale, ImageWidth: l.width * scale,
		Together: d.together(l, int(d.runPixels.Load())),
	}
	if l.side > 0 {
		of.GridHeight, of.GridWidth = l.height/l.side, l.width/l.side
	}
	return of, nil
}

// together is how many images are decoded at once with at most so many pixels.
func (d *Decoder) together(l layout, pixels int) int {
	scale := d.config.PixelScale()
	return max(1, pixels/(l.height*l.width*scale*scale))
}

// Decode turns latents (N,C,h,w), or packed tokens (N,L,4C) as Layout has them,
// into N images. They are the trainer's latents, scaled and shifted as the
// flow model sees them, in float32, float16 or bfloat16. Latents that are not
// finite cost their image alone: it is nil and its error is set.
func (d *Decoder) Decode(ctx context.Context, latents *reward.Tensor, height, width int) ([]*reward.Image, []*reward.Error, error) {
	if err := latents.Check(); err != nil {
		return nil, nil, err
	}
	switch latents.Type {
	case reward.Float16, reward.BFloat16, reward.Float32:
	default:
		return nil, nil, reward.ErrUnsupportedDType.With("latents: type %s: want float32, float16 or bfloat16", latents.Type)
	}
	l, err := d.layoutOf(latents.Shape, height, width)
	if err != nil {
		return nil, nil, err
	}
	return d.decode(ctx, latents, l)
}

// decode runs the images, as many at once as memory allows, and starts over
// with less where it does not.
func (d *Decoder) decode(ctx context.Context, latents *reward.Tensor, l layout) ([]*reward.Image, []*reward.Error, error) {
	select {
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	case <-d.turn:
		defer func() { d.turn <- struct{}{} }()
	}
	if d.closed {
		return nil, nil, fmt.Errorf("vae %s: %w", d.name, ort.ErrClosed)
	}
	pixels, lowered := d.runPixels.Raised(time.Now()), false
	for {
		images, errs, err := d.attempt(ctx, latents, l, pixels)
		if err == nil {
			if lowered {
				d.runPixels.Lower(pixels, time.Now())
			}
			return images, errs, nil
		}
		if pixels, lowered = d.fewer(pixels, l, err); !lowered {
			return nil, nil, fmt.Errorf("vae %s: %w", d.name, err)
		}
	}
}

// fewer is how many pixels to decode at once after an attempt with so many has
// failed: half, down to tiles of the smallest size, where a run took more memory
// than there was. It closes the sessions, which keep all memory that they have
// ever used.
func (d *Decoder) fewer(pixels int, l layout, err error) (int, bool) {
	var fixed fixedError
	if !errors.Is(err, ort.ErrOutOfMemory) || errors.As(err, &fixed) {
		return 0, false
	}
	scale, cell := d.config.PixelScale(), d.tileScale()
	least := minTile * minTile * cell * cell
	half := min(pixels, l.count*l.height*l.width*scale*scale) / 2
	if half < least || d.closeSessions() != nil {
		return 0, false
	}
	return half, true
}

// attempt decodes all images with at most so many pixels at once.
func (d *Decoder) attempt(ctx context.Context, latents *reward.Tensor, l layout, pixels int) ([]*reward.Image, []*reward.Error, error) {
	out := decoded{images: make([]*reward.Image, l.count)}
	together := min(d.together(l, pixels), max(1, l.count))
	buf := make([]float32, together*l.cells())
	var tokens []float32 // of one image
	if l.side > 0 {
		tokens = make([]float32, l.cells())
	}
	var at []int // the images in buf
	flush := func() error {
		if len(at) == 0 {
			return nil
		}
		images, err := d.run(ctx, buf[:len(at)*l.cells()], l, pixels)
		for k := range images {
			if out.images[at[k]] = images[k]; images[k] == nil {
				out.fail(at[k], d.notFinite())
			}
		}
		at = at[:0]
		return err
	}
	for i := range l.count {
		if err := l.elements(buf[len(at)*l.cells():(len(at)+1)*l.cells()], tokens, latents, i); err != nil {
			out.fail(i, err)
			continue
		}
		if at = append(at, i); len(at) == together {
			if err := flush(); err != nil {
				return nil, nil, err
			}
		}
	}
	if err := flush(); err != nil {
		return nil, nil, err
	}
	return out.images, out.errs, nil
}

// decoded is the images and errors of a call.
type decoded struct {
	images []*reward.Image
	errs   []*reward.Error // nil where there are none
}

func (d *decoded) fail(i int, err *reward.Error) {
	if d.errs == nil {
		d.errs = make([]*reward.Error, len(d.images))
	}
	d.errs[i] = err
}

// notFinite is the error of an image that holds NaN or infinity.
func (d *Decoder) notFinite() *reward.Error {
	if d.precision == Float16 {
		return reward.ErrNotFinite.With("latents: vae %s makes an image of NaN or infinity of them in float16; in float32 it may not", d.name)
	}
	return reward.ErrNotFinite.With("latents: vae %s makes an image of NaN or infinity of them", d.name)
}

// run decodes latents (n,C,h,w), whole or in tiles of at most so many pixels. The
// image of a sample that is not finite is nil.
func (d *Decoder) run(ctx context.Context, latents []float32, l layout, pixels int) ([]*reward.Image, error) {
	_, cells := d.config.Hidden()
	scale := d.tileScale()
	if t := tilingOf(l.height*cells, l.width*cells, pixels/(scale*scale)); t.several() {
		img, err := d.runTiles(ctx, latents, l, t)
		if err != nil {
			return nil, err
		}
		return []*reward.Image{img}, nil
	}
	n := len(latents) / l.cells()
	out, err := d.runWhole(ctx, latents, n, l.height, l.width)
	if err != nil {
		return nil, err
	}
	images := make([]*reward.Image, n)
	scale = d.config.PixelScale()
	pix, sums := out[0].Uint8s(), out[1].Float32s()
	size := len(pix) / n
	for i := range images {
		if floats.Finite(sums[i : i+1]) {
			images[i] = &reward.Image{Width: l.width * scale, Height: l.height * scale, Pix: pix[i*size : (i+1)*size : (i+1)*size]}
		}
	}
	return images, nil
}

// runWhole decodes latents (n,C,h,w) to images (n,s*h,s*w,3) and the sum of the
// values of each.
func (d *Decoder) runWhole(ctx context.Context, latents []float32, n, height, width int) ([]ort.Tensor, error) {
	session, err := d.session(autoencoder.Whole)
	if err != nil {
		return nil, err
	}
	shape := []int64{int64(n), int64(d.config.LatentChannels), int64(height), int64(width)}
	return session.Run(ctx, []ort.Tensor{ort.Float32s(shape, latents)})
}

// fixedError is that of what takes no less memory for smaller runs: a session's
// weights, and the part of a decoder that sees the whole image.
type fixedError struct{ error }

func (e fixedError) Unwrap() error { return e.error }

// session is the session of a part, opened where it is not open yet. Where there
// is no memory for it, it takes that of the others: a call has no more use for
// the ones that it opened before.
func (d *Decoder) session(p autoencoder.Part) (runner, error) {
	if s, ok := d.sessions[p]; ok {
		return s, nil
	}
	s, err := d.open(p)
	if errors.Is(err, ort.ErrOutOfMemory) && len(d.sessions) > 0 && d.closeSessions() == nil {
		s, err = d.open(p)
	}
	if err != nil {
		return nil, fixedError{err}
	}
	d.sessions[p] = s
	return s, nil
}

func (d *Decoder) closeSessions() error {
	var errs []error
	for p, s := range d.sessions {
		errs = append(errs, s.Close())
		delete(d.sessions, p)
	}
	return errors.Join(errs...)
}

// Close frees the decoder once the call at hand has ended. Decode fails from
// then on.
func (d *Decoder) Close() error {
	<-d.turn
	defer func() { d.turn <- struct{}{} }()
	d.closed = true
	return d.closeSessions()
}
