//go:build !linux

package kernels

import (
	"errors"
	"unsafe"
)

var errNone = errors.New("the kernels run on Linux alone")

// Load fails: there is no such device.
func Load(int) error { return errNone }

// LoadFP8 fails as well.
func LoadFP8(int) error { return errNone }

// Register fails: there are no operators.
func Register(_, _ unsafe.Pointer) error { return errNone }

// Emulated reports whether operators run on the host: never.
func Emulated() bool { return false }

// Emulate does nothing.
func Emulate(uintptr) {}
