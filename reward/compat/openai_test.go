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

// testdata/check_openai.py recorded them with OpenAI's client for Python, which took
// the answers and raised for the failures. It looks at ids and times.
func TestOpenAIsOwnRequestsAreAnswered(t *testing.T) {
	address := serve(t, compat.Config{}, newWriter())
	for _, e := range readRecorded(t, "openai.json") {
		t.Run(e.Name, func(t *testing.T) {
			status, got := exchange(t, address+e.Path, e.Request)
			if status != e.Status {
				t.Errorf("status %d, want %d", status, e.Status)
			}
			var answer map[string]any
			if err := json.Unmarshal(got, &answer); err != nil {
				t.Fatal(err)
			}
			if status == http.StatusOK && (!strings.HasPrefix(fmt.Sprint(answer["id"]), "chatcmpl-") || answer["created"] == 0.0) {
				t.Errorf("no id or time: %s", got)
			}
			delete(answer, "id")
			delete(answer, "created")
			text, err := json.Marshal(answer)
			if err != nil {
				t.Fatal(err)
			}
			sameJSON(t, text, e.Response)
		})
	}
}

func TestWhatAChatMayNotAskForIsNamed(t *testing.T) {
	address := serve(t, compat.Config{})
	uri := "data:image/png;base64," + base64.StdEncoding.EncodeToString(rewardtest.PNG(rewardtest.Image(1, 8, 8)))
	image := fmt.Sprintf(`{"type": "image_url", "image_url": {"url": %q, "detail": "high"}}`, uri)
	chat := func(content, rest string) string {
		return fmt.Sprintf(`{"model": "fake", "messages": [{"role": "user", "content": [%s]}]%s}`, content, rest)
	}
	const text = `{"type": "text", "text": "a cat"}`
	for name, tt := range map[string]struct {
		body   string
		status int
		want   string
	}{
		"an image and a prompt":        {chat(image+","+text, ""), 200, "fake: a cat"},
		"an address that is flat":      {chat(fmt.Sprintf(`{"type": "image_url", "image_url": %q}`, uri)+","+text, ""), 200, "fake: a cat"},
		"what other servers know":      {chat(image+","+text, `, "seed": 1, "top_k": 5, "stop": null, "stream": false, "n": 1`), 200, "fake: a cat"},
		"no text":                      {chat(image, ""), 400, "messages[0].content: want the image's prompt"},
		"no messages":                  {`{"model": "fake"}`, 400, "messages: 0"},
		"a message without role":       {`{"messages": [{"content": "a"}]}`, 400, "messages[0]: role: required"},
		"an assistant's message":       {`{"messages": [{"role": "assistant", "content": "a"}]}`, 400, "messages[0].role"},
		"sound":                        {chat(`{"type": "input_audio"}`, ""), 400, "messages[0].content[0].type"},
		"tools":                        {chat(image+","+text, `, "tools": []`), 400, "tools: "},
		"log-probs":                    {chat(image+","+text, `, "logprobs": true`), 400, "logprobs: "},
		"no tokens":                    {chat(image+","+text, `, "max_tokens": 0`), 400, "max_tokens: 0"},
		"an unknown mode":              {chat(image+","+text, `, "mode": "dream"`), 400, "mode: \"dream\""},
		"a body that ends":             {`{"messages": [{"role"`, 400, "malformed_body"},
		"a picture of nothing":         {chat(`{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},`+text, ""), 415, "image_unsupported"},
		"a drawing that is not base64": {chat(`{"type": "image_url", "image_url": {"url": "data:image/svg+xml,<svg/>"}},`+text, ""), 400, "want a data URI with base64"},
	} {
		t.Run(name, func(t *testing.T) {
			status, got := exchange(t, address+"/v1/chat/completions", []byte(tt.body))
			if status != tt.status || !strings.Contains(string(got), strings.ReplaceAll(tt.want, `"`, `\"`)) {
				t.Errorf("status %d, %s, want %d with %q", status, got, tt.status, tt.want)
			}
		})
	}
}
