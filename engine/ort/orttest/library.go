// Package orttest gives tests ONNX Runtime, provisioned as for users.
package orttest

import (
	"context"
	"sync"
	"testing"

	"github.com/denseflow/densereward/engine/ort"
)

// provisioned is the library of this test process, looked for once.
var provisioned = sync.OnceValues(func() (ort.Library, error) {
	return ort.Provision(context.Background(), ort.ProvisionOptions{})
})

// Library provisions the shared library, once a process. A test that cannot
// have it fails: without it the test says nothing.
func Library(tb testing.TB) ort.Library {
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
