package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/denseflow/densereward/cmd/densereward/cli"
	"github.com/denseflow/densereward/cmd/densereward/hosting"
	"github.com/denseflow/densereward/engine/ort/provision"
)

type versionCommand struct {
	Onnxruntime string `placeholder:"FILE" help:"Load this library of ONNX Runtime, have it add two numbers, and print its version."`
}

// Run prints what the program was built from and what it expects to find.
func (c versionCommand) Run(ctx context.Context, t cli.Terminal) error {
	if c.Onnxruntime != "" {
		version, err := hosting.TryLibrary(ctx, c.Onnxruntime)
		if err == nil {
			_, err = fmt.Fprintf(t.Out, "onnxruntime %s works\n", version)
		}
		return err
	}
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
