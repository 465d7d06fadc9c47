package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http/httptest"
	"testing"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/wire"
)

// serveOver starts a server over real HTTP with a client of it that tries
// once; change may be nil.
func serveOver(t testing.TB, fake *rewardtest.Fake, change func(*server.Config)) (*client.Client, string) {
	t.Helper()
	scheduler, err := batch.New(batch.DefaultConfig(), fake)
	if err != nil {
		t.Fatal(err)
	}
	cfg := server.Config{
		Models: []server.Model{{Description: fake.Describe(), Scorer: scheduler}},
		Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&cfg)
	}
	s, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	c, err := client.New(web.URL, client.WithTries(1))
	if err != nil {
		t.Fatal(err)
	}
	return c, web.URL
}

// rollout is a request for n images of a size, as tensors.
func rollout(n, width, height int) *wire.Request {
	q := &wire.Request{}
	for i := range n {
		q.Prompts = append(q.Prompts, "a cat")
		q.Images = append(q.Images, wire.Image{Tensor: rewardtest.Tensor(rewardtest.Image(uint64(i), width, height))})
	}
	return q
}

// scored is what the fake says of image i of a rollout.
func scored(i, width, height int, mode reward.Mode) reward.Result {
	return rewardtest.Answer(reward.Sample{Image: rewardtest.Image(uint64(i), width, height), Prompt: "a cat", Mode: mode}, 64)
}

func mustScore(t testing.TB, c *client.Client, q *wire.Request) *wire.Response {
	t.Helper()
	p, err := c.Score(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustFail(t testing.TB, c *client.Client, q *wire.Request, want *reward.Error) {
	t.Helper()
	if _, err := c.Score(context.Background(), q); !errors.Is(err, want) {
		t.Errorf("got %v, want %s", err, want.Code())
	}
}

func TestEachImageGetsItsOwnScores(t *testing.T) {
	c, _ := serveOver(t, &rewardtest.Fake{}, nil)
	p := mustScore(t, c, rollout(8, 64, 48))
	for i := range 8 {
		want := scored(i, 64, 48, reward.ModeAnswer)
		for s := range want.Scores {
			if p.Scores[s].Values[i] != want.Scores[s] {
				t.Errorf("sample %d: %s is %v, want %v", i, p.Scores[s].Name, p.Scores[s].Values[i], want.Scores[s])
			}
		}
		if r := 0.8*want.Scores[0] + 0.1*want.Scores[1] + 0.1*want.Scores[2]; math.Abs(p.Rewards[i]-r) > 1e-15 {
			t.Errorf("sample %d: reward %v, want %v", i, p.Rewards[i], r)
		}
	}
	if p.Evaluator != "fake" || p.Model != "fake" {
		t.Errorf("evaluator %q, model %q", p.Evaluator, p.Model)
	}
	if p.Texts != nil || p.Boxes != nil || p.Heatmaps != nil || p.Advantages != nil || p.Dense == nil {
		t.Error("the parts are not those of a request that names none")
	}
	for _, stage := range []string{"read", "decode", "queue", "prepare", "wait", "evaluate", "score", "maps", "groups", "total"} {
		if ms, ok := p.TimingMS[stage]; !ok || ms < 0 {
			t.Errorf("timing_ms.%s is %v, %v", stage, ms, ok)
		}
	}
}

func TestEveryFormOfAnImageGivesTheSameAnswer(t *testing.T) {
	image := rewardtest.Image(7, 24, 16)
	planes := make([]uint8, len(image.Pix))
	floats := make([]float32, len(image.Pix))
	for i, v := range image.Pix {
		planes[i%3*24*16+i/3] = v
		floats[i] = float32(v) / 255
	}
	q := &wire.Request{Return: []wire.Return{}}
	for _, p := range []wire.Image{
		{Encoded: rewardtest.PNG(image)},
		{Tensor: rewardtest.Tensor(image)},
		{Tensor: reward.Uint8Tensor(planes, 3, 16, 24)},
		{Tensor: reward.Float32Tensor(floats, 16, 24, 3)},
	} {
		q.Prompts, q.Images = append(q.Prompts, "a cat"), append(q.Images, p)
	}
	c, _ := serveOver(t, &rewardtest.Fake{}, nil)
	p := mustScore(t, c, q)
	for i, r := range p.Rewards {
		if r != p.Rewards[0] || p.Errors[i] != nil {
			t.Errorf("form %d: reward %v (%v), want %v", i, r, p.Errors[i], p.Rewards[0])
		}
	}
	if p.Dense != nil {
		t.Error("maps came though scores alone were asked for")
	}
}

func TestEverythingThatIsAskedForComes(t *testing.T) {
	c, _ := serveOver(t, &rewardtest.Fake{}, nil)
	q := rollout(2, 32, 32)
	q.Mode = reward.ModeThink
	q.Return = []wire.Return{wire.ReturnHeatmaps, wire.ReturnText, wire.ReturnBoxes}
	p := mustScore(t, c, q)
	if p.Dense != nil {
		t.Error("dense maps were not asked for")
	}
	for i := range 2 {
		want := scored(i, 32, 32, reward.ModeThink)
		if p.Texts[i] != want.Text {
			t.Errorf("text %q, want %q", p.Texts[i], want.Text)
		}
		if len(p.Boxes[i]) != 2 || p.Boxes[i][0] != want.Boxes[0] {
			t.Errorf("boxes %v, want %v", p.Boxes[i], want.Boxes)
		}
		got, err := p.Heatmap("artifact").Float32s()
		if err != nil {
			t.Fatal(err)
		}
		if got[i*64*64+5] != want.Maps[1].Data[5] {
			t.Errorf("artifact heatmap %v, want %v", got[i*64*64+5], want.Maps[1].Data[5])
		}
	}
}

func TestOneBadImageNeverFailsItsBatch(t *testing.T) {
	c, _ := serveOver(t, &rewardtest.Fake{}, nil)
	q := rollout(3, 32, 32)
	q.Images[1] = wire.Image{Encoded: []byte("\x89PNG\r\n\x1a\nnot really")}
	q.Advantage = &reward.Advantage{Method: reward.AdvantageDenseFlow}
	q.Return = []wire.Return{wire.ReturnDense, wire.ReturnHeatmaps, wire.ReturnText, wire.ReturnBoxes}
	p := mustScore(t, c, q)
	if !errors.Is(p.Errors[1], reward.ErrImageCorrupt) || p.Errors[0] != nil || p.Errors[2] != nil {
		t.Fatalf("errors are %v", p.Errors)
	}
	if !math.IsNaN(p.Rewards[1]) || !math.IsNaN(p.Scores[2].Values[1]) || math.IsNaN(p.Rewards[2]) {
		t.Errorf("rewards are %v", p.Rewards)
	}
	for name, tensor := range map[string]*reward.Tensor{
		"weight": p.Dense.Weight, "reward": p.Dense.Reward, "advantages": p.Advantages, "heatmap": p.Heatmap("misalignment"),
	} {
		values, err := tensor.Float64s()
		if err != nil {
			t.Fatal(err)
		}
		n := len(values) / 3
		for i, v := range values {
			if math.IsNaN(v) != (i/n == 1) {
				t.Fatalf("%s: %v at %d of sample %d", name, v, i%n, i/n)
			}
		}
	}
	if p.Texts[1] != "" || len(p.Boxes[1]) != 0 {
		t.Error("a failed sample has a text or boxes")
	}
}

func TestSamplesThatTheEvaluatorSpoilsFail(t *testing.T) {
	for name, spoil := range map[string]func(*reward.Result){
		"a score that is NaN":       func(r *reward.Result) { r.Scores[0] = math.NaN() },
		"a score past 1":            func(r *reward.Result) { r.Scores[3] = 1.5 },
		"a heatmap cut short":       func(r *reward.Result) { r.Maps[1].Data = r.Maps[1].Data[1:] },
		"a heatmap of another size": func(r *reward.Result) { r.Maps[1] = reward.Map{Height: 1, Width: 1, Data: []float32{0}} },
		"a box at infinity":         func(r *reward.Result) { r.Boxes = []reward.Box{{Importance: math.Inf(1)}} },
	} {
		c, _ := serveOver(t, &rewardtest.Fake{}, func(cfg *server.Config) {
			cfg.Models[0].Scorer = spoiling{cfg.Models[0].Scorer, spoil}
		})
		p := mustScore(t, c, rollout(2, 32, 32))
		if !errors.Is(p.Errors[0], reward.ErrEvaluatorFailed) || p.Errors[1] != nil {
			t.Errorf("%s: errors are %v", name, p.Errors)
		}
	}
}

// spoiling changes the first result of each request.
type spoiling struct {
	server.Scorer
	spoil func(*reward.Result)
}

func (s spoiling) Score(ctx context.Context, jobs []batch.Job) ([]batch.Outcome, error) {
	outcomes, err := s.Scorer.Score(ctx, jobs)
	if err == nil {
		s.spoil(&outcomes[0].Result)
	}
	return outcomes, err
}

func TestRequestsNameWhatTheServerHas(t *testing.T) {
	answerOnly := &rewardtest.Fake{Name: "answers"}
	c, _ := serveOver(t, &rewardtest.Fake{}, func(cfg *server.Config) {
		scheduler, err := batch.New(batch.DefaultConfig(), answerOnly)
		if err != nil {
			t.Fatal(err)
		}
		about := answerOnly.Describe()
		about.Modes = []reward.Mode{reward.ModeAnswer}
		cfg.Models = append(cfg.Models, server.Model{Description: about, Scorer: scheduler})
	})
	q := rollout(1, 32, 32)
	q.Evaluator = "answers"
	if p := mustScore(t, c, q); p.Evaluator != "answers" || answerOnly.Samples() != 1 {
		t.Errorf("%q answered, and the one that was named had %d samples", p.Evaluator, answerOnly.Samples())
	}
	q.Mode = reward.ModeThink
	mustFail(t, c, q, reward.ErrUnsupportedMode)
	q.Evaluator = "nobody"
	mustFail(t, c, q, reward.ErrUnknownEvaluator)
	q.Mode, q.Evaluator = "", ""
	q.Weights = &reward.Weights{Scores: map[string]float64{"cat": 1}}
	mustFail(t, c, q, reward.ErrUnknownField)
	q.Weights = &reward.Weights{Maps: map[string]float64{"cat": 1}}
	mustFail(t, c, q, reward.ErrUnknownField)
	q.Weights = nil
	q.Evaluator, q.Images, q.VAE = "", nil, "sd3"
	q.Latents = reward.Float32Tensor(make([]float32, 64), 1, 4, 4, 4)
	mustFail(t, c, q, reward.ErrUnknownVAE)
	images := rollout(1, 32, 32)
	images.Return = []wire.Return{wire.ReturnImages}
	mustFail(t, c, images, reward.ErrInvalidValue)
}

func TestAServerNeedsModelsWithNamesOfTheirOwn(t *testing.T) {
	if _, err := server.New(server.Config{}); err == nil {
		t.Error("a server without a model was made")
	}
	m := server.Model{Description: (&rewardtest.Fake{}).Describe()}
	if _, err := server.New(server.Config{Models: []server.Model{m, m}}); err == nil {
		t.Error("two models share a name")
	}
}

// An evaluator that has little in common with ImageDoctor: one score without an
// upper bound, and no maps.
func TestAnEvaluatorWithOneScoreAndNoMapsIsServed(t *testing.T) {
	fake := &rewardtest.Fake{Name: "colours", Scores: []reward.ScoreSpec{{Name: "colourfulness", Max: 200, Weight: 0.5, Doc: "M"}}, Maps: []reward.MapSpec{}}
	c, _ := serveOver(t, fake, nil)
	p := mustScore(t, c, rollout(2, 32, 32))
	if p.Dense != nil || p.Heatmaps != nil || len(p.Scores) != 1 || p.Scores[0].Name != "colourfulness" {
		t.Errorf("got %+v", p)
	}
	if r := p.Score("colourfulness")[0]; r < 0 || r > 200 || p.Rewards[0] != r/2 {
		t.Errorf("score %v, reward %v", r, p.Rewards[0])
	}
	for _, part := range []wire.Return{wire.ReturnDense, wire.ReturnHeatmaps} {
		q := rollout(1, 32, 32)
		q.Return = []wire.Return{part}
		mustFail(t, c, q, reward.ErrInvalidValue)
	}
	q := rollout(2, 32, 32)
	q.Advantage = &reward.Advantage{Method: reward.AdvantageFlowGRPO}
	q.Weights = &reward.Weights{Scores: map[string]float64{"colourfulness": 2}}
	if p := mustScore(t, c, q); p.Rewards[1] != 2*p.Scores[0].Values[1] || p.Advantages == nil {
		t.Errorf("rewards %v of %v", p.Rewards, p.Scores[0].Values)
	}
}

func TestUnboundedScoresAreListedWithNull(t *testing.T) {
	s := newStack(t, &rewardtest.Fake{Scores: []reward.ScoreSpec{{Name: "logit", Min: math.Inf(-1), Max: math.Inf(1), Weight: 1}}}, nil)
	var list struct {
		Evaluators []struct {
			Kind   string
			Scores []map[string]any
			Maps   []map[string]any
		}
	}
	if err := json.Unmarshal(get(t, s.server, wire.ModelsPath).Body.Bytes(), &list); err != nil {
		t.Fatal(err)
	}
	e := list.Evaluators[0]
	min, listed := e.Scores[0]["min"]
	if !listed || min != nil || e.Scores[0]["max"] != nil || e.Scores[0]["weight"] != 1.0 || len(e.Maps) != 2 || e.Maps[0]["height"] != 64.0 {
		t.Errorf("listed %+v", e)
	}
}
