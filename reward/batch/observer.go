package batch

import "time"

// An Observer is told what a Scheduler does, for metrics. Its methods are
// called while the Scheduler is locked: they must be quick, must not block and
// must not call the Scheduler.
type Observer interface {
	// Stage reports that a sample spent d in stage.
	Stage(stage Stage, d time.Duration)
	// Batch reports one call of Evaluate.
	Batch(samples int, d time.Duration)
	// Count reports that event happened n times.
	Count(event Event, n int)
}

// Stage is a part of a sample's way.
type Stage int

// The stages, as in Timing.
const (
	StageQueue Stage = iota
	StagePrepare
	StageWait
	StageEvaluate
	NumStages = iota
)

var stageNames = [NumStages]string{"queue", "prepare", "wait", "evaluate"}

// String is the stage's name in metrics.
func (s Stage) String() string { return stageNames[s] }

// Event is something worth counting. All are counted in samples unless they
// say otherwise.
type Event int

// The events.
const (
	// Admitted samples were accepted into the queue.
	Admitted Event = iota
	// Refused samples met a full queue.
	Refused
	// Scored samples have a result, from the evaluator or the cache.
	Scored
	// SampleFailed samples were scored unfit by the evaluator itself.
	SampleFailed
	// CacheHit samples were answered from the cache.
	CacheHit
	// CacheShared samples joined identical work in flight.
	CacheShared
	// CacheMiss samples were not known.
	CacheMiss
	// PrepareFailed samples could not be decoded or prepared.
	PrepareFailed
	// PreparePanicked samples made a decoder or Preparer panic.
	PreparePanicked
	// EvaluatorFailed samples were in a batch that failed.
	EvaluatorFailed
	// EvaluatorPanicked samples were in a batch whose evaluator panicked.
	EvaluatorPanicked
	// OutOfMemory counts calls of Evaluate that ran out of memory.
	OutOfMemory
	// Expired samples had no result by their deadline.
	Expired
	// Cancelled samples lost their caller.
	Cancelled
	// EvaluatorHung counts calls of Evaluate that went on for more than a
	// second after the last caller had gone.
	EvaluatorHung
	NumEvents = iota
)

var eventNames = [NumEvents]string{
	"admitted", "refused", "scored", "sample_failed",
	"cache_hit", "cache_shared", "cache_miss",
	"prepare_failed", "prepare_panicked",
	"evaluator_failed", "evaluator_panicked", "out_of_memory",
	"expired", "cancelled", "evaluator_hung",
}

// String is the event's name in metrics.
func (e Event) String() string { return eventNames[e] }

// blind is the Observer that looks away.
type blind struct{}

var _ Observer = blind{}

func (blind) Stage(Stage, time.Duration) {}
func (blind) Batch(int, time.Duration)   {}
func (blind) Count(Event, int)           {}
