package evaluators

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"github.com/denseflow/densereward/engine/ort"
)

// Defaults are the command's, for evaluators whose spec says nothing else.
type Defaults struct {
	Devices []string // cpu, cuda or cuda:N
	Threads int      // of each CPU session; 0 shares the cores out
	Batch   int

	InFlight   int  // as of an Assignment
	FixedDraft bool // as of a Place
}

// Assignment says where an evaluator runs.
type Assignment struct {
	Spec    Spec
	Kind    Kind
	Devices []string // one evaluator each; none for kinds that run on no device
	Threads int      // of each on a CPU; 0 is one a core
	Batch   int

	InFlight   int  // batches at once on each GPU; 0 is one
	FixedDraft bool // as of a Place
}

// Plan assigns evaluators to devices: each to all of its spec's, or of the
// command's. Those on the CPU share its cores evenly, unless the threads are
// given; an accelerator is used by all that it was given to, whose weights must
// fit it together.
func (r Registry) Plan(specs []Spec, d Defaults, cores int) ([]Assignment, error) {
	plan := make([]Assignment, len(specs))
	taken := map[string]bool{}
	sessions := 0 // on the CPU
	for i, s := range specs {
		kind, err := r.find(s.Kind)
		if err != nil {
			return nil, fmt.Errorf("evaluator %s: %w", s.Name, err)
		}
		if taken[s.Name] {
			return nil, fmt.Errorf("evaluator %s: two have this name", s.Name)
		}
		taken[s.Name] = true
		a := Assignment{Spec: s, Kind: kind, Batch: d.Batch, InFlight: d.InFlight, FixedDraft: d.FixedDraft}
		if s.Batch > 0 {
			a.Batch = s.Batch
		}
		if kind.Everywhere {
			if a.Devices = d.Devices; len(s.Device) > 0 {
				a.Devices = s.Device
			}
		} else if len(s.Device) > 0 {
			return nil, fmt.Errorf("evaluator %s: device: kind %s runs on none", s.Name, s.Kind)
		}
		for _, device := range a.Devices {
			p, err := ParseDevice(device)
			if err != nil {
				return nil, fmt.Errorf("evaluator %s: device: %w", s.Name, err)
			}
			if p.Kind == ort.CPU {
				sessions++
			}
		}
		plan[i] = a
	}
	for i := range plan {
		plan[i].Threads = d.Threads
		if d.Threads == 0 && sessions > 1 {
			plan[i].Threads = max(1, cores/sessions)
		}
	}
	return plan, nil
}

// Log writes a line for each evaluator.
func Log(logger *slog.Logger, plan []Assignment) {
	users := map[string]int{}
	for _, a := range plan {
		for _, device := range a.Devices {
			users[device]++
		}
	}
	for _, a := range plan {
		where := make([]string, len(a.Devices))
		for i, device := range a.Devices {
			where[i] = device
			if n := users[device]; n > 1 {
				where[i] += " shared by " + strconv.Itoa(n)
			}
		}
		if len(where) == 0 {
			where = []string{"none"}
		}
		threads := "one a core"
		if a.Threads > 0 {
			threads = strconv.Itoa(a.Threads)
		}
		logger.Info("plan", "evaluator", a.Spec.Name, "kind", a.Spec.Kind, "source", a.Spec.Source,
			"devices", strings.Join(where, ", "), "cpu_threads", threads, "batch", a.Batch)
	}
}

// ParseDevice reads cpu, cuda or cuda:N.
func ParseDevice(name string) (ort.Provider, error) {
	kind, index, numbered := strings.Cut(name, ":")
	n, err := strconv.Atoi(index)
	switch {
	case name == "cpu":
		return ort.Provider{Kind: ort.CPU}, nil
	case kind == "cuda" && !numbered:
		return ort.Provider{Kind: ort.CUDA}, nil
	case kind == "cuda" && err == nil && n >= 0:
		return ort.Provider{Kind: ort.CUDA, Device: n}, nil
	}
	return ort.Provider{}, fmt.Errorf("%q is none of cpu, cuda and cuda:N", name)
}

// UsesCUDA reports whether an evaluator runs on a CUDA device.
func UsesCUDA(plan []Assignment) bool {
	for _, a := range plan {
		for _, device := range a.Devices {
			if p, err := ParseDevice(device); err == nil && p.Kind == ort.CUDA {
				return true
			}
		}
	}
	return false
}

// Demonstrates reports whether an evaluator is the embedded checkpoint.
func Demonstrates(plan []Assignment) bool {
	for _, a := range plan {
		if a.Kind.Name == KindImageDoctor && a.Spec.Source == "" {
			return true
		}
	}
	return false
}
