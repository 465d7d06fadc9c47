package compat_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/compat"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/servertest"
)

// toldToFail fails a prompt that begins with "fail".
func toldToFail(s reward.Sample) error {
	if strings.HasPrefix(s.Prompt, "fail") {
		return reward.ErrEvaluatorFailed.With("told to fail: %s", s.Prompt)
	}
	return nil
}

// serve starts a server of the fake evaluator and others, and gives its address.
func serve(t *testing.T, cfg compat.Config, others ...reward.Evaluator) string {
	t.Helper()
	fake := &rewardtest.Fake{Name: "fake", Fail: toldToFail}
	web := httptest.NewServer(servertest.New(t, server.Config{Compat: cfg}, append([]reward.Evaluator{fake}, others...)...))
	t.Cleanup(web.Close)
	return web.URL
}

// exchange asks the server; a body of nil is a GET.
func exchange(t *testing.T, address string, body []byte) (int, []byte) {
	t.Helper()
	method := http.MethodPost
	if body == nil {
		method = http.MethodGet
	}
	r, err := http.NewRequestWithContext(t.Context(), method, address, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	answer, text := servertest.Do(t, r, "application/json")
	return answer.StatusCode, text
}

// recorded is an exchange of a peer's own client with the fake evaluator.
type recorded struct {
	Name     string
	Path     string
	Status   int
	Request  json.RawMessage
	Response json.RawMessage

	// What the client made of the answer.
	Rewards []float64
	Raised  string
}

func readRecorded(t *testing.T, name string) []recorded {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var all []recorded
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("nothing was recorded")
	}
	return all
}

func sameJSON(t *testing.T, got, want []byte) {
	t.Helper()
	var a, b any
	if err := json.Unmarshal(got, &a); err != nil {
		t.Fatalf("%v in %s", err, got)
	}
	if err := json.Unmarshal(want, &b); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("got %s, want %s", got, want)
	}
}
