package ort

import (
	"maps"
	"testing"
)

func TestThreadsSpinOnlyWhereSomebodyAsksForIt(t *testing.T) {
	for name, test := range map[string]struct {
		o    SessionOptions
		want map[string]string
	}{
		"nothing said": {SessionOptions{}, map[string]string{spinning: "0"}},
		"asked for":    {SessionOptions{ConfigEntries: map[string]string{spinning: "1", "a": "b"}}, map[string]string{spinning: "1", "a": "b"}},
		"a folder":     {SessionOptions{InitializersDir: "d"}, map[string]string{spinning: "0", initializersDir: "d"}},
	} {
		if got := test.o.entries(); !maps.Equal(got, test.want) {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}
