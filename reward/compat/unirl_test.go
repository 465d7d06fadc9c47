package compat_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward/compat"
	"github.com/denseflow/densereward/reward/rewardtest"
)

// testdata/record_unirl.py recorded them with UniRL's client, which took the answers
// and raised for the failures.
func TestUniRLsOwnRequestsAreAnswered(t *testing.T) {
	address := serve(t, compat.Config{})
	for _, e := range readRecorded(t, "unirl.json") {
		t.Run(e.Name, func(t *testing.T) {
			status, got := exchange(t, address+e.Path, e.Request)
			if status != e.Status {
				t.Errorf("status %d, want %d", status, e.Status)
			}
			sameJSON(t, got, e.Response)
		})
	}
}

func TestUniRLsClientFindsTheRewards(t *testing.T) {
	address := serve(t, compat.Config{})
	for path, want := range map[string]string{
		"/health":  `{"status": "ok", "rewards": {"fake": ["fake:ready"]}}`,
		"/rewards": `{"rewards": ["fake"]}`,
	} {
		status, got := exchange(t, address+path, nil)
		if status != http.StatusOK {
			t.Errorf("%s: status %d", path, status)
		}
		sameJSON(t, got, []byte(want))
	}
}

func TestTheRewardIsTheFirstMetric(t *testing.T) {
	first := readRecorded(t, "unirl.json")[0]
	_, got := exchange(t, serve(t, compat.Config{})+"/score", first.Request)
	if !strings.Contains(string(got), `"fake":{"reward":0.45`) {
		t.Errorf("UniRL takes the first metric, and it is not the reward: %s", got)
	}
}

func TestUniRLsErrorsComeBySampleWhereConfigured(t *testing.T) {
	for _, e := range readRecorded(t, "unirl.json") {
		if e.Name != "a failed reward" {
			continue
		}
		status, got := exchange(t, serve(t, compat.Config{SampleErrors: true})+"/score", e.Request)
		var p struct {
			Results []map[string]map[string]float64
			Errors  []map[string]string
		}
		if err := json.Unmarshal(got, &p); err != nil {
			t.Fatal(err)
		}
		if status != http.StatusOK || p.Results[0]["fake"]["reward"] == 0 || len(p.Results[1]) != 0 ||
			len(p.Errors[0]) != 0 || !strings.Contains(p.Errors[1]["fake"], "told to fail") {
			t.Errorf("status %d: %s", status, got)
		}
		return
	}
	t.Fatal("no failure was recorded")
}

func TestWhatUniRLMayNotSendIsNamed(t *testing.T) {
	address := serve(t, compat.Config{})
	file := base64.StdEncoding.EncodeToString(rewardtest.PNG(rewardtest.Image(1, 8, 8)))
	sample := func(history, rest string) string {
		return fmt.Sprintf(`{"requests": [{"history": [%s], "required_rewards": ["fake"]%s}]}`, history, rest)
	}
	turn := fmt.Sprintf(`{"text": "a", "image_b64": %q}`, file)
	for name, tt := range map[string]struct {
		body   string
		status int
		want   string
	}{
		"no samples":              {`{"requests": []}`, 200, `"results":[]`},
		"no requests":             {`{}`, 400, "requests: required"},
		"no JSON":                 {`{"requests": [`, 400, "malformed_body"},
		"no history":              {sample("", ""), 400, "requests[0]: history"},
		"a history in metadata":   {sample(turn+","+turn, `, "metadata": {"history": "mine"}`), 400, "requests[0]: metadata.history"},
		"no rewards":              {`{"requests": [{"history": [` + turn + `]}]}`, 400, "required_rewards: want at least one"},
		"a turn without image":    {sample(`{"text": "a", "image_b64": null}`, ""), 400, "requests[0].history[0]: a turn needs text and image_b64"},
		"a video":                 {sample(`{"text": "a", "video_b64": "aGk="}`, ""), 400, "videos are not scored"},
		"no base64":               {sample(`{"text": "a", "image_b64": "a*b"}`, ""), 400, "requests[0].history[0].image_b64: not base64"},
		"a file that is no image": {sample(`{"text": "a", "image_b64": "aGk="}`, ""), 415, "requests[0]: fake:"},
		"an unknown key":          {sample(turn, `, "groups": 1`), 400, "requests[0].groups: not a key"},
		"metadata that is a list": {sample(turn, `, "metadata": []`), 400, "requests[0].metadata"},
		"metadata without end":    {sample(turn, `, "metadata": {"a": `+strings.Repeat("[", 9)+strings.Repeat("]", 9)+`}`), 400, "nested more than 8 deep"},
		"too much metadata":       {sample(turn, `, "metadata": {"a": [0`+strings.Repeat(",0", 5000)+`]}`), 400, "more than 4096 values"},
		"NaN in metadata":         {sample(turn, `, "metadata": {"a": NaN}`), 200, `"results"`},
		"too many samples":        {`{"requests": [` + strings.TrimSuffix(strings.Repeat(`{"history": [{"text": "a", "image_b64": "aGk="}], "required_rewards": ["fake"]},`, 257), ",") + `]}`, 413, "too_many_images"},
	} {
		t.Run(name, func(t *testing.T) {
			status, got := exchange(t, address+"/score", []byte(tt.body))
			if status != tt.status || !strings.Contains(string(got), tt.want) {
				t.Errorf("status %d, %s, want %d with %q", status, got, tt.status, tt.want)
			}
		})
	}
}
