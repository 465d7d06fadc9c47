package main

import (
	"slices"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/denseflow/densereward/cmd/densereward/cli"
)

func TestLongFlagsMayHaveOneDash(t *testing.T) {
	parser, err := kong.New(&commandLine{}, vars())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ args, want []string }{
		"one dash, two dashes and an equals sign": {
			[]string{"score", "-model", "m", "--mode", "think", "-grid=sd3"},
			[]string{"score", "--model=m", "--mode=think", "--grid=sd3"},
		},
		"a switch takes no value": {
			[]string{"score", "-trace", "a.png"},
			[]string{"score", "--trace", "a.png"},
		},
		"a value may look like a flag": {
			[]string{"score", "-prompt", "-model", "-out", "--", "a.png"},
			[]string{"score", "--prompt=-model", "--out=--", "a.png"},
		},
		"a value may be empty or hold an equals sign": {
			[]string{"score", "-prefix", "", "-prompt", "a=b"},
			[]string{"score", "--prefix=", "--prompt=a=b"},
		},
		"a switch may be negated": {
			[]string{"serve", "-no-access-log", "-check"},
			[]string{"serve", "--no-access-log", "--check"},
		},
		"what no command knows is left alone": {
			[]string{"-model", "score", "-x", "-", "-color", "--color"},
			[]string{"-model", "score", "-x", "-", "-color", "--color"},
		},
		"what follows two dashes is left alone": {
			[]string{"score", "--", "-model", "a"},
			[]string{"score", "--", "-model", "a"},
		},
		"a value that is missing is left to the parser": {
			[]string{"score", "-prompt"},
			[]string{"score", "--prompt"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := cli.DoubleDashes(parser.Model.Node, c.args); !slices.Equal(got, c.want) {
				t.Errorf("%q became %q, want %q", c.args, got, c.want)
			}
		})
	}
}
