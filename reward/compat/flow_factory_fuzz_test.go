package compat

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

// FuzzDecodeCompute holds the reader of Flow-Factory's requests to
// encoding/json: what it takes is JSON, and means the same there.
func FuzzDecodeCompute(f *testing.F) {
	for _, seed := range []string{
		`{"prompt": ["a cat", "größe \ud83d\udc08 \"x\""], "image": ["aGVsbG8=", "iVBO\/w=="], "video": null, "kwargs": null}`,
		`{"prompts": ["a"], "images": ["aGk="], "extra": {"a": [1, -2.5e3, true, false, null, {"b": []}]}}`,
		`{"prompt": ["a"], "image": [""], "condition_images": [["aGk="], []]}`,
		`{"prompt": ["a"], "image": ["a*b="]}`,
		`{"kwargs": NaN, "x": -Infinity}`,
		`{"prompt":`, `[`, ``, `{"a": "\u12`, `{"a": 1e}`, `{"a": 0x1}`, "{\"a\": \"\x01\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		text := bytes.Clone(body) // decoding writes over it
		q, err := readCompute(text, wire.DefaultLimits())
		if err != nil {
			if reward.AsError(err, reward.ErrInternal).Code() == reward.ErrInternal.Code() {
				t.Fatalf("an error without a code: %v", err)
			}
			return
		}
		if bytes.Contains(body, []byte("NaN")) || bytes.Contains(body, []byte("Infinity")) || !utf8.Valid(body) {
			return // Python's JSON, not encoding/json's
		}
		if !json.Valid(body) {
			t.Fatalf("took what is not JSON: %q", body)
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"prompt", "prompts"} {
			var prompts []string
			if json.Unmarshal(want[key], &prompts) == nil && prompts != nil && len(prompts) == len(q.prompts) {
				for i := range prompts {
					if prompts[i] != q.prompts[i] {
						t.Fatalf("prompt %d is %q, want %q", i, q.prompts[i], prompts[i])
					}
				}
			}
		}
		for _, key := range []string{"image", "images"} {
			var images [][]byte
			if json.Unmarshal(want[key], &images) == nil && images != nil && len(images) == len(q.images) {
				for i := range images {
					if !bytes.Equal(images[i], q.images[i]) {
						t.Fatalf("image %d is %x, want %x", i, q.images[i], images[i])
					}
				}
			}
		}
	})
}
