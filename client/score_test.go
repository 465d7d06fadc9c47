package client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/wire"
)

func TestAnAddressMustBeOne(t *testing.T) {
	for _, address := range []string{"", "localhost:8080", "ftp://host", "http://", "http://host/?a=b", "http://host/#c", "\x00"} {
		if _, err := client.New(address); err == nil {
			t.Errorf("%q was taken", address)
		}
		if _, err := client.New("http://fine", client.WithServers(address)); err == nil {
			t.Errorf("%q was taken as a further server", address)
		}
	}
}

func TestHeadersTellWhoAsksAndForHowLong(t *testing.T) {
	s := &script{next: newServer(t, &rewardtest.Fake{})}
	c := newClient(t, listen(t, s)+"/", client.WithToken("secret"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if _, err := c.Score(ctx, rollout(1)); err != nil {
		t.Fatal(err)
	}
	h := s.seen[0].Header
	if h.Get("Authorization") != "Bearer secret" || h.Get("Content-Type") != wire.MediaType {
		t.Errorf("headers are %v", h)
	}
	if left, err := strconv.ParseFloat(h.Get(wire.HeaderTimeout), 64); err != nil || left > 3600 || left < 3500 {
		t.Errorf("%s is %v (%v), want a little less than 3600", wire.HeaderTimeout, left, err)
	}
	if _, err := c.Score(t.Context(), rollout(1)); err != nil {
		t.Fatal(err)
	}
	if left, err := strconv.ParseFloat(s.seen[1].Header.Get(wire.HeaderTimeout), 64); err != nil || left > 300 || left < 200 {
		t.Errorf("%s is %v (%v), want a little less than 300", wire.HeaderTimeout, left, err)
	}
	forever := newClient(t, listen(t, s), client.WithTimeout(0))
	if _, err := forever.Score(t.Context(), rollout(1)); err != nil {
		t.Fatal(err)
	}
	if left := s.seen[2].Header.Get(wire.HeaderTimeout); left != "" {
		t.Errorf("without a deadline %s is %q", wire.HeaderTimeout, left)
	}
}

func TestATimeoutIsADeadline(t *testing.T) {
	s := &script{next: newServer(t, &rewardtest.Fake{})}
	c := newClient(t, listen(t, s), client.WithTimeout(time.Minute))
	if _, err := c.Score(t.Context(), rollout(1)); err != nil {
		t.Fatal(err)
	}
	left, err := strconv.ParseFloat(s.seen[0].Header.Get(wire.HeaderTimeout), 64)
	if err != nil || left > 60 || left < 10 {
		t.Errorf("%s is %v, %v", wire.HeaderTimeout, left, err)
	}
}

func TestARequestThatCannotBeIsNotSent(t *testing.T) {
	s := &script{}
	q := rollout(2)
	q.Prompts = q.Prompts[:1]
	if _, err := newClient(t, listen(t, s)).Score(t.Context(), q); !errors.Is(err, reward.ErrImageCountMismatch) || s.requests() != 0 {
		t.Errorf("got %v after %d requests", err, s.requests())
	}
}

func TestAnswersAreBounded(t *testing.T) {
	chunked := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for range 100 {
			_, _ = w.Write(make([]byte, 100))
			w.(http.Flusher).Flush()
		}
	})
	for name, h := range map[string]http.Handler{"announced": newServer(t, &rewardtest.Fake{}), "chunked": chunked} {
		_, err := newClient(t, listen(t, h), client.WithMaxResponse(500)).Score(t.Context(), rollout(1))
		if err == nil || !strings.Contains(err.Error(), "500") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// canned answers without a network, having read the request to its end.
type canned struct {
	answer []byte
	sent   int64
}

func (c *canned) RoundTrip(r *http.Request) (*http.Response, error) {
	n, err := io.Copy(io.Discard, r.Body)
	c.sent = n
	return &http.Response{
		StatusCode: http.StatusOK, ContentLength: int64(len(c.answer)), Header: http.Header{},
		Body: io.NopCloser(strings.NewReader(string(c.answer))), Request: r,
	}, err
}

func TestImagesAreSentWithoutACopy(t *testing.T) {
	q := &wire.Request{}
	p := &wire.Response{}
	for i := range 16 {
		q.Prompts = append(q.Prompts, "a cat")
		q.Images = append(q.Images, wire.Image{Tensor: rewardtest.Tensor(rewardtest.Image(uint64(i), 512, 512))})
		p.Rewards, p.Missing = append(p.Rewards, 0), append(p.Missing, nil)
		p.Errors, p.Cached = append(p.Errors, nil), append(p.Cached, false)
	}
	p.Scores = []wire.NamedScores{{Name: "overall", Values: p.Rewards}}
	web := &canned{answer: p.Encode().Bytes()}
	c := newClient(t, "http://nowhere", client.WithHTTPClient(&http.Client{Transport: web}))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := c.Score(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if web.sent < 16*512*512*3 {
		t.Fatalf("%d bytes were sent", web.sent)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
		t.Errorf("sending %d bytes took %d bytes of memory", web.sent, took)
	}
}

func TestModelsAreListed(t *testing.T) {
	fake := &rewardtest.Fake{Name: "imagedoctor", Fingerprint: "abc", Side: 288}
	m, err := newClient(t, listen(t, newServer(t, fake))).Models(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e := m.Evaluators[0]
	if m.Protocol != 1 || e.Name != "imagedoctor" || e.Fingerprint != "abc" || e.Kind != "fake" || e.Maps[0].Height != 288 || e.Maps[0].Name != "misalignment" || *e.Scores[0].Max != 1 || e.Scores[0].Weight != 0.8 || len(e.Modes) != 2 || !e.Demonstration {
		t.Errorf("got %+v", m)
	}
}

func TestReadyAsksEveryServer(t *testing.T) {
	good := listen(t, newServer(t, &rewardtest.Fake{}))
	if err := newClient(t, good).Ready(t.Context()); err != nil {
		t.Error(err)
	}
	cold := listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"code":"not_ready","message":"loading"}`))
	}))
	if err := newClient(t, good, client.WithServers(cold)).Ready(t.Context()); !errors.Is(err, reward.ErrNotReady) {
		t.Errorf("got %v", err)
	}
}
