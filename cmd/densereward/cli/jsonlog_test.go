package cli

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestAJSONLogHoldsNothingElse(t *testing.T) {
	var out bytes.Buffer
	w := NewJSONLog(&out)
	slog.New(slog.NewJSONHandler(w, JSONLogOptions(slog.LevelInfo))).Info("request", "took", 1500*time.Millisecond, "status", 200)
	Terminal{Err: w}.Say("no --model: %s", "a \"demonstration\"\nof two lines")
	want := []map[string]any{
		{"level": "INFO", "msg": "request", "took_seconds": 1.5, "status": 200.0},
		{"level": "WARN", "msg": `no --model: a "demonstration"`},
		{"level": "WARN", "msg": "of two lines"},
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d lines: %s", len(lines), out.String())
	}
	for i, line := range lines {
		var got map[string]any
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		for key, value := range want[i] {
			if got[key] != value {
				t.Errorf("%s is %v in %s, want %v", key, got[key], line, value)
			}
		}
	}
}
