// Package nano carries a complete checkpoint of ImageDoctor in miniature: 0.8
// million parameters in the released layout, with the same tensor names and
// configuration keys and every width reduced. Its language part was briefly
// trained on coloured shapes, so that it writes the answer format, not always
// well; its heatmap heads are random. It exists for demonstrations and tests:
// what it says is not fit for training.
//
// The evaluator reads weights from files where they lie, so the checkpoint is
// laid out in a folder before use: [Open] does so once per machine.
package nano

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
)

//go:embed config.json preprocessor_config.json tokenizer.json model.safetensors.index.json *.safetensors
var files embed.FS

const (
	HeadWidth = 48  // of a token in the heatmap heads
	HeadMLP   = 128 // inside their two-way transformer's perceptrons
)

// Open returns a folder that holds the checkpoint, unchanged. It lies in
// cacheDir, or in densereward of the user's cache folder where cacheDir is
// empty, and is named after the checkpoint's hash. A folder that is missing or
// damaged is written anew, whole or not at all, whatever other processes do
// meanwhile.
func Open(cacheDir string) (dir string, err error) {
	if cacheDir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("nano: no cache folder to lay out the checkpoint in: %w", err)
		}
		cacheDir = filepath.Join(user, "densereward")
	}
	key, err := hash()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(cacheDir, "imagedoctor-nano-"+key[:16])
	if intact(dir) {
		return dir, nil
	}
	if err := install(dir); err != nil && !intact(dir) {
		return "", fmt.Errorf("nano: laying out the checkpoint: %w", err)
	}
	return dir, nil
}

// install replaces dir by a fresh copy of the checkpoint. It fails if another
// process puts its own copy there first.
func install(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(filepath.Dir(dir), filepath.Base(dir)+"-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temp) }()
	fresh, stale := filepath.Join(temp, "fresh"), filepath.Join(temp, "stale")
	if err := Write(fresh); err != nil {
		return err
	}
	if err := os.Rename(fresh, dir); err == nil || intact(dir) {
		return nil
	}
	// A damaged folder is in the way. It cannot be renamed over, so it moves
	// aside.
	if err := os.Rename(dir, stale); err != nil {
		return err
	}
	return os.Rename(fresh, dir)
}

// Write lays out the checkpoint's files in dir, which it makes if need be.
func Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("nano: %w", err)
	}
	return each(func(name string, data []byte) error {
		return os.WriteFile(filepath.Join(dir, name), data, 0o644)
	})
}

// Read returns one file of the checkpoint by its name.
func Read(name string) ([]byte, error) {
	data, err := files.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("nano: %w", err)
	}
	return data, nil
}

// intact reports whether dir holds every file of the checkpoint, unchanged.
func intact(dir string) bool {
	return each(func(name string, data []byte) error {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil && !bytes.Equal(got, data) {
			err = fmt.Errorf("%s was changed", name)
		}
		return err
	}) == nil
}

// hash is the hex SHA-256 of all names and contents.
func hash() (string, error) {
	sum := sha256.New()
	err := each(func(name string, data []byte) error {
		_, err := fmt.Fprintf(sum, "%s %d\n%s", name, len(data), data)
		return err
	})
	return hex.EncodeToString(sum.Sum(nil)), err
}

// each calls f for every file in the order of their names until one fails.
func each(f func(name string, data []byte) error) error {
	entries, err := files.ReadDir(".")
	if err != nil {
		return fmt.Errorf("nano: %w", err)
	}
	for _, entry := range entries {
		data, err := files.ReadFile(entry.Name())
		if err != nil {
			return fmt.Errorf("nano: %w", err)
		}
		if err := f(entry.Name(), data); err != nil {
			return fmt.Errorf("nano: %w", err)
		}
	}
	return nil
}
