package server

import (
	"net/http"
	"net/http/pprof"
)

// DebugHandler is for a private listener: profiles of the process, under
// /debug/pprof/, and its metrics. Both tell more than clients should know.
func DebugHandler(m *Metrics) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.Handle(metricsPath, m.Handler())
	return mux
}
