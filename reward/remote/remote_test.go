package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/judge"
	"github.com/denseflow/densereward/reward/rewardtest"
)

// chat is an OpenAI-compatible server that answers with what answer says.
type chat struct {
	*httptest.Server
	requests atomic.Int64
}

func newChat(tb testing.TB, answer func(w http.ResponseWriter, r *http.Request, q chatRequest)) *chat {
	c := &chat{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.requests.Add(1)
		var q chatRequest
		err := json.NewDecoder(r.Body).Decode(&q)
		if r.Context().Err() != nil {
			return // who asked is gone
		}
		if err != nil || r.URL.Path != "/v1/chat/completions" {
			tb.Errorf("%s %s: %v", r.Method, r.URL.Path, err)
		}
		answer(w, r, q)
	}))
	tb.Cleanup(c.Close)
	return c
}

// say writes a chat completion.
func say(w io.Writer, text, finish string) {
	fmt.Fprintf(w, `{"id": "x", "choices": [{"index": 0, "finish_reason": %q, "message": {"role": "assistant", "content": %q}}]}`, finish, text)
}

const threeScores = "Alignment Score (1-5): 4\nCoherence Score (1-5): 3\nStyle Score (1-5): 2"

func file(tb testing.TB, name string) *judge.File {
	tb.Helper()
	f, err := judge.Load(name)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

func newJudge(tb testing.TB, c *chat, name string, o Options) *Judge {
	tb.Helper()
	o.URL, o.Pause = c.URL+"/v1/", time.Millisecond
	j, err := NewJudge(file(tb, name), "a-model", o)
	if err != nil {
		tb.Fatal(err)
	}
	return j
}

func samples(prompts ...string) []reward.Sample {
	var all []reward.Sample
	for i, p := range prompts {
		all = append(all, reward.Sample{Image: rewardtest.Image(uint64(i), 40, 30), Prompt: p})
	}
	return all
}

func TestAJudgeConforms(t *testing.T) {
	c := newChat(t, func(w http.ResponseWriter, _ *http.Request, q chatRequest) {
		words := []string{"7", "is", "written", "here"}
		words, finish := words[:min(len(words), q.MaxTokens)], "stop"
		if len(words) == q.MaxTokens {
			finish = "length"
		}
		text := strings.Join(words, " ")
		for _, stop := range q.Stop {
			if before, _, found := strings.Cut(text, stop); found {
				text, finish = before, "stop"
			}
		}
		fmt.Fprintf(w, `{"choices": [{"finish_reason": %q, "message": {"content": %q}}], "usage": {"prompt_tokens": 9, "completion_tokens": %d}}`,
			finish, text, len(words))
	})
	f, err := judge.Parse([]byte("name = \"a\"\nprompt = \"{prompt}\"\n[[score]]\nname = \"s\"\npattern = '(\\d)'\nmin = 0\nmax = 9\n"))
	if err != nil {
		t.Fatal(err)
	}
	rewardtest.Run(t, func() reward.Evaluator {
		j, err := NewJudge(f, "a-model", Options{URL: c.URL + "/v1"})
		if err != nil {
			t.Fatal(err)
		}
		return j
	})
}

func TestAJudgeIsAskedAsItsFileSays(t *testing.T) {
	c := newChat(t, func(w http.ResponseWriter, r *http.Request, q chatRequest) {
		if got := r.Header.Get("Authorization"); got != "Bearer secret" {
			t.Errorf("authorization %q", got)
		}
		if q.Model != "a-model" || q.MaxTokens != 512 || q.Temperature != 0 || len(q.Messages) != 1 || len(q.Messages[0].Content) != 2 {
			t.Errorf("asked %+v", q)
		}
		img, text := q.Messages[0].Content[0], q.Messages[0].Content[1]
		if !strings.HasSuffix(text.Text, "Text Caption: [a cat]") {
			t.Errorf("the text is %q", text.Text)
		}
		data, ok := strings.CutPrefix(img.ImageURL.URL, "data:image/png;base64,")
		if !ok {
			t.Errorf("the image is %.40q", img.ImageURL.URL)
		}
		var png []byte
		if err := json.Unmarshal([]byte(`"`+data+`"`), &png); err != nil {
			t.Error(err)
		}
		m, err := image.Decode(png, image.Limits{})
		if err != nil || m.Width != 512 || m.Height != 512 {
			t.Errorf("the image is no PNG of 512x512: %v", err)
		}
		say(w, threeScores, "stop")
	})
	results, err := newJudge(t, c, "unifiedreward-2", Options{Token: " secret\n"}).Evaluate(t.Context(), samples("a cat"))
	if err != nil || results[0].Err != nil || fmt.Sprint(results[0].Scores) != "[4 3 2]" {
		t.Errorf("got %+v, %v", results, err)
	}
}

func TestAPromptIsSentAsItIs(t *testing.T) {
	c := newChat(t, func(w http.ResponseWriter, _ *http.Request, q chatRequest) {
		if q.MaxTokens != 7 || q.LogProbs || fmt.Sprint(q.Stop) != "[.]" || len(q.Messages) != 2 || q.Messages[0].Content[0].Text != "Be brief." {
			t.Errorf("asked %+v", q)
		}
		content := q.Messages[1].Content
		if len(content) != 2 || content[0].Text != "What is this?" || content[1].ImageURL == nil {
			t.Errorf("asked %+v", content)
		}
		fmt.Fprint(w, `{"choices": [{"finish_reason": "length", "message": {"content": "A cat on a"}}], "usage": {"prompt_tokens": 90, "completion_tokens": 7}}`)
	})
	s := samples("What is this?")
	s[0].Mode = reward.ModeGenerate
	s[0].Continuation = reward.Continuation{System: "Be brief.", ImageLast: true, MaxNewTokens: 7, Stop: []string{"."}}
	results, err := newJudge(t, c, "yes-no", Options{}).Generate(t.Context(), s)
	if err != nil || results[0].Err != nil || *results[0].Generation != (reward.Generation{Text: "A cat on a", PromptTokens: 90, Tokens: 7, Truncated: true}) {
		t.Errorf("got %+v, %v", results, err)
	}
}

func TestTheProbabilityOfATokenComesFromTheAnswersFirstPlace(t *testing.T) {
	c := newChat(t, func(w http.ResponseWriter, _ *http.Request, q chatRequest) {
		if !q.LogProbs || q.TopLogProbs != 20 {
			t.Errorf("asked for %v, %d", q.LogProbs, q.TopLogProbs)
		}
		fmt.Fprintf(w, `{"choices": [{"finish_reason": "length", "message": {"content": "Yes"}, "logprobs": {"content": [{"top_logprobs": [{"token": "Yes", "logprob": %v}, {"token": "No", "logprob": -3}]}]}}]}`, math.Log(0.75))
	})
	results, err := newJudge(t, c, "yes-no", Options{}).Evaluate(t.Context(), samples("a cat"))
	if err != nil || results[0].Err != nil || math.Abs(results[0].Scores[0]-0.75) > 1e-12 {
		t.Errorf("got %+v, %v", results, err)
	}
}

func TestAFailureIsItsSamplesErrorAndNeverAScore(t *testing.T) {
	for _, c := range []struct {
		name     string
		answer   func(w http.ResponseWriter)
		requests int64 // for the sample
		want     string
	}{
		{"a request that is refused is not sent again", func(w http.ResponseWriter) { http.Error(w, "no such model", http.StatusNotFound) }, 1, "status 404: no such model"},
		{"a broken server is asked again", func(w http.ResponseWriter) { http.Error(w, "oh", http.StatusBadGateway) }, 3, "status 502"},
		{"a full server is asked again", func(w http.ResponseWriter) { http.Error(w, "later", http.StatusTooManyRequests) }, 3, "status 429"},
		{"an answer that is no JSON", func(w http.ResponseWriter) { fmt.Fprint(w, "<html>") }, 1, "no chat completion"},
		{"an answer without a choice", func(w http.ResponseWriter) { fmt.Fprint(w, `{"choices": []}`) }, 1, "no choice"},
		{"an answer that was cut off", func(w http.ResponseWriter) { say(w, "<think>", "length") }, 1, "cut off"},
		{"an answer without boxes", func(w http.ResponseWriter) { say(w, "I cannot", "stop") }, 1, "no block"},
		{"an answer without an end", func(w http.ResponseWriter) { _, _ = w.Write(make([]byte, maxAnswer+1)) }, 1, "more than"},
	} {
		server := newChat(t, func(w http.ResponseWriter, _ *http.Request, q chatRequest) {
			if strings.Contains(q.Messages[0].Content[1].Text, "the good one") {
				say(w, "<answer>[]</answer>", "stop")
				return
			}
			c.answer(w)
		})
		results, err := newJudge(t, server, "sdg-detector", Options{Tries: 3}).Evaluate(t.Context(), samples("the bad one", "the good one"))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if r := results[0]; !errors.Is(r.Err, reward.ErrEvaluatorFailed) && !errors.Is(r.Err, reward.ErrAnswerTruncated) || !strings.Contains(r.Err.Error(), c.want) || r.Scores != nil {
			t.Errorf("%s: %v, want %q in it", c.name, r.Err, c.want)
		}
		if results[1].Err != nil {
			t.Errorf("%s: its neighbour failed: %v", c.name, results[1].Err)
		}
		if got := server.requests.Load() - 1; got != c.requests {
			t.Errorf("%s: sent %d times, want %d", c.name, got, c.requests)
		}
	}
}

func TestAServerThatComesBackIsHeard(t *testing.T) {
	var tries atomic.Int64
	c := newChat(t, func(w http.ResponseWriter, _ *http.Request, _ chatRequest) {
		if tries.Add(1) < 3 {
			w.Header().Set("Retry-After", "0")
			http.Error(w, "loading", http.StatusServiceUnavailable)
			return
		}
		say(w, threeScores, "stop")
	})
	results, err := newJudge(t, c, "unifiedreward-2", Options{}).Evaluate(t.Context(), samples("a"))
	if err != nil || results[0].Err != nil {
		t.Errorf("got %+v, %v", results, err)
	}
}

func TestAnEndpointThatFailsInARowIsLeftAlone(t *testing.T) {
	c := newChat(t, func(w http.ResponseWriter, _ *http.Request, _ chatRequest) {
		http.Error(w, "oh", http.StatusInternalServerError)
	})
	j := newJudge(t, c, "unifiedreward-2", Options{Tries: 1, Failures: 3, Concurrency: 1, Rest: time.Hour})
	results, err := j.Evaluate(t.Context(), samples("a", "b", "c", "d", "e"))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.requests.Load(); got != 3 {
		t.Errorf("%d requests, want 3", got)
	}
	if err := results[4].Err; err == nil || !strings.Contains(err.Error(), "left alone") {
		t.Errorf("the last sample's error: %v", err)
	}
}

func TestTimeLimitsHoldAgainstAServerThatDrips(t *testing.T) {
	c := newChat(t, func(w http.ResponseWriter, r *http.Request, _ chatRequest) {
		for r.Context().Err() == nil {
			_, _ = w.Write([]byte(" "))
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	results, err := newJudge(t, c, "unifiedreward-2", Options{Tries: 2, Timeout: 50 * time.Millisecond}).Evaluate(t.Context(), samples("a"))
	if err != nil || !errors.Is(results[0].Err, reward.ErrEvaluatorFailed) {
		t.Errorf("got %+v, %v", results, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := newJudge(t, c, "unifiedreward-2", Options{}).Evaluate(ctx, samples("a", "b")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a context that ended: %v", err)
	}
}

func TestNoMoreRequestsAreOnTheirWayThanAllowed(t *testing.T) {
	var now, most atomic.Int64
	release := make(chan struct{})
	c := newChat(t, func(w http.ResponseWriter, _ *http.Request, _ chatRequest) {
		n := now.Add(1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		if n == 3 {
			close(release)
		}
		<-release
		now.Add(-1)
		say(w, threeScores, "stop")
	})
	if _, err := newJudge(t, c, "unifiedreward-2", Options{Concurrency: 3}).Evaluate(t.Context(), samples("a", "b", "c")); err != nil {
		t.Fatal(err)
	}
	if most.Load() != 3 {
		t.Errorf("%d requests at a time, want 3", most.Load())
	}
}

func TestOptionsThatCannotBeAreRefused(t *testing.T) {
	for name, o := range map[string]Options{
		"no url":               {},
		"a url without scheme": {URL: "gpu7:8000/v1"},
		"another scheme":       {URL: "ftp://gpu7/v1"},
		"tries below none":     {URL: "http://gpu7/v1", Tries: -1},
	} {
		if _, err := NewJudge(file(t, "yes-no"), "m", o); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
