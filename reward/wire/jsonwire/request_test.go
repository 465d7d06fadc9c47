package jsonwire_test

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
	"github.com/denseflow/densereward/reward/wire/jsonwire"
)

func decode(text string) (*wire.Request, jsonwire.MapFormat, error) {
	message, format, err := jsonwire.Request([]byte(text))
	if err != nil {
		return nil, format, err
	}
	q, err := wire.DecodeRequest(message, wire.DefaultLimits())
	return q, format, err
}

func f64(f float64) *float64 { return &f }

// meaning is a request as JSON and what it is.
type meaning struct {
	text string
	want *wire.Request
}

func checkMeanings(t *testing.T, cases map[string]meaning) {
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			got, format, err := decode(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if format != jsonwire.MapsAsTensors || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestImagesAndLatentsMeanWhatTheyDoInMsgpack(t *testing.T) {
	pixels := &reward.Tensor{Type: reward.Uint8, Shape: []int{1, 2, 3}, Data: []byte{0, 1, 2, 3, 4, 255}}
	half := &reward.Tensor{Type: reward.Float32, Shape: []int{1, 1, 3}, Data: []byte{0, 0, 0, 0x3f, 0, 0, 0x80, 0x3f, 0, 0, 0, 0}}
	latents := &reward.Tensor{Type: reward.Float16, Shape: []int{1, 1, 1, 2}, Data: []byte{0, 0x3c, 0, 0x40}}
	one := func(image wire.Image) *wire.Request {
		return &wire.Request{Prompts: []string{"größe 🐈 \"x\""}, Images: []wire.Image{image}}
	}
	const prompt = `{"prompts": ["größe \ud83d\udc08 \"x\""], `
	file := one(wire.Image{Encoded: []byte("a?b>c\xff")})
	checkMeanings(t, map[string]meaning{
		"a file in base64":            {prompt + `"images": ["YT9iPmP/"]}`, file},
		"a file in a data URI":        {prompt + `"images": ["data:image/png;base64,YT9iPmP/"]}`, file},
		"base64 with line breaks":     {prompt + `"images": ["YT9i\r\nPmP/\n"]}`, file},
		"base64 with escapes":         {prompt + `"images": ["YT9iPmP\/"]}`, file},
		"base64 with unicode escapes": {prompt + `"images": ["YT9iPmP\u002f"]}`, file},
		"a tensor in base64":          {prompt + `"images": [{"dtype": "|u1", "shape": [1,2,3], "data": "AAECAwT/"}]}`, one(wire.Image{Tensor: pixels})},
		"a type by numpy's name":      {prompt + `"images": [{"dtype": "uint8", "shape": [1,2.0,3], "data": "AAECAwT/"}]}`, one(wire.Image{Tensor: pixels})},
		"a tensor in arrays":          {prompt + `"images": [{"dtype": "uint8", "data": [[[0,1,2],[3,4,255]]]}]}`, one(wire.Image{Tensor: pixels})},
		"one tensor of all":           {prompt + `"images": {"dtype": "uint8", "data": [[[[0,1,2],[3,4,255]]]]}}`, one(wire.Image{Tensor: pixels})},
		"floats in arrays":            {prompt + `"images": [{"data": [[[0.5, 1, 0]]], "shape": [1,1,3], "dtype": "torch.float32"}]}`, one(wire.Image{Tensor: half})},
		"latents": {
			`{"prompts": ["a"], "latents": {"dtype": "float16", "shape": [1,1,1,2], "data": "ADwAQA=="}, "vae": "sd3", "grid": {"preset": "sd3"}, "return": ["images"]}`,
			&wire.Request{Prompts: []string{"a"}, Latents: latents, VAE: "sd3", Grid: reward.GridSpec{Preset: "sd3"}, Return: []wire.Return{wire.ReturnImages}},
		},
	})
}

func TestEveryOptionMeansWhatItDoesInMsgpack(t *testing.T) {
	checkMeanings(t, map[string]meaning{
		"options": {
			`{"prompts": ["a"], "images": ["aGk="], "mode": "think", "grid": {"height": 4.0, "width": 4e0}, "evaluator": "x", "missing": "error", "clamp": true, "rank": true,
			  "groups": ["g"], "weights": {"scores": {"overall": -1}, "heatmaps": {"artifact": 0.25}}, "return": [], "vae": null,
			  "advantage": {"method": "boxflow", "floor": 0.5, "smoothing": 3, "penalty": {"min": 0.25}},
			  "metadata": [{"text": "hi", "n": 3, "f": 2.0, "b": {"base64": "aGk="}, "l": [null, true, {}], "big": 9007199254740993}]}`,
			&wire.Request{
				Prompts: []string{"a"}, Images: []wire.Image{{Encoded: []byte("hi")}}, Mode: reward.ModeThink,
				Grid: reward.GridSpec{Height: 4, Width: 4}, Evaluator: "x", Missing: reward.MissingError, Clamp: true, Rank: true,
				Groups: reward.Groups{Names: []string{"g"}}, Return: []wire.Return{},
				Weights: &reward.Weights{Scores: map[string]float64{"overall": -1}, Maps: map[string]float64{"artifact": 0.25}},
				Advantage: &reward.Advantage{Method: reward.AdvantageBoxFlow, Floor: f64(0.5), Smoothing: 3, Penalty: &reward.Penalty{
					Artifact: reward.DefaultPenalty().Artifact, Misalignment: reward.DefaultPenalty().Misalignment, Min: 0.25,
				}},
				Metadata: []map[string]any{{
					"text": "hi", "n": int64(3), "f": 2.0, "b": []byte("hi"), "l": []any{nil, true, map[string]any{}}, "big": int64(9007199254740993),
				}},
			},
		},
		"groups across requests": {
			`{"prompts": ["a"], "images": ["aGk="], "groups": {"step": "s", "size": 2, "members": [1], "count": 1}, "advantage": {"method": "flowgrpo", "global_std": true}}`,
			&wire.Request{
				Prompts: []string{"a"}, Images: []wire.Image{{Encoded: []byte("hi")}},
				Groups:    reward.Groups{Step: "s", Size: 2, Members: []int{1}, Count: 1},
				Advantage: &reward.Advantage{Method: reward.AdvantageFlowGRPO, GlobalStd: true},
			},
		},
	})
}

func TestWhatIsWrongIsNamed(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		code *reward.Error
		want string
	}{
		"nothing":                       {``, reward.ErrMalformedBody, "body: the body ends"},
		"cut short":                     {`{"prompts": ["a"`, reward.ErrMalformedBody, "prompts: the body ends"},
		"no object":                     {`[]`, reward.ErrMalformedBody, "want \"{\""},
		"more than one value":           {`{"prompts": ["a"], "images": ["aGk="]} {}`, reward.ErrMalformedBody, "more follows"},
		"NaN":                           {`{"advantage": {"floor": NaN}}`, reward.ErrMalformedBody, "advantage: at byte"},
		"a key twice":                   {`{"prompts": ["a"], "prompts": ["a"]}`, reward.ErrMalformedBody, "duplicate"},
		"a number beyond float64":       {`{"advantage": {"floor": 1e999}}`, reward.ErrNotFinite, "advantage: 1e999"},
		"a number of a thousand digits": {`{"advantage": {"floor": ` + strings.Repeat("1", 1000) + `}}`, reward.ErrMalformedBody, "digits"},
		"an unknown key":                {`{"prompt": ["a"]}`, reward.ErrUnknownField, `unknown key "prompt"`},
		"no prompts":                    {`{}`, reward.ErrMissingField, "prompts: required"},
		"a prompt that is a number":     {`{"prompts": ["a", 3]}`, reward.ErrInvalidValue, "prompts[1]: want a string"},
		"invalid UTF-8":                 {"{\"prompts\": [\"\xff\"]}", reward.ErrMalformedBody, "UTF-8"},
		"too few images":                {`{"prompts": ["a", "b"], "images": ["aGk="]}`, reward.ErrImageCountMismatch, "images: 1 for 2"},
		"an image that is no base64":    {`{"prompts": ["a"], "images": ["aGk=", "a*b="]}`, reward.ErrInvalidValue, "images[1]: not base64"},
		"an image's address":            {`{"prompts": ["a"], "images": ["https://a/b.png"]}`, reward.ErrInvalidValue, "images[0]: not base64"},
		"a data URI without base64":     {`{"prompts": ["a"], "images": ["data:image/svg+xml,abc"]}`, reward.ErrInvalidValue, "images[0]: not base64: a data URI"},
		"images as bare numbers":        {`{"prompts": ["a"], "images": [[[0,1,2]]]}`, reward.ErrInvalidValue, "images[0]: want base64, a data URI or a tensor"},
		"a tensor without a type":       {`{"images": [{"shape": [1], "data": "AA=="}]}`, reward.ErrMissingField, "images[0]: a tensor needs dtype"},
		"a tensor's unknown key":        {`{"images": [{"type": "u1"}]}`, reward.ErrUnknownField, "images[0]: unknown key \"type\""},
		"a tensor of objects":           {`{"images": [{"dtype": "|O", "shape": [1], "data": "AA=="}]}`, reward.ErrUnsupportedDType, "images[0].type"},
		"too little data":               {`{"images": [{"dtype": "uint8", "shape": [2,2,3], "data": "AA=="}]}`, reward.ErrInvalidValue, "images[0]: "},
		"ragged arrays":                 {`{"images": [{"dtype": "uint8", "data": [[1,2],[3]]}]}`, reward.ErrInvalidValue, "2 and 1 elements"},
		"arrays beside numbers":         {`{"images": [{"dtype": "uint8", "data": [[1],2]}]}`, reward.ErrInvalidValue, "side by side"},
		"numbers beside arrays":         {`{"images": [{"dtype": "uint8", "data": [1,[2]]}]}`, reward.ErrInvalidValue, "side by side"},
		"null in a tensor":              {`{"images": [{"dtype": "float32", "data": [null]}]}`, reward.ErrMalformedBody, "want a number"},
		"256 as a byte":                 {`{"images": [{"dtype": "uint8", "data": [256]}]}`, reward.ErrInvalidValue, "256 is no uint8"},
		"a fraction as a byte":          {`{"images": [{"dtype": "uint8", "data": [0.5]}]}`, reward.ErrInvalidValue, "0.5 is no uint8"},
		"halves in arrays":              {`{"images": [{"dtype": "float16", "data": [1]}]}`, reward.ErrUnsupportedDType, "send base64"},
		"a shape that disagrees":        {`{"images": [{"dtype": "uint8", "shape": [3], "data": [1]}]}`, reward.ErrInvalidValue, "shape [3], and data of shape [1]"},
		"arrays without end":            {`{"images": [{"dtype": "uint8", "data": ` + strings.Repeat("[", 100) + `}]}`, reward.ErrInvalidValue, "dimensions"},
		"nested without end":            {`{"metadata": [` + strings.Repeat("[", 5000), reward.ErrMalformedBody, "deep"},
		"metadata nested too deep":      {`{"metadata": [{"a":` + strings.Repeat("[", 9) + strings.Repeat("]", 9) + `}]}`, reward.ErrInvalidValue, "nested more than 8"},
		"bytes and more":                {`{"metadata": [{"a": {"base64": "aGk=", "b": 1}}]}`, reward.ErrInvalidValue, "no other keys"},
		"an unknown form of maps":       {`{"map_format": "jpeg"}`, reward.ErrInvalidValue, "map_format: \"jpeg\""},
		"a fraction as an integer":      {`{"grid": {"height": 1.5, "width": 1}}`, reward.ErrInvalidValue, "grid.height: want an integer"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := decode(tt.text)
			if !errors.Is(err, tt.code) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s with %q", err, tt.code.Code(), tt.want)
			}
		})
	}
}

// FuzzRequest holds that whatever text is translated is msgpack, and what is not
// is refused with an error of the protocol.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		`{"prompts": ["a"], "images": ["aGk="], "map_format": "png"}`,
		`{"prompts": ["a"], "images": [{"dtype": "uint8", "data": [[[0,1,2],[3,4,255]]]}]}`,
		`{"metadata": [{"a": {"base64": "aGk="}, "b": [1, -2.5, 1e3, 18446744073709551615]}]}`,
		`{"images": {"dtype": "<f4", "shape": [1,1,1,3], "data": "AAAAAAAAAAAAAAAA"}}`,
		`{"images": ["data:;base64,aGk\u003d"]}`, `{`, `{"a": "\u12`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		message, _, err := jsonwire.Request(bytes.Clone(body))
		if len(message) > 2*len(body)+64 {
			t.Fatalf("%q of %d bytes became %d", body, len(body), len(message))
		}
		if err == nil {
			_, err = wire.DecodeRequest(message, wire.DefaultLimits())
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
