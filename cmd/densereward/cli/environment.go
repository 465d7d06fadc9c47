package cli

import (
	"os"
	"strings"

	"github.com/alecthomas/kong"
)

// envPrefix begins the names of all environment variables of the program.
const envPrefix = "DENSEREWARD_"

// Environment gives every flag the environment variable of its name:
// DENSEREWARD_TLS_CERT is --tls-cert. It is a kong.PostBuild.
func Environment(k *kong.Kong) error {
	return kong.Visit(k.Model, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok && len(flag.Envs) == 0 && flag.Name != "help" && flag.Name != "version" {
			name := envPrefix + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
			flag.Envs = []string{name}
			flag.Tag.Envs = flag.Envs
		}
		return next(nil)
	})
}

// InEnvironment reports whether the environment has a flag's value.
func InEnvironment(flag *kong.Flag) bool {
	for _, name := range flag.Envs {
		if _, ok := os.LookupEnv(name); ok {
			return true
		}
	}
	return false
}

// HelpOf is the help of a flag as it was written: the names of environment
// variables follow from those of flags.
func HelpOf(value *kong.Value) string { return value.Help }
