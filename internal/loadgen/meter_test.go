package loadgen_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/denseflow/densereward/internal/loadgen"
)

func TestTheMeterReadsProcessorTimeFromMetrics(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       time.Duration
		ok         bool
	}{
		{"among others", "# HELP process_cpu_seconds_total x\nother 1\nprocess_cpu_seconds_total 1.25\n", 1250 * time.Millisecond, true},
		{"not there", "other 1\n", 0, false},
		{"not a number", "process_cpu_seconds_total many\n", 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "Bearer secret" {
					t.Errorf("header %v", r.Header)
				}
				if _, err := io.WriteString(w, tt.text); err != nil {
					t.Error(err)
				}
			}))
			defer web.Close()
			m := &loadgen.Meter{URL: web.URL, Token: "secret", Client: web.Client()}
			if m.Works(t.Context()) != tt.ok || m.CPU() != tt.want {
				t.Errorf("works %v, %v; want %v, %v", m.Works(t.Context()), m.CPU(), tt.ok, tt.want)
			}
		})
	}
	m := &loadgen.Meter{URL: "http://127.0.0.1:1", Client: http.DefaultClient}
	if m.Works(t.Context()) || m.CPU() != 0 {
		t.Error("nobody's metrics were read")
	}
}
