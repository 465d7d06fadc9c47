package compat_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/compat"
	"github.com/denseflow/densereward/reward/rewardtest"
)

func newWriter() *rewardtest.Writer {
	return &rewardtest.Writer{Fake: rewardtest.Fake{Name: "writer", Fail: toldToFail}}
}

// chatOf is a request to the writer for an image of a seed.
func chatOf(seed uint64, before, behind, rest string) string {
	uri := "data:image/png;base64," + base64.StdEncoding.EncodeToString(rewardtest.PNG(rewardtest.Image(seed, 8, 8)))
	var content []string
	if before != "" {
		content = append(content, fmt.Sprintf(`{"type": "text", "text": %q}`, before))
	}
	content = append(content, fmt.Sprintf(`{"type": "image_url", "image_url": {"url": %q}}`, uri))
	if behind != "" {
		content = append(content, fmt.Sprintf(`{"type": "text", "text": %q}`, behind))
	}
	return fmt.Sprintf(`{"model": "writer", "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": [%s]}]%s}`,
		strings.Join(content, ", "), rest)
}

// completion is what is read of an answer.
type completion struct {
	ID      string `json:"id"`
	Created int64  `json:"created"`
	Model   string `json:"model"`
	Choices []struct {
		Message      struct{ Content string } `json:"message"`
		FinishReason string                   `json:"finish_reason"`
	} `json:"choices"`
	Usage struct {
		Prompt     int `json:"prompt_tokens"`
		Completion int `json:"completion_tokens"`
		Total      int `json:"total_tokens"`
	} `json:"usage"`
}

func TestAGeneratorContinuesTheCallersOwnMessages(t *testing.T) {
	now := time.Unix(5, 7)
	address := serve(t, compat.Config{Now: func() time.Time { return now }}, newWriter())
	image := rewardtest.Image(1, 8, 8)
	for name, tt := range map[string]struct {
		body string
		want reward.Continuation
	}{
		"the image before its text":  {chatOf(1, "", "what is this", ""), reward.Continuation{System: "be brief"}},
		"the image behind its text":  {chatOf(1, "what is this", "", ""), reward.Continuation{System: "be brief", ImageLast: true}},
		"a limit of tokens":          {chatOf(1, "", "what is this", `, "max_completion_tokens": 3`), reward.Continuation{System: "be brief", MaxNewTokens: 3}},
		"stop texts":                 {chatOf(1, "", "what is this", `, "stop": ["nobody", " is"]`), reward.Continuation{System: "be brief", Stop: []string{" is"}}},
		"a developer for the system": {strings.Replace(chatOf(1, "", "what is this", ""), "system", "developer", 1), reward.Continuation{System: "be brief"}},
	} {
		t.Run(name, func(t *testing.T) {
			status, got := exchange(t, address+"/v1/chat/completions", []byte(tt.body))
			var c completion
			if err := json.Unmarshal(got, &c); err != nil || status != http.StatusOK || len(c.Choices) != 1 {
				t.Fatalf("status %d, %v: %s", status, err, got)
			}
			want := rewardtest.Written(reward.Sample{Image: image, Prompt: "what is this", Continuation: tt.want})
			finish := map[bool]string{false: "stop", true: "length"}[want.Truncated]
			if c.Choices[0].Message.Content != want.Text || c.Choices[0].FinishReason != finish {
				t.Errorf("wrote %+v, want %+v", c.Choices[0], want)
			}
			if u := c.Usage; u.Prompt != want.PromptTokens || u.Completion != want.Tokens || u.Total != u.Prompt+u.Completion {
				t.Errorf("usage %+v, want %+v", u, want)
			}
			if c.Model != "writer" || c.Created != 5 || !strings.HasPrefix(c.ID, "chatcmpl-") {
				t.Errorf("answered as %+v", c)
			}
		})
	}
}

func TestWhatAGeneratorMayNotBeAskedIsNamed(t *testing.T) {
	address := serve(t, compat.Config{}, newWriter())
	for name, tt := range map[string]struct {
		body   string
		status int
		want   string
	}{
		"texts on both sides of the image": {chatOf(1, "a", "b", ""), 400, "messages[1].content: texts before the image and behind it"},
		"an empty stop text":               {chatOf(1, "", "a", `, "stop": ""`), 400, "stop: "},
		"a stop that is no text":           {chatOf(1, "", "a", `, "stop": [1]`), 400, "stop"},
		"a system that comes last":         {`{"model": "writer", "messages": [{"role": "system", "content": "a"}]}`, 400, "messages[0].role"},
		"an image in the system's message": {`{"model": "writer", "messages": [{"role": "system", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}]}, {"role": "user", "content": "a"}]}`, 400, "messages[0].content: an image"},
		"two messages of the user":         {strings.Replace(chatOf(1, "", "a", ""), "system", "user", 1), 400, "messages: 2"},
		"too many messages":                {`{"model": "writer", "messages": [` + strings.Repeat(`{"role": "user", "content": "a"}, `, 20) + `{}]}`, 400, "more than 16 messages"},
		"a file that is no image":          {strings.Replace(chatOf(1, "", "a", ""), "base64,iVBO", "base64,aVBO", 1), 415, "image_unsupported"},
		"what it fails at":                 {chatOf(1, "", "fail: a", ""), 500, "told to fail"},
	} {
		t.Run(name, func(t *testing.T) {
			status, got := exchange(t, address+"/v1/chat/completions", []byte(tt.body))
			if status != tt.status || !strings.Contains(string(got), tt.want) {
				t.Errorf("status %d, %s, want %d with %q", status, got, tt.status, tt.want)
			}
		})
	}
}

// Prompts that are continued queue with others and are evaluated in batches.
func TestManyPromptsAreContinuedAtATime(t *testing.T) {
	writer := newWriter()
	writer.Delay = 20 * time.Millisecond
	address := serve(t, compat.Config{}, writer)
	var callers sync.WaitGroup
	for seed := range uint64(24) {
		callers.Go(func() {
			status, got := exchange(t, address+"/v1/chat/completions", []byte(chatOf(seed, "", fmt.Sprint("number ", seed), "")))
			want := rewardtest.Written(reward.Sample{Image: rewardtest.Image(seed, 8, 8), Prompt: fmt.Sprint("number ", seed), Continuation: reward.Continuation{System: "be brief"}})
			if status != http.StatusOK || !strings.Contains(string(got), fmt.Sprintf("%q", want.Text)) {
				t.Errorf("seed %d: status %d, %s, want %q", seed, status, got, want.Text)
			}
		})
	}
	callers.Wait()
	if writer.Batches() >= writer.Samples() {
		t.Errorf("%d samples in %d batches", writer.Samples(), writer.Batches())
	}
}
