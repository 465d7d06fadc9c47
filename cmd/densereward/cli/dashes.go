// Package cli is what all commands of densereward share: where they write, what
// is wrong with a flag, sizes, and flags with one dash.
package cli

import (
	"strings"

	"github.com/alecthomas/kong"
)

// DoubleDashes rewrites the flags that root and its subcommands know, so that
// they can be written with one dash or two: -model DIR becomes --model=DIR. As
// in Go's own flag package, what follows a flag that takes a value is its value,
// even if it begins with a dash. Arguments after "--" are left alone.
func DoubleDashes(root *kong.Node, args []string) []string {
	flags := flagsOf(nil, root)
	var out []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			return append(out, args[i:]...)
		}
		if child := childOf(root, arg); child != nil {
			root, flags = child, flagsOf(flags, child)
		}
		flag := flags[flagName(arg)]
		if flag == nil {
			out = append(out, arg)
			continue
		}
		arg = "--" + strings.TrimLeft(arg, "-")
		if !flag.IsBool() && !strings.Contains(arg, "=") && i+1 < len(args) {
			i++
			arg += "=" + args[i]
		}
		out = append(out, arg)
	}
	return out
}

// flagName is the name of the long flag that an argument may be; "" if none.
func flagName(arg string) string {
	name := strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-")
	if name == arg {
		return ""
	}
	name, _, _ = strings.Cut(name, "=")
	return name
}

// flagsOf adds a node's flags by name to those of the nodes above it.
func flagsOf(above map[string]*kong.Flag, n *kong.Node) map[string]*kong.Flag {
	flags := make(map[string]*kong.Flag, len(above)+len(n.Flags))
	for name, f := range above {
		flags[name] = f
	}
	for _, f := range n.Flags {
		flags[f.Name] = f
		if f.Tag.Negatable != "" {
			flags["no-"+f.Name] = f
		}
	}
	return flags
}

func childOf(n *kong.Node, name string) *kong.Node {
	for _, child := range n.Children {
		if child.Name == name {
			return child
		}
	}
	return nil
}
