package server_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/wire"
	"github.com/klauspost/compress/zstd"
)

// encodings are what writes each.
var encodings = map[string]func(io.Writer) io.WriteCloser{
	"gzip":    func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
	"deflate": func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) },
	"zstd": func(w io.Writer) io.WriteCloser {
		z, err := zstd.NewWriter(w)
		if err != nil {
			panic(err) // the options are ours
		}
		return z
	},
}

func encoded(t *testing.T, encoding string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := encodings[encoding](&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// postEncoded sends a body and returns the status, the headers and the answer.
func postEncoded(t *testing.T, url, encoding string, body []byte) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+wire.ScorePath, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", wire.MediaType)
	r.Header.Set("Content-Encoding", encoding)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, string(text)
}

func message(t *testing.T) []byte {
	t.Helper()
	m, err := rollout(2, 32, 32).Encode(wire.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return m.Bytes()
}

func TestEncodedBodiesAreRead(t *testing.T) {
	_, url := serveOver(t, &rewardtest.Fake{}, nil)
	body := message(t)
	for encoding := range encodings {
		if status, _, text := postEncoded(t, url, encoding, encoded(t, encoding, body)); status != http.StatusOK {
			t.Errorf("%s: %d %s", encoding, status, text)
		}
		if status, _, text := postEncoded(t, url, strings.ToUpper(encoding), encoded(t, encoding, body)); status != http.StatusOK {
			t.Errorf("%s in upper case: %d %s", encoding, status, text)
		}
		cut := encoded(t, encoding, body)
		if status, _, text := postEncoded(t, url, encoding, cut[:len(cut)/2]); status != http.StatusBadRequest {
			t.Errorf("%s cut short: %d %s", encoding, status, text)
		}
		if status, _, text := postEncoded(t, url, encoding, body); status != http.StatusBadRequest || !strings.Contains(text, "content-encoding") {
			t.Errorf("%s that is none: %d %s", encoding, status, text)
		}
	}
	if status, _, text := postEncoded(t, url, "identity", body); status != http.StatusOK {
		t.Errorf("identity: %d %s", status, text)
	}
	for _, other := range []string{"br", "gzip, gzip"} {
		status, header, text := postEncoded(t, url, other, body)
		if status != http.StatusUnsupportedMediaType || header.Get("Accept-Encoding") != "gzip, deflate, zstd" || !strings.Contains(text, fmt.Sprintf("content-encoding: %q", other)) {
			t.Errorf("%s: %d, accepts %q, %s", other, status, header.Get("Accept-Encoding"), text)
		}
	}
}

// A body of zeros is a thousand times its encoding.
func TestAnEncodedBodyIsLimitedByWhatItDecodesTo(t *testing.T) {
	_, url := serveOver(t, &rewardtest.Fake{}, func(c *server.Config) {
		c.Limits = wire.DefaultLimits()
		c.Limits.BodyBytes = 1 << 20
	})
	for encoding := range encodings {
		bomb := encoded(t, encoding, make([]byte, 64<<20))
		if status, _, text := postEncoded(t, url, encoding, bomb); status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %d %.200s", encoding, status, text)
		}
	}
}

func TestRegisteredAndUsualMediaTypesAreMsgpack(t *testing.T) {
	_, url := serveOver(t, &rewardtest.Fake{}, nil)
	for kind, want := range map[string]int{
		"application/msgpack": 200, "application/vnd.msgpack": 200, "application/x-msgpack; charset=binary": 200, "text/plain": 415, "": 415,
	} {
		answer, err := http.Post(url+wire.ScorePath, kind, bytes.NewReader(message(t)))
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%q: %d, want %d", kind, answer.StatusCode, want)
		}
	}
}

func TestHEADAndSlashesAreAnsweredAsGET(t *testing.T) {
	_, url := serveOver(t, &rewardtest.Fake{}, nil)
	for _, path := range []string{"/healthz", "/readyz", "/v1/watch", "/v1/models", "/metrics", "/health", "/healthz/", "//v1//models", "/v1/models//"} {
		answer, err := http.Head(url + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK || path != "/v1/watch" && answer.ContentLength == 0 {
			t.Errorf("HEAD %s: %d, length %d", path, answer.StatusCode, answer.ContentLength)
		}
	}
	missing, err := http.Head(url + wire.JobsPath + "/x")
	if err != nil {
		t.Fatal(err)
	}
	missing.Body.Close()
	if missing.StatusCode != http.StatusNotFound {
		t.Errorf("HEAD of a job that there is not: %d", missing.StatusCode)
	}
	answer, err := http.Post(url+"//v1/score/", wire.MediaType, bytes.NewReader(message(t)))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("slashes around /v1/score: %d", answer.StatusCode)
	}
}
