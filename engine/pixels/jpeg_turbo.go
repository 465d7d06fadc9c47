//go:build (linux || darwin || freebsd) && (amd64 || arm64)

package pixels

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// turbo is the TurboJPEG library of libjpeg-turbo, loaded at run time and
// called without cgo. The functions are those of its API 1.4, which version 3
// still has. A turbo is safe for concurrent use.
type turbo struct {
	name string

	initDecompress uintptr // tjInitDecompress
	decompress     uintptr // tjDecompress2
	destroy        uintptr // tjDestroy
}

const (
	turboRGB           = 0    // TJPF_RGB
	turboAccurateDCT   = 4096 // TJFLAG_ACCURATEDCT: "islow", as Pillow has it
	turboStopOnWarning = 8192 // TJFLAG_STOPONWARNING
)

// turboLibraries are the names that the library has under an ABI that has not
// changed since 2010.
func turboLibraries() []string {
	if runtime.GOOS == "darwin" {
		return []string{
			"libturbojpeg.0.dylib",
			"/opt/homebrew/opt/jpeg-turbo/lib/libturbojpeg.0.dylib",
			"/usr/local/opt/jpeg-turbo/lib/libturbojpeg.0.dylib",
		}
	}
	return []string{"libturbojpeg.so.0"}
}

// loadTurbo loads the library. It stays loaded.
func loadTurbo() (*turbo, error) {
	var first error
	for _, name := range turboLibraries() {
		t, err := openTurbo(name)
		if err == nil {
			return t, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

func openTurbo(name string) (*turbo, error) {
	library, err := purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", name, err)
	}
	t := &turbo{name: name}
	for symbol, address := range map[string]*uintptr{
		"tjInitDecompress": &t.initDecompress,
		"tjDecompress2":    &t.decompress,
		"tjDestroy":        &t.destroy,
	} {
		if *address, err = purego.Dlsym(library, symbol); err != nil {
			return nil, fmt.Errorf("load %s: symbol %s: %w", name, symbol, err)
		}
	}
	return t, nil
}

// decode decodes a file that the Go decoder has surveyed to img, which has the
// file's size. It returns false if the library has anything to say against the
// file, be it a warning.
func (t *turbo) decode(img *RGB, data []byte) bool {
	handle, _, _ := purego.SyscallN(t.initDecompress)
	if handle == 0 {
		return false
	}
	// The library writes no more than width and height here allow: it refuses
	// a file that is larger.
	status, _, _ := purego.SyscallN(t.decompress, handle,
		uintptr(unsafe.Pointer(unsafe.SliceData(data))), uintptr(len(data)),
		uintptr(unsafe.Pointer(unsafe.SliceData(img.Pix))),
		uintptr(img.Width), uintptr(img.Width*3), uintptr(img.Height),
		turboRGB, turboAccurateDCT|turboStopOnWarning)
	purego.SyscallN(t.destroy, handle)
	return int32(status) == 0
}
