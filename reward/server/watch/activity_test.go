package watch_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"testing"
	"time"

	"github.com/denseflow/densereward/reward/groups"
	"github.com/denseflow/densereward/reward/server/watch"
)

func TestTheStateHasRequestsForScoresErrorsOfAnyKindAndGPUs(t *testing.T) {
	activity := watch.NewActivity()
	activity.Request("", true, 4*time.Millisecond)
	activity.Request("image_corrupt", true, time.Millisecond)
	activity.Request("", false, time.Second)
	activity.Request("not_found", false, time.Second)
	activity.GPUs(func() []watch.GPU { return []watch.GPU{{Used: 1 << 30, Total: 80 << 30}} })
	streams := watch.New(watch.Config{
		Activity: activity,
		Waiting:  func(string, int) ([]groups.Waiting, int) { return nil, 0 },
		Held:     func() int64 { return 0 },
		Ending:   func() bool { return true },
		Now:      time.Now,
	})
	var written bytes.Buffer
	if err := streams.Write(t.Context(), &written, "", func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	var state watch.State
	if err := json.Unmarshal(written.Bytes(), &state); err != nil {
		t.Fatal(err)
	}
	if len(state.GPUs) != 1 || state.GPUs[0].Used != 1<<30 {
		t.Errorf("GPUs %v, want the one", state.GPUs)
	}
	if state.Requests != 2 {
		t.Errorf("%d requests, want the 2 for scores", state.Requests)
	}
	if want := map[string]uint64{"image_corrupt": 1, "not_found": 1}; !maps.Equal(state.Errors, want) {
		t.Errorf("errors %v, want %v", state.Errors, want)
	}
	if state.Latency == nil || state.Latency.P99 != 4 {
		t.Errorf("latency %v, want that of the answered request for scores, 4 ms", state.Latency)
	}
}
