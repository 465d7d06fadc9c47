package loadgen_test

import (
	"bytes"
	"image/jpeg"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/denseflow/densereward/internal/loadgen"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

// oneOfTwo answers a request for two images, one of which failed.
func oneOfTwo(w http.ResponseWriter) error {
	p := &wire.Response{
		Rewards: make([]float64, 2), Missing: make([][]string, 2),
		Errors: make([]*reward.Error, 2), Cached: make([]bool, 2),
	}
	p.Scores = []wire.NamedScores{{Name: "overall", Values: make([]float64, 2)}}
	p.Errors[1] = reward.ErrImageCorrupt
	_, err := p.Encode().WriteTo(w)
	return err
}

// checkingServer checks each request and answers it as next says.
func checkingServer(t *testing.T, next <-chan func(http.ResponseWriter) bool) string {
	prompts := map[string]bool{}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		q, err := wire.DecodeRequest(body, wire.DefaultLimits())
		if err != nil {
			t.Error(err)
			return
		}
		for _, p := range q.Prompts {
			if prompts[p] {
				t.Errorf("prompt %q was sent twice", p)
			}
			prompts[p] = true
		}
		if q.Mode != reward.ModeThink || r.Header.Get(wire.HeaderTimeout) == "" || r.Header.Get("Authorization") != "Bearer secret" {
			t.Errorf("mode %q, header %v", q.Mode, r.Header)
		}
		if f := <-next; f == nil || !f(w) {
			if err := oneOfTwo(w); err != nil {
				t.Error(err)
			}
		}
	}))
	t.Cleanup(web.Close)
	return web.URL
}

func TestScoreSpeaksTheProtocol(t *testing.T) {
	next := make(chan func(http.ResponseWriter) bool, 1)
	address := checkingServer(t, next)
	image, err := loadgen.Encode(loadgen.Photograph(1, 32, 24), loadgen.Raw)
	if err != nil {
		t.Fatal(err)
	}
	target := loadgen.Score(address, loadgen.NewClient(1), "test", 2, []wire.Image{image}, func(q *wire.Request) { q.Mode = reward.ModeThink })
	target.Token = "secret"
	for _, tt := range []struct {
		name string
		do   func(http.ResponseWriter) bool
		want loadgen.Answer
	}{
		{"an answer with one image failed", nil, loadgen.Answer{Code: loadgen.OK, Images: 1, Failed: 1}},
		{"an error of the protocol", func(w http.ResponseWriter) bool {
			w.WriteHeader(429)
			_, err := w.Write(wire.EncodeError(reward.ErrOverloaded))
			return err == nil
		}, loadgen.Answer{Code: "overloaded"}},
		{"an error of something between", func(w http.ResponseWriter) bool { http.Error(w, "bad gateway", http.StatusBadGateway); return true }, loadgen.Answer{Code: "http 502"}},
		{"an answer that cannot be read", func(w http.ResponseWriter) bool { _, err := io.WriteString(w, "hello"); return err == nil }, loadgen.Answer{Code: loadgen.CodeAnswer}},
		{"a connection that ends", func(http.ResponseWriter) bool { panic(http.ErrAbortHandler) }, loadgen.Answer{Code: loadgen.CodeConnection}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			next <- tt.do
			r, err := loadgen.Run(t.Context(), loadgen.Load{Concurrency: 1, Rate: 1, Duration: 500 * time.Millisecond, Timeout: time.Minute}, target)
			if err != nil {
				t.Fatal(err)
			}
			if r.Codes[tt.want.Code] != 1 || r.Images != tt.want.Images || r.Failed != tt.want.Failed {
				t.Errorf("%+v, want %+v", r, tt.want)
			}
		})
	}
}

func TestImagesTravelInEveryForm(t *testing.T) {
	im := loadgen.Photograph(7, 96, 64)
	raw, err := loadgen.Encode(im, loadgen.Raw)
	if err != nil || !bytes.Equal(raw.Tensor.Data, im.Pix) {
		t.Errorf("raw: error %v", err)
	}
	file, err := loadgen.Encode(im, loadgen.PNG)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := png.Decode(bytes.NewReader(file.Encoded))
	if err != nil {
		t.Fatal(err)
	}
	if back := loadgen.FromImage(decoded); back.Width != 96 || back.Height != 64 || !bytes.Equal(back.Pix, im.Pix) {
		t.Error("PNG changes the image")
	}
	if file, err = loadgen.Encode(im, loadgen.JPEG); err != nil {
		t.Fatal(err)
	}
	if _, err := jpeg.Decode(bytes.NewReader(file.Encoded)); err != nil {
		t.Error(err)
	}
	if _, err := loadgen.Encode(im, "gif"); err == nil {
		t.Error("an unknown form was taken")
	}
}

// Photographs must load a decoder as real ones do: about 420 KB as PNG and 68
// KB as JPEG.
func TestPhotographsCompressLikePhotographs(t *testing.T) {
	im := loadgen.Photograph(1, 512, 512)
	for form, size := range map[loadgen.Form]float64{loadgen.PNG: 420e3, loadgen.JPEG: 68e3} {
		file, err := loadgen.Encode(im, form)
		if err != nil {
			t.Fatal(err)
		}
		near(t, string(form), float64(len(file.Encoded)), size, 0.2)
	}
	if bytes.Equal(im.Pix, loadgen.Photograph(2, 512, 512).Pix) || !bytes.Equal(im.Pix, loadgen.Photograph(1, 512, 512).Pix) {
		t.Error("the seed does not decide the image")
	}
}
