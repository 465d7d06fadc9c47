package hosting

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/denseflow/densereward/cmd/densereward/evaluators"
	"github.com/denseflow/densereward/engine/safetensors"
)

// CheckFiles reads every file of the folders of evaluators and decoders and compares
// it with what is known of it. Each is logged with its SHA-256.
func CheckFiles(ctx context.Context, logger *slog.Logger, specs []evaluators.Spec, decoders []Decoder) error {
	var folders []string
	for _, s := range specs {
		folders = append(folders, s.Source)
	}
	for _, d := range decoders {
		folders = append(folders, d.Dir)
	}
	var damaged []error
	for _, folder := range folders {
		if info, err := os.Stat(folder); err != nil || !info.IsDir() {
			continue // the demonstration, an address, or nothing: loading says it
		}
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
