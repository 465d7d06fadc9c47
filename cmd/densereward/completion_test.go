package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/denseflow/densereward/cmd/densereward/cli"
)

// asProgram in the environment makes the test's program densereward itself.
const asProgram = "DENSEREWARD_TESTED"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "" {
		os.Exit(runAll(m))
	}
	program, _ := os.Executable()
	os.Exit(run(context.Background(), os.Args[1:], cli.Terminal{Out: os.Stdout, Err: os.Stderr, Program: program}))
}

// runAll runs the tests between the making and the removal of what they share.
func runAll(m *testing.M) int {
	defer func() { _ = os.RemoveAll(smallDir) }()
	if err := linkSmall(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// TestBashCompletesCommandLines types into an interactive bash, with the tabulator where
// something is to be completed.
func TestBashCompletesCommandLines(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	// What is run when a line is complete prints its words.
	if err := os.WriteFile(filepath.Join(dir, "densereward"), []byte("#!/bin/sh\necho \"ran:$*\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "an-image.png"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ typed, want string }{
		"a command":              {"sc\tx", "score x"},
		"a command in a command": {"model ra\tx", "model random x"},
		"a flag":                 {"serve --queue-s\t9", "serve --queue-samples 9"},
		"the value of a flag":    {"serve --log-format js\t", "serve --log-format json "},
		"a flag after another":   {"score --mode think --met\tx", "score --mode think --metadata x"},
		"the shell of this":      {"completion fi\t", "completion fish "},
		"a file":                 {"score an-\t", "score an-image.png "},
	} {
		t.Run(name, func(t *testing.T) {
			shell := exec.Command("bash", "--norc", "--noprofile", "-i")
			shell.Dir = dir
			shell.Env = append(os.Environ(), asProgram+"=1", "TERM=dumb", "PATH="+dir+":"+os.Getenv("PATH"))
			shell.Stdin = strings.NewReader(fmt.Sprintf("source <(%s completion bash)\ndensereward %s\nexit\n", program, c.typed))
			out, err := shell.CombinedOutput()
			if want := "ran:" + strings.TrimSpace(c.want) + "\n"; err != nil || !strings.Contains(strings.ReplaceAll(string(out), "\r", ""), want) {
				t.Errorf("%v, want %q in\n%s", err, want, out)
			}
		})
	}
}

func TestEachShellHasItsCode(t *testing.T) {
	for shell, want := range map[string]string{
		"bash": "complete -o default -o bashdefault -C ",
		"zsh":  "bashcompinit",
		"fish": "complete -c densereward -F",
	} {
		if code, out, said := densereward(t, "completion", shell); code != exitOK || !strings.Contains(out, want) || said != "" {
			t.Errorf("%s: code %d, %q, %q", shell, code, out, said)
		}
	}
	if code, _, said := densereward(t, "completion", "tcsh"); code != exitUsage || !strings.Contains(said, `"bash","zsh","fish"`) {
		t.Errorf("another shell: code %d, %q", code, said)
	}
}
