package remote

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/servertest"
	"github.com/denseflow/densereward/reward/wire"
)

// bad is the prompt of the sample that an endpoint answers with nonsense.
const bad = "the bad one"

// score has a whole server score samples of these prompts, in one group.
func score(t *testing.T, e reward.Evaluator, method reward.AdvantageMethod, prompts ...string) *wire.Response {
	t.Helper()
	web := httptest.NewServer(servertest.New(t, server.Config{}, e))
	defer web.Close()
	c, err := client.New(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	q := &wire.Request{Prompts: prompts, Advantage: &reward.Advantage{Method: method}}
	if len(e.Describe().Maps) == 0 {
		q.Return = []wire.Return{}
	}
	for _, p := range prompts {
		m := rewardtest.Image(uint64(len(p)), 16, 8)
		q.Images = append(q.Images, wire.Image{Tensor: reward.Uint8Tensor(m.Pix, m.Height, m.Width, 3)})
		q.Groups.Names = append(q.Groups.Names, "g")
	}
	p, err := c.Score(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// checkPoisoned holds that the bad sample has an error and NaN alone, and its
// neighbours what they have without it.
func checkPoisoned(t *testing.T, name string, e reward.Evaluator, method reward.AdvantageMethod) {
	t.Helper()
	with, without := score(t, e, method, "a", bad, "ccc"), score(t, e, method, "a", "ccc")
	if with.Errors[1] == nil || with.Errors[1].Code() != reward.ErrEvaluatorFailed.Code() {
		t.Errorf("%s, %s: error %v", name, method, with.Errors[1])
	}
	for _, v := range servertest.Numbers(t, with, 1) {
		if !math.IsNaN(v) {
			t.Errorf("%s, %s: the sample has a number: %v", name, method, v)
			break
		}
	}
	for good, at := range map[int]int{0: 0, 1: 2} {
		want, got := servertest.Numbers(t, without, good), servertest.Numbers(t, with, at)
		if with.Errors[at] != nil || fmt.Sprint(got) != fmt.Sprint(want) || strings.Contains(fmt.Sprint(got), "N") {
			t.Errorf("%s, %s: a neighbour has %.80q, without it %.80q, error %v", name, method, fmt.Sprint(got), fmt.Sprint(want), with.Errors[at])
		}
	}
}

func TestNonsenseOfAJudgeFailsItsSampleAlone(t *testing.T) {
	const usual = `{"choices": [{"finish_reason": "stop", "message": {"content": "Yes"}, "logprobs": {"content": [{"top_logprobs": [%s]}]}}]}`
	token := func(token, logprob string) string { return fmt.Sprintf(`{"token": %q, "logprob": %s}`, token, logprob) }
	for name, answer := range map[string]string{
		"NaN":                            fmt.Sprintf(usual, token("Yes", "NaN")),
		"null":                           fmt.Sprintf(usual, token("Yes", "null")),
		"null beside a number":           fmt.Sprintf(usual, token("Yes", "-0.1")+","+token("Yes", "null")),
		"a probability above 1":          fmt.Sprintf(usual, token("Yes", "0.5")),
		"an infinite probability":        fmt.Sprintf(usual, token("Yes", "1e4")),
		"a number beyond float64":        fmt.Sprintf(usual, token("Yes", "1e999")),
		"a text":                         fmt.Sprintf(usual, token("Yes", `"0"`)),
		"two that are more than 1":       fmt.Sprintf(usual, token("Yes", "-0.1")+","+token("Yes", "-0.1")),
		"no choice":                      `{"choices": []}`,
		"no content":                     `{"choices": [{"message": {"content": null}}]}`,
		"no tokens of the first place":   fmt.Sprintf(usual, ""),
		"no probabilities":               `{"choices": [{"finish_reason": "stop", "message": {"content": "Yes"}}]}`,
		"a refusal":                      `{"choices": [{"finish_reason": "stop", "message": {"content": null, "refusal": "I cannot look at this."}}]}`,
		"a refusal beside a text":        `{"choices": [{"finish_reason": "stop", "message": {"content": "", "refusal": "no"}}]}`,
		"a content filter":               strings.Replace(fmt.Sprintf(usual, token("Yes", "-0.1")), "stop", "content_filter", 1),
		"a stream that nobody asked for": "data: " + fmt.Sprintf(usual, token("Yes", "-0.1")) + "\n\ndata: [DONE]\n\n",
		"two answers":                    fmt.Sprintf(usual+usual, token("Yes", "-0.1"), token("Yes", "-0.1")),
		"an error under status 200":      `{"error": {"message": "out of memory"}}`,
		"nothing":                        ``,
	} {
		c := newChat(t, func(w http.ResponseWriter, _ *http.Request, q chatRequest) {
			if text := q.Messages[0].Content[1].Text; strings.Contains(text, bad) {
				fmt.Fprint(w, answer)
			} else {
				fmt.Fprintf(w, usual, token("Yes", strconv.Itoa(-len(text)%7)))
			}
		})
		checkPoisoned(t, name, newJudge(t, c, "yes-no", Options{Tries: 1}), reward.AdvantageFlowGRPO)
	}
}

func TestNonsenseOfAnImageModelFailsItsSampleAlone(t *testing.T) {
	for name, data := range map[string]string{
		"NaN": `[NaN]`, "null": `[null]`, "null first": `[null, 0.5]`, "null for all": `null`, "infinite": `[Infinity]`, "beyond float64": `[1e999]`,
		"beyond its range": `[5.1]`, "below its range": `[-0.01]`, "a text": `["0.5"]`, "nothing": `[]`, "nested": `[[0.5]]`, "a boolean": `[true]`,
	} {
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			good := fmt.Sprintf(`[%v]`, len(body)%5)
			if strings.Contains(string(body), bad) {
				good = data
			}
			fmt.Fprintf(w, `{"outputs": [{"name": "quality", "data": %s}]}`, good)
		}))
		k, err := NewKServe(inference(), Options{URL: web.URL, Tries: 1})
		if err != nil {
			t.Fatal(err)
		}
		checkPoisoned(t, name, k, reward.AdvantageFlowGRPO)
		web.Close()
	}
}

// noText travels as an array of eleven small integers.
const noText = "not a text!"

// spoiled is a DenseReward server whose answers are changed for the bad prompt.
func spoiled(t *testing.T, fake *rewardtest.Fake, spoil func(p *wire.Response, i int)) *httptest.Server {
	inner := serve(t, fake)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		again, err := http.NewRequestWithContext(r.Context(), r.Method, inner.URL+r.URL.Path, strings.NewReader(string(body)))
		if err != nil {
			t.Error(err)
			return
		}
		again.Header = r.Header
		answer, err := http.DefaultClient.Do(again)
		if err != nil {
			t.Error(err)
			return
		}
		defer answer.Body.Close()
		data, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", answer.Header.Get("Content-Type"))
		if r.URL.Path == wire.ScorePath {
			q, err := wire.DecodeRequest(body, wire.DefaultLimits())
			if err != nil {
				t.Error(err)
				return
			}
			p, err := wire.DecodeResponse(data)
			if err != nil {
				t.Error(err)
				return
			}
			for i, prompt := range q.Prompts {
				if prompt == bad {
					spoil(p, i)
				}
			}
			_, _ = w.Write(bytes.ReplaceAll(p.Encode().Bytes(), []byte("\xab"+noText), []byte("\x9b"+noText)))
			return
		}
		_, _ = w.Write(data)
	}))
	t.Cleanup(web.Close)
	return web
}

func TestNonsenseOfAnotherServerFailsItsSampleAlone(t *testing.T) {
	spoilScore := func(v float64) func(p *wire.Response, i int) {
		return func(p *wire.Response, i int) { p.Scores[1].Values[i] = v }
	}
	spoilMap := func(v float32) func(p *wire.Response, i int) {
		return func(p *wire.Response, i int) {
			t := p.Heatmaps[1].Maps
			values, _ := t.Float32s()
			values[i*t.Shape[1]*t.Shape[2]+3] = v
			p.Heatmaps[1].Maps = reward.Float32Tensor(values, t.Shape...)
		}
	}
	resize := func(height, width int) func(p *wire.Response, i int) {
		return func(p *wire.Response, i int) {
			for k := range p.Errors {
				p.Heatmaps[0].Each = append(p.Heatmaps[0].Each, wire.OfSample(p.Heatmaps[0].Maps, nil, k))
			}
			p.Heatmaps[0].Maps, p.Heatmaps[0].Each[i] = nil, reward.Float32Tensor(make([]float32, height*width), height, width)
		}
	}
	nan, inf := math.NaN(), math.Inf(1)
	for name, spoil := range map[string]func(p *wire.Response, i int){
		"a score that is NaN": spoilScore(nan), "infinite": spoilScore(inf), "infinite below": spoilScore(-inf), "above its range": spoilScore(1.01), "below": spoilScore(-0.01),
		"a map with NaN": spoilMap(float32(nan)), "with infinity": spoilMap(float32(inf)), "above 1": spoilMap(1.01), "below 0": spoilMap(-0.01),
		"a smaller map": resize(8, 8), "a map turned round": resize(4, 64), "a larger map": resize(17, 16),
		"an importance above 100": func(p *wire.Response, i int) { p.Boxes[i] = []reward.Box{{Importance: 1e30}} },
		"a missing part of no name": func(p *wire.Response, i int) {
			p.Missing[i] = []string{"beauty"}
		},
		"a missing part that is no text": func(p *wire.Response, i int) { p.Missing[i] = []string{noText} },
		"a text that is none":            func(p *wire.Response, i int) { p.Texts[i] = noText },
		"a box of NaN":                   func(p *wire.Response, i int) { p.Boxes[i] = []reward.Box{{Coords: [4]float64{nan, 0, 1, 1}}} },
		"a box without end":              func(p *wire.Response, i int) { p.Boxes[i] = []reward.Box{{Coords: [4]float64{0, 0, inf, 1}}} },
		"an importance of NaN":           func(p *wire.Response, i int) { p.Boxes[i] = []reward.Box{{}, {Importance: nan}} },
		"a label that is no text":        func(p *wire.Response, i int) { p.Boxes[i] = []reward.Box{{Label: noText}} },
		"an error without a code":        func(p *wire.Response, i int) { p.Errors[i] = new(reward.Error) },
	} {
		for _, method := range []reward.AdvantageMethod{reward.AdvantageFlowGRPO, reward.AdvantageDenseFlowPaper, reward.AdvantageGDPO} {
			s, err := NewServer(t.Context(), "", Options{URL: spoiled(t, &rewardtest.Fake{Side: 16}, spoil).URL})
			if err != nil {
				t.Fatal(err)
			}
			checkPoisoned(t, name, s, method)
		}
	}
}

// What an answer lacks of all samples, or another model says, fails all.
func TestAnAnswerThatIsNotTheEvaluatorsFailsAllItsSamples(t *testing.T) {
	for name, spoil := range map[string]func(p *wire.Response, i int){
		"a score is not there": func(p *wire.Response, _ int) { p.Scores = p.Scores[1:] },
		"a map is not there":   func(p *wire.Response, _ int) { p.Heatmaps = p.Heatmaps[1:] },
		"another model":        func(p *wire.Response, _ int) { p.Model = "another" },
	} {
		s, err := NewServer(t.Context(), "", Options{URL: spoiled(t, &rewardtest.Fake{Side: 16}, spoil).URL})
		if err != nil {
			t.Fatal(err)
		}
		p := score(t, s, reward.AdvantageFlowGRPO, "a", bad)
		for i := range p.Errors {
			if e := cmp.Or(p.Errors[i], reward.ErrInternal); e.Code() != reward.ErrEvaluatorFailed.Code() || !math.IsNaN(p.Rewards[i]) {
				t.Errorf("%s: sample %d: %v, reward %v", name, i, e, p.Rewards[i])
			}
		}
	}
}

// What the server there refuses as a whole for the sake of one sample costs that sample
// alone here.
func TestARefusalForOneSampleFailsThatSampleAlone(t *testing.T) {
	limits := wire.DefaultLimits()
	limits.PromptBytes = len(bad) - 1
	there := httptest.NewServer(servertest.New(t, server.Config{Limits: limits}, &rewardtest.Fake{Side: 16}))
	defer there.Close()
	s, err := NewServer(t.Context(), "", Options{URL: there.URL})
	if err != nil {
		t.Fatal(err)
	}
	checkPoisoned(t, "a prompt that is too long there", s, reward.AdvantageDenseFlowPaper)
}
