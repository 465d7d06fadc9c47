package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/denseflow/densereward/engine/ort/provision"
)

type versionCommand struct{}

// Run prints what the program was built from and what it expects to find.
func (versionCommand) Run(t terminal) error {
	_, err := fmt.Fprintf(t.out, "densereward %s\ngo          %s\nonnxruntime %s\nplatform    %s/%s\n",
		buildVersion(), runtime.Version(), provision.Version, runtime.GOOS, runtime.GOARCH)
	return err
}

// buildVersion is the module's version, and the commit where the build knows it.
func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	version := info.Main.Version
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if version == "" || version == "(devel)" {
		version = "development"
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
