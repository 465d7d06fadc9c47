package boundedjson_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire/boundedjson"
)

func TestBase64IsReadAsEncodersWriteIt(t *testing.T) {
	data := bytes.Repeat([]byte("\xfb\xff\xbfa?"), 3001) // + and / in many blocks
	text := base64.StdEncoding.EncodeToString(data)
	var lines strings.Builder // as Python's base64.encodebytes has it
	for at := 0; at < len(text); at += 76 {
		lines.WriteString(text[at:min(at+76, len(text))] + `\n`)
	}
	for name, written := range map[string]string{
		"plain":                  text,
		"in a data URI":          "data:image/png;base64," + text,
		"in lines":               lines.String(),
		"in lines of Windows":    strings.ReplaceAll(lines.String(), `\n`, `\r\n`),
		"with escaped slashes":   strings.ReplaceAll(text, "/", `\/`),
		"with escapes for HTML":  strings.ReplaceAll(text, "+", `\u002B`),
		"a data URI and escapes": `data:image\/png;base64,` + strings.ReplaceAll(text, "/", `\/`),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := boundedjson.New([]byte(`"` + written + `"`)).Base64()
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes, %v, want %d", len(got), err, len(data))
			}
		})
	}
	for name, written := range map[string]string{
		"another alphabet": "-_-_", "cut short": "AAA", "bits that are left over": "AB==", "a URI without base64": "data:,abc",
		"an escape that is no base64": `AA\tA`, "spaces": "AA AA",
	} {
		if got, err := boundedjson.New([]byte(`"` + written + `"`)).Base64(); err == nil {
			t.Errorf("%s became %x", name, got)
		}
	}
}

func TestPythonsNumbersAreTakenOnlyFromPython(t *testing.T) {
	const text = `{"a": NaN, "b": [-Infinity, Infinity], "c": "NaN"}`
	if err := boundedjson.NewPython([]byte(text)).Skip(); err != nil {
		t.Error(err)
	}
	if err := boundedjson.New([]byte(text)).Skip(); !errors.Is(err, reward.ErrMalformedBody) {
		t.Errorf("got %v", err)
	}
}

func TestWhatHasNoEndIsRefused(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"arrays":     {strings.Repeat("[", 100), "deep"},
		"a number":   {"[" + strings.Repeat("1", 100) + "]", "digits"},
		"a key":      {`{"` + strings.Repeat("k", 300), "the body ends"},
		"the object": {`{"a": 1`, "the body ends"},
	} {
		if err := boundedjson.New([]byte(tt.text)).Skip(); !errors.Is(err, reward.ErrMalformedBody) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
}
