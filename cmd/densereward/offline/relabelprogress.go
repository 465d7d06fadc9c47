package offline

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/denseflow/densereward/cmd/densereward/cli"
	"github.com/denseflow/densereward/reward/relabel"
)

// RelabelSummary is what is printed of a run: at its end, and now and then.
type RelabelSummary struct {
	Shards     int            `json:"shards"`
	Finished   int            `json:"finished"`
	Skipped    int            `json:"skipped"`
	Unreadable int            `json:"unreadable"`
	Samples    int            `json:"samples"`
	Resumed    int            `json:"resumed"`
	Failed     int            `json:"failed"`
	Errors     map[string]int `json:"errors"`
	RewardMean float64        `json:"reward_mean"`

	ColumnPrefix string `json:"column_prefix,omitempty"` // of the new columns
}

func newRelabelSummary(s *relabel.Summary, prefix string) RelabelSummary {
	return RelabelSummary{
		Shards: s.Shards, Finished: s.Finished, Skipped: s.Skipped, Unreadable: s.Unreadable, Samples: s.Samples, Resumed: s.Resumed,
		Failed: s.Failed, Errors: s.Errors, RewardMean: s.RewardMean(), ColumnPrefix: prefix,
	}
}

// relabelMeter shows how far a run has come: a bar on a terminal, a JSON line now
// and then elsewhere.
type relabelMeter struct {
	out    io.Writer
	bar    *progressbar.ProgressBar // nil where there is no terminal
	now    func() time.Time
	start  time.Time
	last   time.Time // of a line
	bytes  int64     // when the run began: what was skipped
	before bool      // bytes is known
}

// relabelLineEvery is how often a line is written.
const relabelLineEvery = 30 * time.Second

func newRelabelMeter(t cli.Terminal, now func() time.Time) *relabelMeter {
	m := &relabelMeter{out: t.Err, now: now, start: now(), last: now()}
	if file, ok := t.Err.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		m.bar = progressbar.NewOptions64(-1,
			progressbar.OptionSetWriter(t.Err), progressbar.OptionShowBytes(false), progressbar.OptionSetPredictTime(true),
			progressbar.OptionFullWidth(), progressbar.OptionThrottle(200*time.Millisecond), progressbar.OptionClearOnFinish())
	}
	return m
}

func (m *relabelMeter) report(p relabel.Progress) {
	if !m.before && p.Samples == 0 { // shards that were finished before
		m.bytes = p.Bytes
	}
	m.before = m.before || p.Samples > 0
	now := m.now()
	rate := float64(p.Samples-p.Resumed) / max(now.Sub(m.start).Seconds(), 1e-9)
	if m.bar != nil {
		m.bar.ChangeMax64(max(p.AllBytes, 1))
		m.bar.Describe(fmt.Sprintf("%d/%d shards, %d samples, %.1f/s, %d failed, reward %.3f", p.Finished, p.Shards, p.Samples, rate, p.Failed, p.RewardMean()))
		_ = m.bar.Set64(p.Bytes) // a bar that cannot be drawn stops nothing
		return
	}
	if now.Sub(m.last) < relabelLineEvery {
		return
	}
	m.last = now
	line := struct {
		Shards     int     `json:"shards"`
		Finished   int     `json:"finished"`
		Samples    int     `json:"samples"`
		Failed     int     `json:"failed"`
		RewardMean float64 `json:"reward_mean"`
		Rate       float64 `json:"samples_per_second"`
		ETA        float64 `json:"eta_seconds"` // 0 where the inputs' sizes are not known
	}{p.Shards, p.Finished, p.Samples, p.Failed, p.RewardMean(), rate, m.eta(p, now)}
	_ = json.NewEncoder(m.out).Encode(line) // nobody is left to tell
}

// eta is how many seconds are left, by the bytes of the inputs.
func (m *relabelMeter) eta(p relabel.Progress, now time.Time) float64 {
	done := float64(p.Bytes - m.bytes)
	if done <= 0 || p.AllBytes < p.Bytes {
		return 0
	}
	return now.Sub(m.start).Seconds() * float64(p.AllBytes-p.Bytes) / done
}

func (m *relabelMeter) finish() {
	if m.bar != nil {
		_ = m.bar.Finish() // a bar that cannot be drawn stops nothing
	}
}
