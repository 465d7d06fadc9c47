package remote

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/judge"
	"github.com/denseflow/densereward/reward/rewardtest"
)

// oneNumber is a judge file that takes any number for its score, within 0 and 9.
func oneNumber(tb testing.TB) *judge.File {
	tb.Helper()
	f, err := judge.Parse([]byte("name = \"a\"\nprompt = \"{prompt}\"\n[[score]]\nname = \"s\"\npattern = '(\\S+)'\nmin = 0\nmax = 9\n"))
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

func TestWhatIsNoNumberIsNoScore(t *testing.T) {
	for _, said := range []string{"NaN", "Infinity", "-Inf", "1e999", "null", "10", "-0.5", "٣", "0x3"} {
		c := newChat(t, func(w http.ResponseWriter, _ *http.Request, _ chatRequest) { say(w, said, "stop") })
		j, err := NewJudge(oneNumber(t), "a-model", Options{URL: c.URL + "/v1"})
		if err != nil {
			t.Fatal(err)
		}
		results, err := j.Evaluate(t.Context(), samples("x"))
		if err != nil {
			t.Fatal(err)
		}
		if r := results[0]; !errors.Is(r.Err, reward.ErrEvaluatorFailed) || r.Scores != nil {
			t.Errorf("%q: scores %v, missing %q, error %v", said, r.Scores, r.Missing, r.Err)
		}
	}
}

func TestAnAnswerThatComesInPiecesIsRead(t *testing.T) {
	c := newChat(t, func(w http.ResponseWriter, _ *http.Request, _ chatRequest) {
		for _, b := range []byte(`{"choices": [{"finish_reason": "stop", "message": {"content": "7"}}]}`) {
			_, _ = w.Write([]byte{b})
			_ = http.NewResponseController(w).Flush()
		}
	})
	j, err := NewJudge(oneNumber(t), "a-model", Options{URL: c.URL + "/v1"})
	if err != nil {
		t.Fatal(err)
	}
	results, err := j.Evaluate(t.Context(), samples("x"))
	if err != nil || results[0].Err != nil || results[0].Scores[0] != 7 {
		t.Errorf("%+v, %v", results[0], err)
	}
}

// BenchmarkJudge is what a judge costs beside the model: images become files in a request,
// its answer is read. The stub's own part is in it.
func BenchmarkJudge(b *testing.B) {
	for _, side := range []int{256, 512, 1024} {
		b.Run(fmt.Sprint(side), func(b *testing.B) {
			c := newChat(b, func(w http.ResponseWriter, _ *http.Request, _ chatRequest) { say(w, "7", "stop") })
			j, err := NewJudge(oneNumber(b), "a-model", Options{URL: c.URL + "/v1", Concurrency: 8})
			if err != nil {
				b.Fatal(err)
			}
			const batch = 16
			var all []reward.Sample
			for i := range batch {
				all = append(all, reward.Sample{Image: rewardtest.Image(uint64(i), side, side), Prompt: "x"})
			}
			for b.Loop() {
				if _, err := j.Evaluate(b.Context(), all); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(b.Elapsed().Seconds()*1000/float64(b.N*batch), "ms/image")
		})
	}
}
