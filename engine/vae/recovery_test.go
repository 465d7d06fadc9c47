package vae

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/denseflow/densereward/internal/memorylimit"
)

// decodeSixteen decodes sixteen images of 512x512, as many as a limit of
// defaultRunPixelsCUDA takes at once. It wants so many runs that go well and so
// many that fail, and images that are decoded together from then on.
func decodeSixteen(t *testing.T, d *Decoder, on *device, runs, failures, together int) {
	t.Helper()
	on.runs, on.failures = 0, 0
	if _, _, err := d.Decode(context.Background(), zeros(16, 64, 64), 0, 0); err != nil {
		t.Fatal(err)
	}
	of, err := d.Layout([]int{16, 4, 64, 64}, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if on.runs != runs || on.failures != failures || of.Together != together {
		t.Errorf("%d runs, %d failed, %d images together: want %d, %d and %d", on.runs, on.failures, of.Together, runs, failures, together)
	}
}

const (
	roomForAll  = defaultRunPixelsCUDA
	roomForFive = 5 * 512 * 512
)

func TestADeviceThatWasFullForOneCallIsSoonBackToOneRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		on := &device{room: roomForFive}
		d := decoderOn(on)
		decodeSixteen(t, d, on, 4, 2, 4)
		on.room = roomForAll
		time.Sleep(memorylimit.Recovery - time.Nanosecond)
		decodeSixteen(t, d, on, 4, 0, 4)
		time.Sleep(time.Nanosecond)
		decodeSixteen(t, d, on, 2, 0, 8)
		time.Sleep(memorylimit.Recovery)
		decodeSixteen(t, d, on, 1, 0, 16)
		time.Sleep(memorylimit.Recovery)
		decodeSixteen(t, d, on, 1, 0, 16)
	})
}

func TestEachTryInVainIsFollowedByTwiceTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		on := &device{room: roomForFive}
		d := decoderOn(on)
		decodeSixteen(t, d, on, 4, 2, 4)
		for _, minutes := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 64} {
			time.Sleep(minutes*time.Minute - time.Nanosecond)
			decodeSixteen(t, d, on, 4, 0, 4)
			time.Sleep(time.Nanosecond)
			decodeSixteen(t, d, on, 4, 1, 4)
		}

		// A try that goes well for as long as it had to ends this.
		on.room = roomForAll
		time.Sleep(memorylimit.LongestRecovery)
		decodeSixteen(t, d, on, 2, 0, 8)
		time.Sleep(memorylimit.LongestRecovery)
		decodeSixteen(t, d, on, 1, 0, 16)
		time.Sleep(memorylimit.Recovery)
		decodeSixteen(t, d, on, 1, 0, 16)
		on.room = roomForFive
		decodeSixteen(t, d, on, 4, 2, 4)
		time.Sleep(memorylimit.Recovery)
		decodeSixteen(t, d, on, 4, 1, 4)
	})
}
