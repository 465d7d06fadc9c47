package cli

import (
	"errors"

	"github.com/alecthomas/kong"
)

// Once refuses a flag that came twice though it has one value, of which kong
// would take the last.
func Once(c *kong.Context) error {
	came := map[*kong.Flag]bool{}
	for _, path := range c.Path {
		flag := path.Flag
		if flag == nil || path.Resolved || flag.IsCumulative() || flag.IsBool() || flag.IsCounter() {
			continue
		}
		if came[flag] {
			return Usage(flag.Name, errors.New("comes twice, and has one value"))
		}
		came[flag] = true
	}
	return nil
}
