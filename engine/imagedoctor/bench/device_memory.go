package bench

import (
	"sync"
	"time"

	"github.com/denseflow/densereward/engine/ort"
)

// peak is the most memory of a device that was held, of its total.
type peak struct{ held, total int64 }

// memoryWatch looks at the memory of devices from time to time.
type memoryWatch struct {
	devices []ort.Provider
	peaks   []peak
	end     chan struct{}
	once    sync.Once
	all     sync.WaitGroup
}

// watchMemory looks until stop is called.
func watchMemory(devices []ort.Provider) *memoryWatch {
	const pause = 20 * time.Millisecond
	w := &memoryWatch{devices: devices, peaks: make([]peak, len(devices)), end: make(chan struct{})}
	w.all.Go(func() {
		for {
			w.look()
			select {
			case <-w.end:
				return
			case <-time.After(pause):
			}
		}
	})
	return w
}

// look takes what is held now. Nothing is known of a processor's memory.
func (w *memoryWatch) look() {
	for i, d := range w.devices {
		if d.Kind != ort.CUDA {
			continue
		}
		if free, total, err := ort.FreeMemory(d.Device); err == nil {
			w.peaks[i] = peak{max(w.peaks[i].held, total-free), total}
		}
	}
}

// stop ends the watch and returns the peak of each device. It may be called
// again.
func (w *memoryWatch) stop() []peak {
	w.once.Do(func() { close(w.end) })
	w.all.Wait()
	return w.peaks
}

// deviceName is what a device calls itself; "" where it cannot be known.
func deviceName(p ort.Provider) string {
	if p.Kind != ort.CUDA {
		return ""
	}
	devices, err := ort.Devices()
	if err != nil {
		return ""
	}
	for _, d := range devices {
		if d.Index == p.Device {
			return d.Name
		}
	}
	return ""
}
