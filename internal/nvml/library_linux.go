package nvml

import (
	"fmt"

	"github.com/ebitengine/purego"
)

// DefaultName is the library as drivers install it.
const DefaultName = "libnvidia-ml.so.1"

// Library is an opened library. It is safe for concurrent use and open for as long as the
// process lives.
type Library struct {
	count  func(n *uint32) int32
	handle func(index uint32, device *uintptr) int32
	memory func(device uintptr, memory *nvmlMemory) int32
}

// nvmlMemory is nvmlMemory_t.
type nvmlMemory struct{ total, _, used uint64 }

// Open loads and starts a library by its name or path. It fails where there is none, or no
// driver.
func Open(name string) (*Library, error) {
	opened, err := purego.Dlopen(name, purego.RTLD_LAZY|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("nvml: %w", err)
	}
	var start func() int32
	l := &Library{}
	for symbol, function := range map[string]any{
		"nvmlInit_v2": &start, "nvmlDeviceGetCount_v2": &l.count,
		"nvmlDeviceGetHandleByIndex_v2": &l.handle, "nvmlDeviceGetMemoryInfo": &l.memory,
	} {
		address, err := purego.Dlsym(opened, symbol)
		if err != nil {
			return nil, fmt.Errorf("nvml: %s: %w", name, err)
		}
		purego.RegisterFunc(function, address)
	}
	if code := start(); code != 0 {
		return nil, fmt.Errorf("nvml: %s does not start: error %d", name, code)
	}
	return l, nil
}

// Memory is that of each GPU of the machine, in the driver's order. One that does not answer
// ends the list with an error.
func (l *Library) Memory() ([]Memory, error) {
	var n uint32
	if code := l.count(&n); code != 0 {
		return nil, fmt.Errorf("nvml: number of GPUs: error %d", code)
	}
	all := make([]Memory, 0, n)
	for i := range n {
		var device uintptr
		var m nvmlMemory
		if code := l.handle(i, &device); code != 0 {
			return all, fmt.Errorf("nvml: GPU %d: error %d", i, code)
		}
		if code := l.memory(device, &m); code != 0 {
			return all, fmt.Errorf("nvml: memory of GPU %d: error %d", i, code)
		}
		all = append(all, Memory{Used: m.used, Total: m.total})
	}
	return all, nil
}
