package telemetry

import (
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/scoring"
	"github.com/denseflow/densereward/reward/server/watch"
)

// scrape is what GET /metrics says.
func scrape(m *Metrics) string {
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

func contain(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
}

func TestWhatWasFoundIsCounted(t *testing.T) {
	m := NewMetrics("test")
	d := (&rewardtest.Fake{}).Describe()
	m.Describe(d)
	m.Describe(d) // as a second server of the same metrics does
	scores := make([]float64, len(d.Scores))
	for i := range scores {
		scores[i] = .5
	}
	scored := batch.Outcome{Result: reward.Result{Scores: scores, Missing: []string{d.Scores[0].Name}, Trace: reward.Trace{GeneratedIDs: make([]int32, 30)}}}
	m.Found(&scoring.Evaluated{
		Evaluator: d, Outcomes: []batch.Outcome{scored, {}}, Warnings: []string{"a", "b"},
		Errors: []*reward.Error{nil, reward.ErrInternal}, Rewards: []float64{.42, math.NaN()},
	})
	contain(t, scrape(m),
		`densereward_warnings_total 2`,
		`densereward_missing_parts_total{model="fake",part="semantic_alignment"} 1`,
		`densereward_rewards_count{model="fake"} 1`, `densereward_rewards_sum{model="fake"} 0.42`,
		`densereward_rewards_bucket{model="fake",le="0.4"} 0`, `densereward_rewards_bucket{model="fake",le="0.45"} 1`,
		`densereward_scores_count{model="fake",score="semantic_alignment"} 0`, `densereward_scores_count{model="fake",score="overall"} 1`,
		`densereward_answer_tokens_bucket{model="fake",le="16"} 0`, `densereward_answer_tokens_bucket{model="fake",le="32"} 1`,
	)
}

func TestAScoreWithoutBoundsHasBuckets(t *testing.T) {
	for _, b := range [][]float64{between(0, 1), between(math.Inf(-1), 1), between(0, 0), between(-3, 5)} {
		if len(b) != buckets || math.IsNaN(b[0]) || math.IsInf(b[buckets-1], 0) || b[0] >= b[1] {
			t.Errorf("buckets %v", b)
		}
	}
}

func TestGPUsHaveTheirMemory(t *testing.T) {
	m := NewMetrics("test")
	if strings.Contains(scrape(m), "gpu") {
		t.Error("a machine without a driver has series of GPUs")
	}
	m.WatchGPUs(func() []watch.GPU {
		return []watch.GPU{{Used: 1 << 30, Total: 80 << 30}, {Used: 2 << 30, Total: 80 << 30}}
	})
	text := scrape(m)
	contain(t, text, `densereward_gpu_memory_bytes{gpu="1",state="used"} 2.147483648e+09`, `densereward_gpu_memory_bytes{gpu="0",state="total"} 8.589934592e+10`)
	if strings.Contains(text, `gpu="2"`) {
		t.Error("there is a third GPU")
	}
}
