//go:build !linux

package ort

import (
	"fmt"
	"runtime"
)

func checkCUDA(string, int) error {
	return fmt.Errorf("%w on %s: no build of the provider is known for it", ErrNoCUDA, runtime.GOOS)
}

// Devices lists the GPUs that this process may use: none on this platform.
func Devices() ([]Device, error) {
	return nil, fmt.Errorf("%w on %s", ErrNoCUDA, runtime.GOOS)
}

// FreeMemory tells how many bytes of a device's memory no process holds.
func FreeMemory(int) (free, total int64, err error) {
	_, err = Devices()
	return 0, 0, err
}
