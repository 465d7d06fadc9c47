package wire_test

import (
	"bytes"
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/wire"
)

// FuzzDecodeRequest holds the decoder to this: it neither panics nor returns
// what is not a request, and what it returns encodes and decodes to itself.
func FuzzDecodeRequest(f *testing.F) {
	for _, q := range requests() {
		m, err := q.Encode(wire.DefaultLimits())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(m.Bytes())
	}
	for _, h := range rewardtest.HostileBodies() {
		if len(h.Body) < 64<<10 {
			f.Add(h.Body)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		limits := wire.DefaultLimits()
		q, err := wire.DecodeRequest(body, limits)
		if err != nil {
			if reward.AsError(err, reward.ErrInternal).Code() == reward.ErrInternal.Code() {
				t.Fatalf("an error without a code: %v", err)
			}
			return
		}
		m, err := q.Encode(limits)
		if err != nil {
			t.Fatalf("a request that was decoded does not encode: %v", err)
		}
		again, err := wire.DecodeRequest(m.Bytes(), limits)
		if err != nil {
			t.Fatalf("a request that was encoded does not decode: %v", err)
		}
		n, err := again.Encode(limits)
		if err != nil || !bytes.Equal(m.Bytes(), n.Bytes()) {
			t.Fatalf("the second encoding differs from the first (%v)", err)
		}
	})
}

func FuzzDecodeResponse(f *testing.F) {
	f.Add(sampleResponse().Encode().Bytes())
	f.Add(wire.EncodeError(reward.ErrOverloaded))
	f.Fuzz(func(t *testing.T, body []byte) {
		_, _ = wire.DecodeError(body, 500)
		p, err := wire.DecodeResponse(body)
		if err != nil {
			return
		}
		if _, err := wire.DecodeResponse(p.Encode().Bytes()); err != nil {
			t.Fatalf("a response that was decoded does not survive: %v", err)
		}
	})
}

// FuzzDecodeRFTRequest holds the decoder to the same.
func FuzzDecodeRFTRequest(f *testing.F) {
	q := &wire.RFTRequest{
		Completions: []string{"a", "b"}, Scores: reward.Float64Tensor(make([]float64, 4), 1, 4), Groups: []string{"x", "y"},
		Misalignment: reward.Uint8Tensor([]uint8{1, 2}, 1, 1, 2), Artifact: reward.Float32Tensor([]float32{0, 1}, 2, 1, 1),
		PredictedArtifact: reward.Float32Tensor([]float32{0, 1}, 2, 1, 1),
	}
	m, err := q.Encode(wire.DefaultLimits())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m.Bytes())
	q.Scores, q.Solutions, q.Groups, q.PredictedArtifact = nil, []string{"c", "d"}, nil, nil
	if m, err = q.Encode(wire.DefaultLimits()); err != nil {
		f.Fatal(err)
	}
	f.Add(m.Bytes())
	f.Fuzz(func(t *testing.T, body []byte) {
		limits := wire.DefaultLimits()
		q, err := wire.DecodeRFTRequest(body, limits)
		if err != nil {
			return
		}
		m, err := q.Encode(limits)
		if err != nil {
			t.Fatalf("a request that was decoded does not encode: %v", err)
		}
		again, err := wire.DecodeRFTRequest(m.Bytes(), limits)
		if err != nil {
			t.Fatalf("a request that was encoded does not decode: %v", err)
		}
		n, err := again.Encode(limits)
		if err != nil || !bytes.Equal(m.Bytes(), n.Bytes()) {
			t.Fatalf("the second encoding differs from the first (%v)", err)
		}
	})
}
