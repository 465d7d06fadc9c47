//go:build !unix

package loadgen

import "time"

// usage is the processor time of this process, which is not known here.
type usage struct{}

func ownUsage() usage { return usage{} }

func (usage) since(usage) time.Duration { return 0 }
