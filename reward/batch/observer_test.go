package batch_test

import (
	"regexp"
	"testing"

	"github.com/denseflow/densereward/reward/batch"
)

func TestEveryEventAndStageHasANameOfItsOwn(t *testing.T) {
	plain := regexp.MustCompile(`^[a-z_]+$`)
	seen := map[string]bool{}
	check := func(name string) {
		if seen[name] || !plain.MatchString(name) {
			t.Errorf("name %q", name)
		}
		seen[name] = true
	}
	for e := range batch.Event(batch.NumEvents) {
		check(e.String())
	}
	for s := range batch.Stage(batch.NumStages) {
		check(s.String())
	}
}
