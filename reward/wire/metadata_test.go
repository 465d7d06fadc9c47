package wire_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/wire"
)

func withMetadata(metadata ...map[string]any) *wire.Request {
	q := &wire.Request{Metadata: metadata}
	for range metadata {
		q.Prompts = append(q.Prompts, "a cat")
		q.Images = append(q.Images, wire.Image{Encoded: rewardtest.PNG(rewardtest.Image(1, 2, 2))})
	}
	return q
}

// nested is a value n deep.
func nested(n int) any {
	if n == 0 {
		return "x"
	}
	return []any{nested(n - 1)}
}

func TestMetadataThatCannotTravelIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		value any
		want  string
	}{
		"a number of another type":    {float32(1), "metadata[0].a: type float32"},
		"a struct within":             {map[string]any{"b": []any{nil, struct{}{}}}, "metadata[0].a.b[1]: type struct"},
		"a number that is not finite": {math.NaN(), "metadata[0].a: NaN is not finite"},
		"a value nested too deep":     {nested(wire.MetadataDepth), "nested more than 8 deep"},
	} {
		_, err := withMetadata(map[string]any{"a": c.value}).Encode(wire.DefaultLimits())
		if !errors.Is(err, reward.ErrInvalidValue) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	short := withMetadata(map[string]any{}, map[string]any{})
	short.Metadata = short.Metadata[:1]
	if _, err := short.Encode(wire.DefaultLimits()); !errors.Is(err, reward.ErrImageCountMismatch) {
		t.Errorf("one map for two samples: got %v", err)
	}
}

func TestMetadataIsBounded(t *testing.T) {
	small := wire.DefaultLimits()
	small.MetadataBytes = 100
	many := make([]any, wire.MetadataValues)
	wide := map[string]any{}
	for i := range 65 {
		wide[strings.Repeat("k", i+1)] = nil
	}
	for name, c := range map[string]struct {
		value  any
		limits wire.Limits
		want   *reward.Error
	}{
		"values":         {many, wire.DefaultLimits(), reward.ErrInvalidValue},
		"keys of a map":  {wide, wire.DefaultLimits(), reward.ErrUnknownField},
		"a long text":    {strings.Repeat("x", 101), small, reward.ErrInvalidValue},
		"bytes":          {make([]byte, 101), small, reward.ErrInvalidValue},
		"texts together": {[]any{strings.Repeat("x", 60), strings.Repeat("x", 60)}, small, reward.ErrInvalidValue},
	} {
		m, err := withMetadata(map[string]any{"a": c.value}).Encode(wire.DefaultLimits())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := wire.DecodeRequest(m.Bytes(), c.limits); !errors.Is(err, c.want) || !strings.Contains(err.Error(), "metadata[0]") {
			t.Errorf("%s: got %v, want %s", name, err, c.want.Code())
		}
	}
	body := []byte("\x81\xa8metadata\xdc\x01\x00") // 256 samples of 2,003 values each
	for range 256 {
		body = append(append(body, "\x81\xa1a\x92\xdc\x07\xd0"...), bytes.Repeat([]byte{0x80}, 2000)...)
		body = append(body, 0xc0)
	}
	if _, err := wire.DecodeRequest(body, wire.DefaultLimits()); !errors.Is(err, reward.ErrInvalidValue) || !strings.Contains(err.Error(), "of all samples") {
		t.Errorf("half a million values of all samples: got %v", err)
	}
	deep := []byte("\x81\xa8metadata\x91")
	for range 5 << 20 {
		deep = append(deep, "\x81\xa1a"...)
	}
	if _, err := wire.DecodeRequest(deep, wire.DefaultLimits()); !errors.Is(err, reward.ErrInvalidValue) {
		t.Errorf("five million maps in each other: got %v", err)
	}
	for name, body := range map[string]string{
		"an extension":               "\x81\xa8metadata\x91\x81\xa1a\xd4\x00\x00",
		"an integer past 63 bits":    "\x81\xa8metadata\x91\x81\xa1a\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
		"a text that is not UTF-8":   "\x81\xa8metadata\x91\x81\xa1a\xa1\xff",
		"a number for a sample's":    "\x81\xa8metadata\x91\x01",
		"a map that claims billions": "\x81\xa8metadata\x91\xdf\xff\xff\xff\xff",
	} {
		if _, err := wire.DecodeRequest([]byte(body), wire.DefaultLimits()); err == nil || errors.Is(err, reward.ErrMissingField) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestASampleMayHaveNoMetadata(t *testing.T) {
	m, err := withMetadata(map[string]any{"a": 1}, nil).Encode(wire.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	q, err := wire.DecodeRequest(m.Bytes(), wire.DefaultLimits())
	if err != nil || len(q.Metadata) != 2 || q.Metadata[0]["a"] != int64(1) || len(q.Metadata[1]) != 0 {
		t.Errorf("got %v, %v", q, err)
	}
	q, err = wire.DecodeRequest([]byte("\x83\xa7prompts\x91\xa1a\xa6images\x91\xc4\x01x\xa8metadata\x91\xc0"), wire.DefaultLimits())
	if err != nil || len(q.Metadata) != 1 || q.Metadata[0] != nil {
		t.Errorf("nil for a sample's: got %v, %v", q, err)
	}
}
