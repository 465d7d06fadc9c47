//go:build !((linux || darwin || freebsd) && (amd64 || arm64))

package pixels

import "fmt"

// turbo is a library that is not loaded on this platform.
type turbo struct{ name string }

func loadTurbo() (*turbo, error) {
	return nil, fmt.Errorf("libjpeg-turbo is not loaded on this platform")
}

func (t *turbo) decode(*RGB, []byte) bool { return false }
