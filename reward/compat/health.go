package compat

import (
	"net/http"

	"github.com/denseflow/densereward/reward"
)

// health is GET /health as several protocols have it: Flow-Factory's client wants
// any 200, UniRL's the names of the rewards with what each worker of them says.
func health() []Endpoint {
	return []Endpoint{{
		Method: http.MethodGet, Path: "/health", Probe: true,
		Describe: func(evaluators []reward.Description) any {
			workers := map[string][]string{}
			for i := range evaluators {
				workers[evaluators[i].Name] = []string{evaluators[i].Name + ":ready"}
			}
			return map[string]any{"status": "ok", "rewards": workers}
		},
	}}
}
