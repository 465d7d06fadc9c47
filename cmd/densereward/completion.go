package main

import (
	"fmt"

	"github.com/alecthomas/kong"
	kongcompletion "github.com/jotaen/kong-completion"

	"github.com/denseflow/densereward/cmd/densereward/cli"
)

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"${enum}."`
}

func (completionCommand) Help() string {
	return `Prints what a shell runs at its start to complete commands, flags and their values:

	source <(densereward completion bash)    # in ~/.bashrc
	source <(densereward completion zsh)     # in ~/.zshrc
	densereward completion fish | source     # in ~/.config/fish/config.fish`
}

// fishFiles has fish offer files behind a command, which the library turns off.
const fishFiles = `complete -c densereward -F -n 'test (count (commandline -opc)) -gt 1'`

// Run prints the shell's code.
func (c completionCommand) Run(k *kong.Context, t cli.Terminal) error {
	code := kongcompletion.Completion{Shell: c.Shell, Code: true}
	if err := code.Run(k); err != nil {
		return err
	}
	if c.Shell != "fish" {
		return nil
	}
	_, err := fmt.Fprintln(t.Out, fishFiles)
	return err
}
