package cli

import (
	"errors"

	"github.com/alecthomas/kong"
)

// Once refuses a second value of a flag that is tagged once. Of others the last
// one counts, so that scripts can change what scripts they call have set.
func Once(c *kong.Context) error {
	came := map[*kong.Flag]bool{}
	for _, path := range c.Path {
		flag := path.Flag
		if flag == nil || path.Resolved || !flag.Tag.Has("once") {
			continue
		}
		if came[flag] {
			return Usage(flag.Name, errors.New("comes twice; --evaluator may come several times"))
		}
		came[flag] = true
	}
	return nil
}
