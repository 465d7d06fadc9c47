package ort

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	onnx "github.com/yalue/onnxruntime_go"
)

// Kind is the sort of device that a session runs on.
type Kind int

// The kinds of device.
const (
	CPU Kind = iota
	CUDA
)

// String is the kind's name on the command line.
func (k Kind) String() string {
	switch k {
	case CPU:
		return "cpu"
	case CUDA:
		return "cuda"
	}
	return fmt.Sprintf("kind(%d)", int(k))
}

// Provider says where a session runs. The zero value is the CPU.
type Provider struct {
	Kind   Kind
	Device int // index among the visible devices

	// MemoryLimit bounds the arena of a CUDA session in bytes; 0 is no limit.
	MemoryLimit int64

	// Options are passed on as they are, over the defaults that this package
	// sets: arena_extend_strategy kSameAsRequested, which keeps a large model
	// from doubling its arena. Useful ones are cudnn_conv_algo_search,
	// use_tf32, enable_cuda_graph, tunable_op_enable.
	Options map[string]string
}

// String is the provider's name on the command line, such as "cuda:1".
func (p Provider) String() string {
	if p.Kind == CPU {
		return p.Kind.String()
	}
	return fmt.Sprintf("%s:%d", p.Kind, p.Device)
}

// Optimization is how far ONNX Runtime rewrites the graph at load.
type Optimization int

// Levels of optimisation. The zero value is everything.
const (
	OptimizeAll Optimization = iota
	OptimizeExtended
	OptimizeBasic
	OptimizeNothing
)

func (o Optimization) level() onnx.GraphOptimizationLevel {
	switch o {
	case OptimizeExtended:
		return onnx.GraphOptimizationLevelEnableExtended
	case OptimizeBasic:
		return onnx.GraphOptimizationLevelEnableBasic
	case OptimizeNothing:
		return onnx.GraphOptimizationLevelDisableAll
	}
	return onnx.GraphOptimizationLevelEnableAll
}

// spinning keeps threads of a session busy between operators, waiting for the next one:
// cores that others could use, and on machines of many cores most of what a small model
// takes. Without it a thread sleeps until there is work.
const spinning = "session.intra_op.allow_spinning"

// initializersDir is the session option that names the folder against which a
// model given as bytes resolves its external data.
const initializersDir = "session.model_external_initializers_file_folder_path"

// SessionOptions are the settings of one session. The zero value runs on the
// CPU with one thread per core.
type SessionOptions struct {
	Provider Provider

	Threads        int  // within one operator; 0 is one per core
	InterOpThreads int  // across operators, used when Parallel; 0 is one per core
	Parallel       bool // run independent operators side by side

	// CustomOperators lets the graph have operators of the domain "densereward", which run
	// on CUDA: see LoadOperators.
	CustomOperators bool
	// EightBit says that some of them are of eight bits: see LoadFP8.
	EightBit bool

	// InitializersDir is the folder of the files that external data name.
	InitializersDir string
	// Unchanged, where set, is called around each loading of the graph: by
	// NewSession, and by the run after an Unload. Its error keeps the session from
	// computing with other weights than it was opened with.
	Unchanged func() error
	// ConfigEntries are session configuration entries, passed on as they are. Threads do
	// not spin between operators unless one says so.
	ConfigEntries map[string]string

	Optimization Optimization
	NoArena      bool // allocate CPU memory directly instead of keeping it
	NoMemPattern bool // do not plan memory from the shapes of earlier runs

	// ProfilePrefix, where set, writes a JSON profile to a file of that prefix
	// when the session is closed.
	ProfilePrefix string
	// OptimizedModelPath, where set, receives the rewritten graph.
	OptimizedModelPath string

	Log Severity
}

func (o SessionOptions) unchanged() error {
	if o.Unchanged == nil {
		return nil
	}
	return o.Unchanged()
}

// apply sets every option that differs from ONNX Runtime's own default.
func (o SessionOptions) apply(to *onnx.SessionOptions) error {
	for _, set := range []func(*onnx.SessionOptions) error{
		o.applyThreads, o.applyMemory, o.applyEntries, o.applyDiagnostics, o.Provider.apply,
	} {
		if err := set(to); err != nil {
			return err
		}
	}
	return to.SetGraphOptimizationLevel(o.Optimization.level())
}

func (o SessionOptions) applyThreads(to *onnx.SessionOptions) error {
	if err := to.SetIntraOpNumThreads(o.Threads); err != nil {
		return fmt.Errorf("threads: %w", err)
	}
	if err := to.SetInterOpNumThreads(o.InterOpThreads); err != nil {
		return fmt.Errorf("inter-operator threads: %w", err)
	}
	if o.Parallel {
		return to.SetExecutionMode(onnx.ExecutionModeParallel)
	}
	return nil
}

func (o SessionOptions) applyMemory(to *onnx.SessionOptions) error {
	if err := to.SetCpuMemArena(!o.NoArena); err != nil {
		return err
	}
	return to.SetMemPattern(!o.NoMemPattern)
}

// entries are the configuration entries: the caller's before ours, but for the folder.
func (o SessionOptions) entries() map[string]string {
	entries := map[string]string{spinning: "0"}
	maps.Copy(entries, o.ConfigEntries)
	if o.InitializersDir != "" {
		entries[initializersDir] = o.InitializersDir
	}
	return entries
}

func (o SessionOptions) applyEntries(to *onnx.SessionOptions) error {
	entries := o.entries()
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		if err := to.AddSessionConfigEntry(key, entries[key]); err != nil {
			return fmt.Errorf("config entry %s: %w", key, err)
		}
	}
	return nil
}

func (o SessionOptions) applyDiagnostics(to *onnx.SessionOptions) error {
	if err := to.SetLogSeverityLevel(o.Log.level()); err != nil {
		return err
	}
	if o.ProfilePrefix != "" {
		if err := to.EnableProfiling(o.ProfilePrefix); err != nil {
			return fmt.Errorf("profile prefix: %w", err)
		}
	}
	if o.OptimizedModelPath != "" {
		return to.SetOptimizedModelFilePath(o.OptimizedModelPath)
	}
	return nil
}

// apply puts the provider before the CPU, which every session keeps for the
// operators that the provider lacks.
func (p Provider) apply(to *onnx.SessionOptions) error {
	switch p.Kind {
	case CPU:
		return nil
	case CUDA:
		return p.applyCUDA(to)
	}
	return fmt.Errorf("unknown provider %s", p.Kind)
}

func (p Provider) applyCUDA(to *onnx.SessionOptions) error {
	options, err := onnx.NewCUDAProviderOptions()
	if err != nil {
		return fmt.Errorf("%w: the provider does not load: %w", ErrNoCUDA, err)
	}
	defer func() { _ = options.Destroy() }()
	if err := options.Update(p.cudaOptions()); err != nil {
		return fmt.Errorf("cuda provider options: %w", err)
	}
	if err := to.AppendExecutionProviderCUDA(options); err != nil {
		return fmt.Errorf("%w: the provider does not start: %w", ErrNoCUDA, err)
	}
	return nil
}

func (p Provider) cudaOptions() map[string]string {
	options := map[string]string{
		"device_id":             strconv.Itoa(p.Device),
		"arena_extend_strategy": "kSameAsRequested",
	}
	if p.MemoryLimit > 0 {
		options["gpu_mem_limit"] = strconv.FormatInt(p.MemoryLimit, 10)
	}
	maps.Copy(options, p.Options)
	return options
}
