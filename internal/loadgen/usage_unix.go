//go:build unix

package loadgen

import (
	"syscall"
	"time"
)

// usage is the processor time of this process.
type usage time.Duration

func ownUsage() usage {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return usage(u.Utime.Nano() + u.Stime.Nano())
}

func (u usage) since(before usage) time.Duration { return time.Duration(u - before) }
