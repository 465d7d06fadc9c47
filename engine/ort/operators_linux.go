package ort

import (
	"unsafe"

	"github.com/ebitengine/purego"
)

// apiBase is the entry to the interface of the library at path, which is loaded.
func apiBase(path string) (unsafe.Pointer, error) {
	library, err := purego.Dlopen(path, purego.RTLD_LAZY)
	if err != nil {
		return nil, err
	}
	address, err := purego.Dlsym(library, "OrtGetApiBase")
	if err != nil {
		return nil, err
	}
	var get func() unsafe.Pointer
	purego.RegisterFunc(&get, address)
	return get(), nil
}
