package clip

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/denseflow/densereward/engine/safetensors"
	"github.com/denseflow/densereward/engine/torchfile"
)

// openCLIPWeights is the file in which open_clip publishes weights beside those of
// transformers.
const openCLIPWeights = "open_clip_pytorch_model.bin"

// openWeights opens the weights at path, which is a folder or a file in one. dir is
// the folder. A folder's safetensors are preferred to its torch files.
func openWeights(path string) (dir string, c *safetensors.Checkpoint, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", nil, err
	}
	if !info.IsDir() {
		c, err = openFile(path)
		return filepath.Dir(path), c, err
	}
	listing, err := os.ReadDir(path)
	if err != nil {
		return "", nil, err
	}
	var torch []string
	for _, item := range listing {
		name := item.Name()
		if strings.HasSuffix(name, ".safetensors") || strings.HasSuffix(name, ".safetensors.index.json") {
			c, err = safetensors.Open(path)
			return path, c, err
		}
		if isTorch(name) {
			torch = append(torch, name)
		}
	}
	switch {
	case slices.Contains(torch, openCLIPWeights):
		torch = []string{openCLIPWeights}
	case len(torch) == 0:
		return "", nil, fmt.Errorf("%s holds neither *.safetensors nor a torch file (.pt, .pth, .bin)", path)
	case len(torch) > 1:
		return "", nil, fmt.Errorf("%s holds %d torch files that could be meant: %s; name one of them", path, len(torch), strings.Join(torch, ", "))
	}
	c, err = openFile(filepath.Join(path, torch[0]))
	return path, c, err
}

// openFile opens a file of tensors in either format. Names are those within a
// DistributedDataParallel, where one was saved.
func openFile(path string) (*safetensors.Checkpoint, error) {
	open := safetensors.OpenFile
	if isTorch(path) {
		open = torchfile.Open
	}
	c, err := open(path)
	if err != nil {
		return nil, err
	}
	return c.Rename(func(name string) string { return strings.TrimPrefix(name, "module.") })
}

func isTorch(name string) bool {
	return slices.Contains([]string{".pt", ".pth", ".bin"}, strings.ToLower(filepath.Ext(name)))
}

// findConfig reads the configuration of a folder: config.json, or open_clip's, or
// where there is neither what the tensors' shapes say.
func findConfig(dir string, c *safetensors.Checkpoint) (Config, *Preprocessor, error) {
	config, err := LoadConfig(dir)
	if err == nil {
		p, err := loadPreprocessor(dir, config.ImageSize)
		return config, p, err
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return Config{}, nil, err
	}
	config, p, err := loadOpenCLIPConfig(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return config, p, err
	}
	if config, err = configOfShapes(c); err != nil {
		return Config{}, nil, fmt.Errorf("clip: %s has neither %s nor %s, and %w", dir, configFile, openCLIPConfigFile, err)
	}
	p = defaultPreprocessor(config.ImageSize)
	p.fit = fitCropEven
	return config, p, nil
}
