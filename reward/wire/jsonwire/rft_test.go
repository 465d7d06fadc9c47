package jsonwire_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
	"github.com/denseflow/densereward/reward/wire/jsonwire"
)

// rftBody is a request of two completions with the given scores and map.
func rftBody(scores, heatmap string) string {
	return `{"completions": ["a", "b"], "scores": ` + scores + `, "truth": {"misalignment": ` + heatmap + `, "artifact": ` + heatmap + `}}`
}

const listedMap = `{"dtype": "float32", "data": [[[0, 0.5]]]}`

func TestRFTRequestsInJSON(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		want *reward.Error // nil for none
		text string
	}{
		"arrays":                   {rftBody(`[[1, 0.5, 0.25, 1e-3], [0, 0, 0, 2]]`, listedMap), nil, ""},
		"base64":                   {rftBody(`{"dtype": "<f8", "shape": [1, 4], "data": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`, listedMap), nil, ""},
		"rows of other lengths":    {rftBody(`[[1, 2, 3, 4], [1, 2, 3]]`, listedMap), reward.ErrInvalidValue, "scores: arrays of 4 and 3 numbers side by side"},
		"numbers in one row":       {rftBody(`[1, 2, 3, 4]`, listedMap), reward.ErrMalformedBody, "scores: want"},
		"no rows":                  {rftBody(`[]`, listedMap), reward.ErrInvalidValue, "scores: <f8 of shape [0 0]"},
		"a number beyond float64":  {rftBody(`[[1e999, 0, 0, 0]]`, listedMap), reward.ErrNotFinite, "scores: 1e999 is beyond float64"},
		"too many numbers":         {rftBody(`[[`+strings.Repeat("0,", 1<<16)+`0]]`, listedMap), reward.ErrInvalidValue, "scores: more than 65536 numbers"},
		"a map that is no tensor":  {rftBody(`[[1, 0, 0, 1]]`, `"x"`), reward.ErrInvalidValue, "truth.misalignment"},
		"a member of a tensor":     {rftBody(`[[1, 0, 0, 1]]`, `{"dtype": "float32", "shape": [1], "data": "", "x": 1}`), reward.ErrUnknownField, "truth.misalignment"},
		"a map of another name":    {`{"completions": ["a"], "truth": {"heat": 1}}`, reward.ErrUnknownField, "heat"},
		"an unknown key":           {`{"completions": ["a"], "images": []}`, reward.ErrUnknownField, "images"},
		"no completions":           {`{}`, reward.ErrMissingField, "completions"},
		"something behind the end": {rftBody(`[[1, 0, 0, 1]]`, listedMap) + `x`, reward.ErrMalformedBody, ""},
	} {
		t.Run(name, func(t *testing.T) {
			message, err := jsonwire.RFTRequest([]byte(c.body))
			var q *wire.RFTRequest
			if err == nil {
				q, err = wire.DecodeRFTRequest(message, wire.DefaultLimits())
			}
			if c.want == nil {
				if err != nil || len(q.Completions) != 2 || q.Scores.Type != reward.Float64 {
					t.Errorf("%+v, %v", q, err)
				}
				return
			}
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v, want %v with %q", err, c.want, c.text)
			}
		})
	}
}

func FuzzRFTRequest(f *testing.F) {
	f.Add([]byte(rftBody(`[[1, 0.5, 0.25, 1e-3], [0, 0, 0, 2]]`, listedMap)))
	f.Add([]byte(rftBody(`{"dtype": "<f8", "shape": [1, 4], "data": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`, `null`)))
	f.Add([]byte(`{"predicted": {"misalignment": {"dtype": "uint8", "shape": [1,1,1], "data": "AA=="}}, "groups": ["g"], "solutions": null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		message, err := jsonwire.RFTRequest(bytes.Clone(body))
		if len(message) > 4*len(body)+128 {
			t.Fatalf("%q of %d bytes became %d", body, len(body), len(message))
		}
		if err == nil {
			_, err = wire.DecodeRFTRequest(message, wire.DefaultLimits())
			if errors.Is(err, reward.ErrMalformedBody) {
				t.Fatalf("%q became %x: %v", body, message, err)
			}
		}
		var e *reward.Error
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("an error without a code: %v", err)
		}
	})
}
