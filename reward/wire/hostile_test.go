package wire_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/wire"
)

// atServer are errors that only a server can find.
func atServer(e *reward.Error) bool {
	return errors.Is(e, reward.ErrUnknownEvaluator) || errors.Is(e, reward.ErrUnknownVAE)
}

func TestHostileBodiesAreRefusedWithTheirErrors(t *testing.T) {
	for _, h := range rewardtest.HostileBodies() {
		t.Run(h.Name, func(t *testing.T) {
			_, err := wire.DecodeRequest(h.Body, wire.DefaultLimits())
			if h.Sample || atServer(h.Want) || strings.HasPrefix(h.Name, "a grid of ten million") {
				if err != nil {
					t.Fatalf("refused by the decoder: %v", err)
				}
				return
			}
			if !errors.Is(err, h.Want) {
				t.Fatalf("got %v, want %v", err, h.Want.Code())
			}
		})
	}
}

func TestRefusingTakesNoMemoryThatWasOnlyClaimed(t *testing.T) {
	for _, h := range rewardtest.HostileBodies() {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := wire.DecodeRequest(h.Body, wire.DefaultLimits())
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > 64<<10 {
			t.Errorf("%s (%v): %d bytes allocated for a body of %d", h.Name, err, took, len(h.Body))
		}
	}
}

func TestErrorsNameTheField(t *testing.T) {
	for _, c := range []struct {
		body []byte
		want string
	}{
		{[]byte("\x81\xa4grid\x81\xa6height\xa1x"), "grid.height: want an integer, got a string"},
		{[]byte("\x81\xa7prompts\x92\xa1a\x01"), "prompts[1]: want a string, got an integer"},
		{[]byte("\x81\xa6images\x91\x81\xa2nd\x02"), "images[0].nd: want a boolean, got an integer"},
		{[]byte("\x81\xa6images\x91\x81\xa5shape\x91\xff"), "images[0].shape[0]: -1 is not in [0,2147483647]"},
		{[]byte("\x81\xa3cat\x01"), `body: unknown key "cat"`},
		{[]byte("\x81\xa7weights\x81\xa6scores\x81\xa3cat\xc3"), "weights.scores.cat: want a float or an integer, got a boolean"},
		{[]byte("\x01"), "body: want a map, got an integer"},
		{[]byte("\x81\xa7prompts\xdd\xff\xff\xff\xff"), "prompts: an array claims 4294967295 elements, 0 bytes are left"},
	} {
		_, err := wire.DecodeRequest(c.body, wire.DefaultLimits())
		var e *reward.Error
		if !errors.As(err, &e) || e.Message() != c.want {
			t.Errorf("%q: got %v, want %q", c.body, err, c.want)
		}
	}
}
