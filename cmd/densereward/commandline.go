package main

import (
	"context"
	"errors"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/denseflow/densereward/cmd/densereward/cli"
	"github.com/denseflow/densereward/cmd/densereward/evaluators"
	"github.com/denseflow/densereward/cmd/densereward/offline"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/provision"
	kongcompletion "github.com/jotaen/kong-completion"
)

// The exit codes of every command.
const (
	exitOK      = 0
	exitFailure = 1 // the command could not do its work
	exitUsage   = 2 // the command line is wrong
	exitPartial = 3 // score, relabel: some images could not be scored, the others were

	exitInterrupted = 130 // as shells say of a program that Ctrl-C ended
)

const description = `Scores and dense rewards for text-to-image models, from the command line or over HTTP: what ImageDoctor and other evaluators find in an image and its prompt, as scores and as maps of flaws.

	densereward demo
	densereward serve --listen 127.0.0.1:8080 --model DIR
	densereward score --model DIR --prompt "a red cube" cube.png

Without --model an embedded pocket ImageDoctor answers, which knows drawn scenes, not photographs. The real one is --model GYX97/ImageDoctor, which is fetched from Hugging Face: 7.6 GB. "densereward model fetch --help" says how.

Long flags may be written with one dash, as in -model DIR, or as environment variables: DENSEREWARD_TLS_CERT is --tls-cert. The command line goes before the environment, the environment before serve's --config.

Exit codes: 0 done, 1 failed, 2 wrong command line, 3 some images could not be scored, 130 interrupted.`

// commandLine is the grammar: a field for each subcommand.
type commandLine struct {
	ShowVersion kong.VersionFlag `name:"version" help:"Print the version."`

	Score    scoreCommand     `cmd:"" help:"Score image files; one JSON object a line."`
	Serve    serveCommand     `cmd:"" help:"Serve rewards over HTTP."`
	Relabel  offline.Relabel  `cmd:"" help:"Score data sets, shard by shard."`
	Evaluate offline.Evaluate `cmd:"" help:"Measure scores: means, models, agreement with people."`
	Rank     offline.Rank     `cmd:"" help:"Pick the best of several images for each prompt."`
	Bench    benchCommand     `cmd:"" help:"Load a server and say how it bears it; or measure the engine."`
	Model    modelCommand     `cmd:"" help:"Fetch checkpoints; make some to train or to measure with."`
	Demo     demoCommand      `cmd:"" help:"Start a server, send it images, print what it says, stop."`
	Version  versionCommand   `cmd:"" help:"Say what this program was built from."`

	Completion completionCommand `cmd:"" help:"Print what bash, zsh or fish needs to complete command lines."`
}

// run is the whole program: it runs the command that args name until it is done
// or ctx ends, and returns the exit code.
func run(ctx context.Context, args []string, t cli.Terminal) int {
	var c commandLine
	var ended bool // help was asked for and printed
	parser, err := kong.New(&c,
		kong.Name("densereward"),
		kong.Description(description),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Writers(t.Out, t.Err),
		kong.Exit(func(int) { ended = true }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.PostBuild(cli.Environment),
		kong.ValueFormatter(cli.HelpOf),
		vars(),
	)
	if err != nil {
		t.Say("%v", err)
		return exitFailure
	}
	kongcompletion.Register(parser) // answers a shell that asks, and then ends
	if ended {
		return exitOK
	}
	parsed, err := parser.Parse(cli.DoubleDashes(parser.Model.Node, args))
	if ended {
		return exitOK
	}
	if err == nil {
		err = cli.Once(parsed)
	}
	if err == nil {
		if c.Serve.LogFormat == logJSON {
			t.Err = cli.NewJSONLog(t.Err)
		}
		if err = sayUnknownVariables(parser, t); err == nil {
			err = parsed.Run(t)
		}
	}
	return exitCode(err, t)
}

// sayUnknownVariables tells of variables of the environment that look like flags and are none.
func sayUnknownVariables(parser *kong.Kong, t cli.Terminal) error {
	unknown, err := cli.UnknownVariables(parser, provision.EnvLibrary, ort.EnvCUDALibraries)
	for _, name := range unknown {
		t.Say("the environment has %s, which is no flag's", name)
	}
	return err
}

// vars are what the help of flags names.
func vars() kong.Vars {
	var kinds []string
	for _, k := range evaluators.Kinds() {
		kinds = append(kinds, k.Name)
	}
	return kong.Vars{"version": "densereward " + buildVersion(), "library_env": provision.EnvLibrary, "evaluator_kinds": strings.Join(kinds, ", ")}
}

// exitCode says what went wrong and which code stands for it.
func exitCode(err error, t cli.Terminal) int {
	var wrong *kong.ParseError
	var usage *cli.UsageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &wrong):
		t.Say("%v", err)
		t.Say("%q explains it", wrong.Context.Model.Name+helpPath(wrong.Context)+" --help")
		return exitUsage
	case errors.As(err, &usage):
		t.Say("%v", err)
		return exitUsage
	case errors.Is(err, cli.ErrPartial):
		t.Say("%v", err)
		return exitPartial
	case errors.Is(err, context.Canceled):
		t.Say("interrupted")
		return exitInterrupted
	}
	t.Say("%v", err)
	return exitFailure
}

// helpPath is the subcommand that was chosen before parsing failed, with a space
// before it.
func helpPath(c *kong.Context) string {
	if c.Selected() == nil {
		return ""
	}
	return " " + c.Selected().Name
}
