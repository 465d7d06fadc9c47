package hosting

import (
	"bytes"
	"os"
	"runtime/debug"
	"strconv"

	"github.com/denseflow/densereward/cmd/densereward/evaluators"
)

// Footprint is the memory of this machine that models take, beside what the server holds.
// Both are 0 where the system does not tell.
type Footprint struct {
	Loaded int64 // with the program, before anything was scored
	// Working is the most that evaluators on the processor take while they work: what
	// one image of their warm-up took, times the images of a batch, times the modes, of
	// which each may have a batch in work.
	Working int64
}

// add counts what one of an evaluator's instances, each on a device of its own, took for
// one image. Those elsewhere have no device.
func (f *Footprint) add(h *evaluators.Hosted, instance int, bytes int64) {
	if instance < len(h.Devices) && h.Devices[instance] == "cpu" && bytes > 0 {
		f.Working += bytes * int64(max(h.Batch, 1)*len(h.Description.Modes))
	}
}

// collected is the resident memory of this process without garbage, 0 where the system
// does not tell.
func collected() int64 {
	debug.FreeOSMemory()
	return resident()
}

// resident is the resident memory of this process, 0 where the system does not tell.
func resident() int64 {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(data)
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize())
}
