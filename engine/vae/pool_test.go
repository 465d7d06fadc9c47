package vae

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/vae/autoencoder"
	"github.com/denseflow/densereward/internal/memorylimit"
)

// meeting is a device whose runs wait for those of the others.
type meeting struct {
	device
	all *sync.WaitGroup
}

func (m *meeting) open(autoencoder.Part) (runner, error) { return &meetingSession{m}, nil }

type meetingSession struct{ *meeting }

func (s *meetingSession) Close() error { return nil }

func (s *meetingSession) Run(ctx context.Context, inputs []ort.Tensor) ([]ort.Tensor, error) {
	s.all.Done()
	s.all.Wait() // for ever, unless as many run as there are devices
	return (&deviceSession{&s.device}).Run(ctx, inputs)
}

func poolOn(decoders ...*Decoder) *Pool {
	p := &Pool{all: decoders}
	p.release()
	return p
}

func TestCallsOfAPoolRunOnAllItsDevices(t *testing.T) {
	const devices = 3
	var all sync.WaitGroup
	all.Add(devices)
	var decoders []*Decoder
	var each [devices]meeting
	for i := range each {
		each[i] = meeting{device: device{room: 1 << 20}, all: &all}
		d := decoderOn(&each[i].device)
		d.open = each[i].open
		decoders = append(decoders, d)
	}
	p := poolOn(decoders...)
	var calls sync.WaitGroup
	for range devices {
		calls.Go(func() {
			if images, _, err := p.Decode(context.Background(), zeros(2, 16, 16), 0, 0); err != nil || len(images) != 2 {
				t.Errorf("%d images, %v", len(images), err)
			}
		})
	}
	calls.Wait()
	for i := range each {
		if each[i].runs != 1 {
			t.Errorf("device %d ran %d times", i, each[i].runs)
		}
	}
}

func TestAPoolWarmsAndClosesAllItsDecoders(t *testing.T) {
	devices := []*device{{room: 1 << 20}, {room: 1 << 20}}
	p := poolOn(decoderOn(devices[0]), decoderOn(devices[1]))
	if err := p.Warm(context.Background()); err != nil {
		t.Fatal(err)
	}
	for i, d := range devices {
		if d.runs != 1 || d.opened != 1 {
			t.Errorf("decoder %d: %d runs, %d sessions", i, d.runs, d.opened)
		}
	}
	if err := p.Close(); err != nil || devices[0].opened+devices[1].opened != 0 {
		t.Errorf("%d and %d sessions left open, %v", devices[0].opened, devices[1].opened, err)
	}
	if _, _, err := p.Decode(context.Background(), zeros(1, 8, 8), 0, 0); !errors.Is(err, ort.ErrClosed) {
		t.Errorf("a closed pool: %v", err)
	}
}

func TestAPoolDecodesTogetherWhatEachOfItsDevicesHasRoomFor(t *testing.T) {
	small := decoderOn(&device{})
	small.runPixels = memorylimit.New(4 * 512 * 512)
	p := poolOn(decoderOn(&device{}), small, decoderOn(&device{}))
	if of, err := p.Layout([]int{16, 4, 64, 64}, 0, 0); err != nil || of.Together != 4 || of.ImageWidth != 512 {
		t.Errorf("%+v, %v: want 4 images of 512x512 together", of, err)
	}
	if _, err := p.Layout([]int{16, 5, 64, 64}, 0, 0); err == nil {
		t.Error("latents of five channels have a layout")
	}
}

func TestACallWaitsForAFreeDeviceNoLongerThanItsContext(t *testing.T) {
	p := poolOn(decoderOn(&device{room: 1 << 20}))
	busy := <-p.free
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := p.Decode(ctx, zeros(1, 8, 8), 0, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	p.free <- busy
	if _, _, err := p.Decode(context.Background(), zeros(1, 8, 8), 0, 0); err != nil {
		t.Errorf("a device that is free again: %v", err)
	}
}

func TestAPoolThatCannotBeLoadedIsAnError(t *testing.T) {
	if _, err := LoadPool(context.Background(), t.TempDir(), Options{}, ort.Provider{}); err == nil {
		t.Error("an empty folder is a decoder")
	}
}
