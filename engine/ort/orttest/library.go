// Package orttest gives tests ONNX Runtime, provisioned as for users.
package orttest

import (
	"context"
	"sync"
	"testing"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/provision"
)

// provisioned is the library of this test process, looked for once. A machine
// with a GPU gets the CUDA provider as well, since a process has one library;
// where that fails, tests of the GPU say so and the others run.
var provisioned = sync.OnceValues(func() (provision.Library, error) {
	ctx := context.Background()
	if _, err := ort.Devices(); err == nil {
		if lib, err := provision.Find(ctx, provision.Options{CUDA: true}); err == nil {
			return lib, nil
		}
	}
	return provision.Find(ctx, provision.Options{})
})

// Library provisions the shared library, once a process. A test that cannot
// have it fails: without it the test says nothing.
func Library(tb testing.TB) provision.Library {
	tb.Helper()
	lib, err := provisioned()
	if err != nil {
		tb.Fatalf("provisioning onnx runtime: %v", err)
	}
	return lib
}

// Open loads the library until the test ends.
func Open(tb testing.TB) *ort.Runtime {
	tb.Helper()
	r, err := ort.Open(Library(tb))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := r.Close(); err != nil {
			tb.Errorf("closing onnx runtime: %v", err)
		}
	})
	return r
}

// CUDA lists the GPUs that sessions of this process can use. Where there is
// none it skips the test, and says why.
func CUDA(tb testing.TB) []ort.Provider {
	tb.Helper()
	devices, err := ort.Devices()
	if err != nil {
		tb.Skipf("needs a GPU: %v", err)
	}
	if !Library(tb).CUDA {
		_, err := provision.Find(context.Background(), provision.Options{CUDA: true})
		tb.Skipf("needs the CUDA provider of ONNX Runtime: %v", err)
	}
	providers := make([]ort.Provider, len(devices))
	for i, d := range devices {
		providers[i] = ort.Provider{Kind: ort.CUDA, Device: d.Index}
	}
	return providers
}
