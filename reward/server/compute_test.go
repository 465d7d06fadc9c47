package server_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/servertest"
	"github.com/denseflow/densereward/reward/wire"
)

// flowFactory is a request as Flow-Factory's client builds it: every key is
// there, null where the trainer has nothing.
func flowFactory(prompts []string, files [][]byte) map[string]any {
	images := []string{}
	for _, f := range files {
		images = append(images, base64.StdEncoding.EncodeToString(f))
	}
	return map[string]any{
		"prompt": prompts, "image": images, "video": nil,
		"condition_images": nil, "condition_videos": nil, "kwargs": nil,
	}
}

// postCompute posts a body as Flow-Factory's client does.
func postCompute(t *testing.T, address, body string) (status int, rewards []float64, code, message string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address+"/compute", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	answer, text := servertest.Do(t, r, "application/json")
	var p struct {
		Rewards       []float64
		Code, Message string
	}
	if err := json.Unmarshal(text, &p); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return answer.StatusCode, p.Rewards, p.Code, p.Message
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// pngs are n images as files, with the rewards that the fake gives them for
// their prompts.
func pngs(n int) (prompts []string, files [][]byte, rewards []float64) {
	for i := range n {
		image := rewardtest.Image(uint64(i), 40, 30)
		prompt := fmt.Sprintf("a \"cat\", größe %d\n🐈", i)
		prompts, files = append(prompts, prompt), append(files, rewardtest.PNG(image))
		result := rewardtest.Answer(reward.Sample{Image: image, Prompt: prompt}, 64)
		rewards = append(rewards, (reward.Weighting{Scores: []float64{0.8, 0.1, 0.1, 0}}).Reward(result.Scores))
	}
	return prompts, files, rewards
}

func TestFlowFactorysRequestsAreAnswered(t *testing.T) {
	_, address := serveOver(t, &rewardtest.Fake{}, nil)
	prompts, files, want := pngs(5)
	singular := flowFactory(prompts, files)
	plural := map[string]any{"prompts": prompts, "images": singular["image"], "extra": map[string]any{"a": []any{1, nil, "x"}}}
	conditioned := flowFactory(prompts, files)
	conditioned["condition_images"] = [][]string{{"aGk="}, {}, {}, {}, {}}
	conditioned["kwargs"] = map[string]any{"metadata": []any{map[string]any{"seed": 1.5e3, "ok": true}}}
	for name, body := range map[string]string{
		"the client's keys":         mustJSON(t, singular),
		"the example server's keys": mustJSON(t, plural),
		"with conditions":           mustJSON(t, conditioned),
		"with escaped slashes":      strings.ReplaceAll(mustJSON(t, singular), "/", `\/`),
		"with space everywhere":     " " + strings.NewReplacer(",", " ,\n\t", ":", " :\r\n ", "[", "[ ", "]", " ]").Replace(plain(mustJSON(t, singular))) + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			status, got, code, message := postCompute(t, address, body)
			if status != http.StatusOK || len(got) != len(want) {
				t.Fatalf("status %d, %s: %s, rewards %v", status, code, message, got)
			}
			if name == "with space everywhere" {
				return // the prompts have it as well
			}
			for i := range want {
				if math.Abs(got[i]-want[i]) > 1e-15 {
					t.Errorf("image %d: reward %v, want %v", i, got[i], want[i])
				}
			}
		})
	}
}

// plain is a JSON text whose strings have no punctuation of JSON in them.
func plain(text string) string { return strings.ReplaceAll(text, `\"cat\",`, "cat") }

func TestFlowFactorysHealthCheckIsAnswered(t *testing.T) {
	_, address := serveOver(t, &rewardtest.Fake{}, nil)
	for path, want := range map[string]int{"/health": 200, "/load": 404, "/offload": 404} {
		method := http.MethodPost
		if want == 200 {
			method = http.MethodGet
		}
		r, err := http.NewRequestWithContext(t.Context(), method, address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%s: status %d, want %d", path, answer.StatusCode, want)
		}
	}
}

func TestFlowFactorysMistakesGetTheirErrors(t *testing.T) {
	_, address := serveOver(t, &rewardtest.Fake{}, nil)
	good := base64.StdEncoding.EncodeToString(rewardtest.PNG(rewardtest.Image(1, 8, 8)))
	one := func(image string) string { return `{"prompt": ["a"], "image": ["` + image + `"]}` }
	for name, c := range map[string]struct {
		body string
		want *reward.Error
	}{
		"nothing":                          {"", reward.ErrMalformedBody},
		"no object":                        {`["a"]`, reward.ErrMalformedBody},
		"msgpack":                          {"\x81\xa6prompt\x91\xa1a", reward.ErrMalformedBody},
		"no prompts":                       {`{"image": ["` + good + `"]}`, reward.ErrMissingField},
		"no images":                        {`{"prompt": ["a"], "image": null}`, reward.ErrMissingField},
		"no samples":                       {`{"prompt": [], "image": []}`, reward.ErrInvalidValue},
		"fewer images than prompts":        {`{"prompt": ["a", "b"], "image": ["` + good + `"]}`, reward.ErrImageCountMismatch},
		"prompts under both names":         {`{"prompt": ["a"], "prompts": ["a"]}`, reward.ErrMalformedBody},
		"a prompt that is a number":        {`{"prompt": [1]}`, reward.ErrMalformedBody},
		"a prompt of a megabyte":           {`{"prompt": ["` + strings.Repeat("a", 1<<20) + `"]}`, reward.ErrInvalidValue},
		"videos":                           {`{"prompt": ["a"], "video": [["` + good + `"]]}`, reward.ErrInvalidValue},
		"an image that is not base64":      {one("a*b="), reward.ErrImageCorrupt},
		"an image cut in its base64":       {one(good[:len(good)-5]), reward.ErrImageCorrupt},
		"an image that is cut short":       {one(good[:len(good)/8*4]), reward.ErrImageCorrupt},
		"a file of no known format":        {one("R0lGODlh"), reward.ErrImageUnsupported},
		"an empty file":                    {one(""), reward.ErrImageUnsupported},
		"300 prompts":                      {`{"prompt": [` + strings.Repeat(`"a",`, 299) + `"a"]}`, reward.ErrTooManyImages},
		"a body cut short":                 {one(good)[:40], reward.ErrMalformedBody},
		"a body cut after an escape":       {`{"prompt": ["a\`, reward.ErrMalformedBody},
		"a body cut after a colon":         {`{"prompt":`, reward.ErrMalformedBody},
		"bytes that follow":                {one(good) + "x", reward.ErrMalformedBody},
		"a comma too many":                 {`{"prompt": ["a",]}`, reward.ErrMalformedBody},
		"a control character":              {"{\"prompt\": [\"a\x00\"]}", reward.ErrMalformedBody},
		"an escape that is none":           {`{"prompt": ["\q"]}`, reward.ErrMalformedBody},
		"a number without end":             {`{"kwargs": ` + strings.Repeat("1", 1000) + `}`, reward.ErrMalformedBody},
		"five megabytes of nested arrays":  {`{"kwargs": ` + strings.Repeat("[", 5<<20), reward.ErrMalformedBody},
		"five megabytes of nested objects": {`{"kwargs": ` + strings.Repeat(`{"":`, 5<<18), reward.ErrMalformedBody},
		"a key of a megabyte":              {`{"` + strings.Repeat("a", 1<<20) + `": 1}`, reward.ErrInvalidValue},
	} {
		t.Run(name, func(t *testing.T) {
			var status int
			var code, message string
			grew := peak(func() { status, _, code, message = postCompute(t, address, c.body) })
			if code != c.want.Code() || status != c.want.Status() {
				t.Errorf("status %d, %s: %s; want %s", status, code, message, c.want.Code())
			}
			if grew > 64<<20 {
				t.Errorf("memory grew by %d bytes", grew)
			}
		})
	}
}

func TestAJSONThatIsNotSaidToBeOneIsRefused(t *testing.T) {
	_, address := serveOver(t, &rewardtest.Fake{}, nil)
	answer, err := http.Post(address+"/compute", "text/plain", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("status %d", answer.StatusCode)
	}
}

// full refuses its first calls.
type full struct {
	server.Scorer
	refusals int
}

func (f *full) Score(ctx context.Context, jobs []batch.Job) ([]batch.Outcome, error) {
	if f.refusals--; f.refusals >= 0 {
		for _, j := range jobs {
			if j.Release != nil {
				j.Release()
			}
		}
		return nil, &batch.OverloadError{RetryAfter: 10 * time.Millisecond}
	}
	return f.Scorer.Score(ctx, jobs)
}

func TestFlowFactoryWaitsForAFullQueue(t *testing.T) {
	refusing := func(n int) func(*server.Config) {
		return func(cfg *server.Config) { cfg.Models[0].Scorer = &full{cfg.Models[0].Scorer, n} }
	}
	prompts, files, want := pngs(3)
	body := mustJSON(t, flowFactory(prompts, files))
	_, address := serveOver(t, &rewardtest.Fake{}, refusing(3))
	if status, got, code, _ := postCompute(t, address, body); status != http.StatusOK || math.Abs(got[2]-want[2]) > 1e-15 {
		t.Errorf("status %d, %s, rewards %v, want %v", status, code, got, want)
	}
	c, _ := serveOver(t, &rewardtest.Fake{}, refusing(1))
	if _, err := c.Score(t.Context(), rollout(1, 8, 8)); !errors.Is(err, reward.ErrOverloaded) {
		t.Errorf("a client of protocol version 1: got %v", err)
	}
}

func TestAFullQueueNamesItsTime(t *testing.T) {
	_, address := serveOver(t, &rewardtest.Fake{}, func(cfg *server.Config) {
		cfg.Models[0].Scorer = &full{cfg.Models[0].Scorer, 1}
	})
	answer, err := http.Post(address+wire.ScorePath, wire.MediaType, bytes.NewReader(question(t, 1)))
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusTooManyRequests || answer.Header.Get("Retry-After") != "1" {
		t.Errorf("status %d, Retry-After %q", answer.StatusCode, answer.Header.Get("Retry-After"))
	}
}

// lacking is an evaluator whose answers lack a map.
type lacking struct{ *rewardtest.Fake }

func (e lacking) Evaluate(ctx context.Context, samples []reward.Sample) ([]reward.Result, error) {
	results, err := e.Fake.Evaluate(ctx, samples)
	for i := range results {
		results[i].Missing = []string{"artifact"}
		clear(results[i].Maps[1].Data)
	}
	return results, err
}

// A protocol that cannot say what becomes of what is missing has the server's policy.
func TestTheServersPolicyOfMissingPartsIsThatOfRequestsWithoutOne(t *testing.T) {
	prompts, files, _ := pngs(1)
	for policy, want := range map[reward.MissingPolicy]int{"": 200, reward.MissingZero: 200, reward.MissingError: 500} {
		scheduler, err := batch.New(batch.DefaultConfig(), lacking{&rewardtest.Fake{}})
		if err != nil {
			t.Fatal(err)
		}
		c, address := serveOver(t, &rewardtest.Fake{}, func(cfg *server.Config) { cfg.Missing, cfg.Models[0].Scorer = policy, scheduler })
		body := mustJSON(t, map[string]any{"prompts": prompts, "images": files})
		if status, _, code, _ := postCompute(t, address, body); status != want || (status == 500) != (code == "part_missing") {
			t.Errorf("%q: status %d, code %q", policy, status, code)
		}
		q := rollout(1, 16, 16)
		if p := mustScore(t, c, q); (p.Errors[0] != nil) != (policy == reward.MissingError) {
			t.Errorf("%q: %v", policy, p.Errors[0])
		}
		q.Missing = reward.MissingZero
		if p := mustScore(t, c, q); p.Errors[0] != nil {
			t.Errorf("%q: a request that says zero: %v", policy, p.Errors[0])
		}
	}
}
