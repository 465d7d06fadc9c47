package kernels

// #cgo CFLAGS: -O2 -Wall -Wextra
// #cgo LDFLAGS: -ldl -lpthread
// #include <stdbool.h>
// #include <stdlib.h>
// #include "operators.h"
import "C"

import (
	_ "embed"
	"errors"
	"unsafe"
)

// PTX is compiled by the driver.
var (
	//go:embed kernels.ptx
	halfPTX string
	//go:embed fp8.ptx
	eightBitPTX string
)

// messageSize is room for what C says of a failure.
const messageSize = 512

// Load compiles the kernels of half precision for a device, once a process. Sessions of the
// device can have their operators from then on.
func Load(device int) error { return load(device, C.HALF_PART, halfPTX) }

// LoadFP8 is Load for the operators of eight bits. They need compute capability 8.9, and
// cuBLASLt to have products with a scale a row for the device.
func LoadFP8(device int) error { return load(device, C.EIGHT_BIT_PART, eightBitPTX) }

func load(device int, part C.enum_part, ptx string) error {
	text := C.CString(ptx)
	defer C.free(unsafe.Pointer(text))
	return told(func(message *C.char, size C.size_t) C.int {
		return C.launcher_load(C.int(device), part, text, message, size)
	})
}

// Register adds the operators to a session's options: an OrtSessionOptions, and the
// OrtApiBase of the runtime that made it.
func Register(options, base unsafe.Pointer) error {
	return told(func(message *C.char, size C.size_t) C.int { return C.operators_register(options, base, message, size) })
}

// Emulate has the operators of sessions that are opened from then on run on the host:
// launcher is the address of an emulator as operators.h declares it, 0 ends it. It is for tests.
func Emulate(launcher uintptr) { C.operators_emulate(C.uintptr_t(launcher)) }

// Emulated reports whether operators run on the host.
func Emulated() bool { return bool(C.operators_emulated()) }

// told is the error of a function of C's.
func told(f func(message *C.char, size C.size_t) C.int) error {
	message := (*C.char)(C.calloc(1, messageSize))
	defer C.free(unsafe.Pointer(message))
	if f(message, messageSize) == 0 {
		return nil
	}
	return errors.New(C.GoString(message))
}
