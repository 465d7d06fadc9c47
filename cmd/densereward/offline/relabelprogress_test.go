package offline

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/denseflow/densereward/cmd/densereward/cli"
	"github.com/denseflow/densereward/reward/relabel"
)

func TestProgressIsALineNowAndThen(t *testing.T) {
	var said bytes.Buffer
	now := time.Unix(0, 0)
	m := newRelabelMeter(cli.Terminal{Err: &said}, func() time.Time { return now })
	m.report(relabel.Progress{Shards: 4, Finished: 1, Bytes: 100, AllBytes: 400}) // skipped
	p := relabel.Progress{Shards: 4, Finished: 1, AllBytes: 400}
	for i := range 6 { // a step every ten seconds
		now = now.Add(10 * time.Second)
		p.Samples += 20
		p.Resumed = 20
		p.Failed = 1
		p.RewardSum = float64(p.Samples-1) / 2
		p.Bytes = 100 + int64(i+1)*25
		m.report(p)
	}
	m.finish()
	type line struct {
		Shards, Finished, Samples, Failed int
		RewardMean                        float64 `json:"reward_mean"`
		Rate                              float64 `json:"samples_per_second"`
		ETA                               float64 `json:"eta_seconds"`
	}
	var got []line
	for d := json.NewDecoder(&said); d.More(); {
		var one line
		if err := d.Decode(&one); err != nil {
			t.Fatal(err)
		}
		got = append(got, one)
	}
	// 75 of 300 bytes in 30 seconds, then 150 in 60.
	want := []line{{4, 1, 60, 1, 0.5, 40.0 / 30, 90}, {4, 1, 120, 1, 0.5, 100.0 / 60, 60}}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("%+v, want %+v", got, want)
	}
}
