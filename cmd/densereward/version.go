package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/denseflow/densereward/cmd/densereward/cli"
	"github.com/denseflow/densereward/engine/ort/provision"
)

type versionCommand struct{}

// Run prints what the program was built from and what it expects to find.
func (versionCommand) Run(t cli.Terminal) error {
	_, err := fmt.Fprintf(t.Out, "densereward %s\ngo          %s\nonnxruntime %s\nplatform    %s/%s\n",
		buildVersion(), runtime.Version(), provision.Version, runtime.GOOS, runtime.GOARCH)
	return err
}

// release is the version that this tree is or becomes.
const release = "0.2.0"

// buildVersion is the release, and the commit where the build knows it.
func buildVersion() string {
	version := release
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return version
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if commit := settings["vcs.revision"]; commit != "" {
		version += " (commit " + commit[:min(12, len(commit))]
		if settings["vcs.modified"] == "true" {
			version += ", modified"
		}
		version += ")"
	}
	return version
}
