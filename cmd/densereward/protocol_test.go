package main

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/denseflow/densereward/cmd/densereward/cli"
)

// TestTheProtocolNamesEveryLimit compares the tables of limits in PROTOCOL.md with the
// flags that set them.
func TestTheProtocolNamesEveryLimit(t *testing.T) {
	text, err := os.ReadFile("../../reward/PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	_, limits, _ := strings.Cut(string(text), "\n## Limits\n")
	limits, _, _ = strings.Cut(limits, "\n## ")
	named := map[string]string{} // defaults by flag
	for _, row := range regexp.MustCompile("(?m)\\| `([^`]*)` \\| `--([^`]*)` \\|$").FindAllStringSubmatch(limits, -1) {
		named[row[2]] = row[1]
	}
	var c commandLine
	parser, err := kong.New(&c, vars(),
		kong.BindTo(context.Background(), (*context.Context)(nil)), kong.Bind(cli.Terminal{}))
	if err != nil {
		t.Fatal(err)
	}
	ofTokens := map[string]bool{"prompt-tokens": true, "max-new-tokens": true}
	found := 0
	for _, command := range parser.Model.Children {
		if command.Name != "serve" {
			continue
		}
		for _, flag := range command.Flags {
			group := flag.Group != nil && (flag.Group.Title == "Limits:" || flag.Group.Title == "Queue and cache:")
			if flag.IsBool() || !group && !ofTokens[flag.Name] {
				continue
			}
			found++
			want := flag.Default
			if want == "" {
				want = "0"
			}
			if got, ok := named[flag.Name]; !ok || got != want {
				t.Errorf("--%s, whose default is %s, is %q in PROTOCOL.md", flag.Name, want, got)
			}
		}
	}
	if found != len(named) || found < 10 {
		t.Errorf("%d flags, %d of them in PROTOCOL.md", found, len(named))
	}
}
