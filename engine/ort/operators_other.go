//go:build !linux

package ort

import (
	"fmt"
	"runtime"
	"unsafe"
)

func apiBase(string) (unsafe.Pointer, error) { return nil, fmt.Errorf("none on %s", runtime.GOOS) }
