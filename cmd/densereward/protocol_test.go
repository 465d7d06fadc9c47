package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/denseflow/densereward/cmd/densereward/cli"
	"github.com/denseflow/densereward/reward/groups"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/front"
	"github.com/denseflow/densereward/reward/server/jobs"
	"github.com/denseflow/densereward/reward/wire"
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

// TestTheProtocolNamesTheLimitsWithoutFlags compares the rows of the same tables that no
// flag sets with the code.
func TestTheProtocolNamesTheLimitsWithoutFlags(t *testing.T) {
	text, err := os.ReadFile("../../reward/PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	request, group, job, rate, web := wire.DefaultLimits(), groups.DefaultConfig(), jobs.DefaultConfig(), server.DefaultDataRate(), front.Default()
	for what, limit := range map[string]string{
		"each prompt, group name or step":                       fmt.Sprintf("%d KiB", request.PromptBytes>>10),
		"metadata of a sample":                                  fmt.Sprintf("%d MiB, %d values, %d deep", request.MetadataBytes>>20, wire.MetadataValues, wire.MetadataDepth),
		"samples x cells of the dense grid":                     fmt.Sprintf("%d Mi", request.MapCells>>20),
		"members of a group that spans requests":                fmt.Sprint(request.GroupSize),
		"groups that wait, of them one client's":                fmt.Sprintf("%d, %d", group.Groups, group.OwnerGroups),
		"memory of those, of it one client's":                   fmt.Sprintf("%d GiB, %d MiB", group.Bytes>>30, group.OwnerBytes>>20),
		"jobs; memory of their answers; how long they are kept": fmt.Sprintf("%d; %d GiB; %.0f minutes", job.Jobs, job.AnswerBytes>>30, job.Keep.Minutes()),
		"data rate of a client, both ways":                      fmt.Sprintf("%d KiB/s, %.0f s behind it at most", rate.MinRate>>10, rate.Grace.Seconds()),
		"a request's header":                                    fmt.Sprintf("%d KiB, %.0f s", web.MaxHeaderBytes>>10, web.HeaderTimeout.Seconds()),
		"a connection between requests":                         fmt.Sprintf("%.0f minutes", web.IdleTimeout.Minutes()),
	} {
		if row := fmt.Sprintf("| %s | %s | |", what, limit); !strings.Contains(string(text), row) {
			t.Errorf("PROTOCOL.md has no row %s", row)
		}
	}
}
