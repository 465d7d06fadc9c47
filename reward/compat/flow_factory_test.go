package compat_test

import (
	"net/http"
	"testing"

	"github.com/denseflow/densereward/reward/compat"
)

// testdata/record_flow_factory.py recorded them with Flow-Factory's remote reward models
// and processor, which took the answers and raised for the failures.
func TestFlowFactorysOwnRequestsAreAnswered(t *testing.T) {
	address := serve(t, compat.Config{})
	failures := 0
	for _, e := range readRecorded(t, "flow_factory.json") {
		t.Run(e.Name, func(t *testing.T) {
			status, got := exchange(t, address+e.Path, e.Request)
			if status != e.Status {
				t.Errorf("status %d, want %d", status, e.Status)
			}
			sameJSON(t, got, e.Response)
		})
		if e.Status != http.StatusOK {
			failures++
			if e.Raised == "" || e.Rewards != nil {
				t.Errorf("%s: the trainer raised %q and took the rewards %v", e.Name, e.Raised, e.Rewards)
			}
		}
	}
	if failures == 0 {
		t.Error("no failure was recorded")
	}
}
