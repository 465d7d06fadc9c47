package hosting

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/denseflow/densereward/cmd/densereward/evaluators"
	"github.com/denseflow/densereward/cmd/densereward/models"
	"github.com/denseflow/densereward/engine/safetensors"
)

// CheckFiles reads every file of the folders of evaluators and decoders and compares
// it with what is known of it. Each is logged with its SHA-256.
func CheckFiles(ctx context.Context, logger *slog.Logger, finder models.Finder, specs []evaluators.Spec, decoders []Decoder) error {
	var sources []string
	for _, s := range specs {
		path, err := finder.Path(ctx, s.Source)
		if err != nil {
			return fmt.Errorf("evaluator %s: %w", s.Name, err)
		}
		sources = append(sources, path)
	}
	for _, d := range decoders {
		path, err := finder.Path(ctx, d.Dir)
		if err != nil {
			return fmt.Errorf("vae %s: %w", d.Name, err)
		}
		sources = append(sources, path, filepath.Join(path, "vae")) // of a pipeline
	}
	var folders []string
	for _, source := range sources {
		switch info, err := os.Stat(source); {
		case source == "" || err != nil: // the demonstration, an address, or nothing: loading says it
		case info.IsDir():
			folders = append(folders, filepath.Clean(source))
		default:
			folders = append(folders, filepath.Dir(source))
		}
	}
	slices.Sort(folders)
	var damaged []error
	for _, folder := range slices.Compact(folders) {
		digests, err := safetensors.Digests(ctx, folder)
		if err != nil {
			return err
		}
		for _, d := range digests {
			if d.Err != nil {
				damaged = append(damaged, d.Err)
				continue
			}
			logger.Info("file", "folder", folder, "name", d.Name, "size_bytes", d.Size, "sha256", d.SHA256, "agrees_with", d.Source)
		}
	}
	if len(damaged) > 0 {
		return fmt.Errorf("checking files: %w", errors.Join(damaged...))
	}
	return nil
}
