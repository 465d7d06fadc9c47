package cli

import (
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// UnknownVariables are the variables of the environment that begin as the program's do and
// that neither a flag nor known has: slips of the pen, which would go unnoticed. Those
// that Kubernetes makes of a service called densereward are none.
func UnknownVariables(k *kong.Kong, known ...string) ([]string, error) {
	err := kong.Visit(k.Model, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok {
			known = append(known, flag.Envs...)
		}
		return next(nil)
	})
	var unknown []string
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		own, ours := strings.CutPrefix(name, envPrefix)
		if ours && !slices.Contains(known, name) && !strings.HasPrefix(own, "SERVICE_") && own != "PORT" && !strings.HasPrefix(own, "PORT_") {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown, err
}
