//go:build !linux

package nvml

import "errors"

// DefaultName is empty: the library is used on Linux alone.
const DefaultName = ""

// Library is an opened library, of which there is none.
type Library struct{}

// Open fails: the library is looked for on Linux alone.
func Open(string) (*Library, error) { return nil, errors.New("nvml: used on Linux alone") }

// Memory is that of no GPU.
func (*Library) Memory() ([]Memory, error) { return nil, nil }
