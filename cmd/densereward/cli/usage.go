package cli

import (
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/dustin/go-humanize"
)

// Terminal is where a command writes: results to Out, everything said to people
// to Err. Program is the file of the program itself, which it can start again; "" where
// it is part of another, such as a test.
type Terminal struct {
	Out, Err io.Writer
	Program  string
}

// Say writes a line for people.
func (t Terminal) Say(format string, args ...any) {
	fmt.Fprintf(t.Err, "densereward: "+format+"\n", args...) //nolint:errcheck // nobody is left to tell
}

// ErrPartial ends a command that did its work for some images only.
var ErrPartial = errors.New("some images could not be scored")

// UsageError is a mistake on the command line that parsing alone cannot see.
type UsageError struct {
	Flag  string
	Cause error
}

// Usage blames a flag, named without its dashes: the program then exits with 2.
func Usage(flag string, cause error) error { return &UsageError{flag, cause} }

func (e *UsageError) Error() string { return fmt.Sprintf("--%s: %v", e.Flag, e.Cause) }

// Unwrap is what is wrong with the flag's value.
func (e *UsageError) Unwrap() error { return e.Cause }

// AtLeast is a UsageError unless a flag's value is at least so much.
func AtLeast[T int | ByteSize | time.Duration](flag string, value, least T) error {
	if value < least {
		return Usage(flag, fmt.Errorf("%v is too little, want at least %v", value, least))
	}
	return nil
}

// Name is a text that is not empty where it is given: a variable of the environment that
// a script left empty must not mean the default.
type Name string

// UnmarshalText takes any text but none.
func (n *Name) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return errors.New("the name is empty")
	}
	*n = Name(text)
	return nil
}

// ByteSize is a number of bytes on the command line: 1048576, 64MiB, 4 GB.
type ByteSize int64

// UnmarshalText reads a size, in powers of 1000 (KB, MB, GB) or 1024 (KiB, MiB,
// GiB).
func (b *ByteSize) UnmarshalText(text []byte) error {
	n, err := humanize.ParseBytes(string(text))
	if err != nil || n > math.MaxInt64 {
		return fmt.Errorf("%q is not a number of bytes such as 1048576, 64MiB or 4GiB", text)
	}
	*b = ByteSize(n)
	return nil
}
