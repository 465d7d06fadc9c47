package vae

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/vae/autoencoder"
	"github.com/denseflow/densereward/internal/memorylimit"
	"github.com/denseflow/densereward/reward"
)

// device is a decoder's session on a device with room for so many pixels. Its
// images are grey; it knows neither tensors nor weights.
type device struct {
	room, opened, runs, failures int

	refuses func() bool // whether there is no room for a session; nil is never
}

func (d *device) open(autoencoder.Part) (runner, error) {
	if d.refuses != nil && d.refuses() {
		return nil, fmt.Errorf("%w (weights)", ort.ErrOutOfMemory)
	}
	d.opened++
	return &deviceSession{d}, nil
}

type deviceSession struct{ *device }

func (s *deviceSession) Close() error {
	s.opened--
	return nil
}

func (s *deviceSession) Run(_ context.Context, inputs []ort.Tensor) ([]ort.Tensor, error) {
	shape := inputs[0].Shape
	pixels := int(shape[0] * shape[2] * shape[3] * 64)
	if pixels > s.room {
		s.failures++
		return nil, fmt.Errorf("%w (%d pixels)", ort.ErrOutOfMemory, pixels)
	}
	s.runs++
	image := make([]uint8, pixels*3)
	for i := range image {
		image[i] = 128
	}
	return []ort.Tensor{
		ort.Uint8s([]int64{shape[0], shape[2] * 8, shape[3] * 8, 3}, image),
		ort.Float32s([]int64{shape[0]}, make([]float32, shape[0])),
	}, nil
}

// decoderOn is a tiny decoder on the device.
func decoderOn(d *device) *Decoder {
	config, err := autoencoder.ParseConfig([]byte(`{"_class_name": "AutoencoderTiny"}`))
	if err != nil {
		panic(err)
	}
	decoder := &Decoder{
		name: "fake", config: config,
		maxPixels: defaultMaxPixels, maxSide: defaultMaxSide, turn: make(chan struct{}, 1),
		runPixels: memorylimit.New(defaultRunPixelsCUDA), sessions: map[autoencoder.Part]runner{}, open: d.open,
	}
	decoder.turn <- struct{}{}
	return decoder
}

func zeros(n, height, width int) *reward.Tensor {
	return reward.Float32Tensor(make([]float32, n*4*height*width), n, 4, height, width)
}

func TestADecoderThatRunsOutOfMemoryTakesLessAtOnce(t *testing.T) {
	device := &device{room: 5 * 512 * 512}
	d := decoderOn(device)
	images, errs, err := d.Decode(context.Background(), zeros(16, 64, 64), 0, 0)
	if err != nil || errs != nil || len(images) != 16 || images[15].Pix[0] != 128 {
		t.Fatalf("%d images, %v, %v", len(images), errs, err)
	}
	if device.runs != 4 { // 16 at once, 8, then 4 times 4
		t.Errorf("%d runs, want 4", device.runs)
	}
	if _, _, err := d.Decode(context.Background(), zeros(16, 64, 64), 0, 0); err != nil || device.runs != 8 {
		t.Errorf("the next call: %d runs, %v", device.runs-4, err)
	}
	device.room = 300 * 300
	images, _, err = d.Decode(context.Background(), zeros(1, 64, 64), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range images[0].Pix {
		if p != 128 {
			t.Fatalf("byte %d of a grey image in tiles is %d", i, p)
		}
	}
	if err := d.Close(); err != nil || device.opened != 0 {
		t.Errorf("%d sessions left open, %v", device.opened, err)
	}
	if _, _, err := d.Decode(context.Background(), zeros(1, 8, 8), 0, 0); !errors.Is(err, ort.ErrClosed) {
		t.Errorf("a closed decoder: %v", err)
	}
}

func TestADeviceWithNoRoomAtAllIsAnErrorAndLowersNothing(t *testing.T) {
	device := &device{room: 100}
	d := decoderOn(device)
	if _, _, err := d.Decode(context.Background(), zeros(16, 64, 64), 0, 0); !errors.Is(err, ort.ErrOutOfMemory) {
		t.Errorf("error %v", err)
	}
	if device.failures != 7 { // 16 images at once, 8, 4, 2, 1, and tiles of half and a quarter
		t.Errorf("%d attempts, want 7", device.failures)
	}
	device.room = defaultRunPixelsCUDA
	if _, _, err := d.Decode(context.Background(), zeros(16, 64, 64), 0, 0); err != nil || device.runs != 1 {
		t.Errorf("with room again: %d runs, want 1, %v", device.runs, err)
	}
}

func TestASessionThatHasNoRoomIsAnErrorAtOnceAndLowersNothing(t *testing.T) {
	for name, test := range map[string]struct{ room, sessions, failures int }{
		"the first": {room: defaultRunPixelsCUDA},
		"one loaded anew after a run that failed": {room: 5 * 512 * 512, sessions: 1, failures: 1},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			device := &device{room: test.room, refuses: func() bool { asked++; return asked > test.sessions }}
			d := decoderOn(device)
			if _, _, err := d.Decode(context.Background(), zeros(16, 64, 64), 0, 0); !errors.Is(err, ort.ErrOutOfMemory) {
				t.Errorf("error %v", err)
			}
			if asked != test.sessions+1 || device.failures != test.failures || device.opened != 0 {
				t.Errorf("%d sessions asked for, %d failed runs, %d sessions left open", asked, device.failures, device.opened)
			}
			device.refuses, device.room = nil, defaultRunPixelsCUDA
			if _, _, err := d.Decode(context.Background(), zeros(16, 64, 64), 0, 0); err != nil || device.runs != 1 {
				t.Errorf("with room again: %d runs, want 1, %v", device.runs, err)
			}
		})
	}
}

func TestAnImageWhoseGlobalPartHasNoRoomIsAnErrorAtOnce(t *testing.T) {
	device := &device{room: 300 * 300}
	d := decoderOn(device)
	var err error
	d.config, err = autoencoder.ParseConfig([]byte(`{"_class_name": "AutoencoderKL", "block_out_channels": [32, 32, 32, 32]}`))
	if err != nil {
		t.Fatal(err)
	}
	// 512x512, then tiles of half of that, whose global part is as large.
	if _, _, err := d.Decode(context.Background(), zeros(1, 64, 64), 0, 0); !errors.Is(err, ort.ErrOutOfMemory) || device.failures != 2 {
		t.Errorf("%d attempts, want 2: %v", device.failures, err)
	}
}

func TestASessionTakesTheMemoryOfTheOthers(t *testing.T) {
	device := &device{}
	device.refuses = func() bool { return device.opened > 0 }
	d := decoderOn(device)
	for _, p := range []autoencoder.Part{autoencoder.Whole, autoencoder.Global, autoencoder.Local} {
		if _, err := d.session(p); err != nil || device.opened != 1 || d.sessions[p] == nil {
			t.Errorf("part %v: %d sessions, %v", p, device.opened, err)
		}
	}
}
