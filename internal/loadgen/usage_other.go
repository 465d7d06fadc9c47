//go:build !unix

package loadgen

import "time"

// CPU is the processor time of this process so far; 0 where it is not known.
func CPU() time.Duration { return 0 }
