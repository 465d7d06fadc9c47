package autoencoder

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/denseflow/densereward/engine/initializers"
	"github.com/denseflow/densereward/engine/safetensors"
	"github.com/denseflow/densereward/internal/modelfile"
)

const (
	configName   = "config.json"
	pipelineName = "model_index.json"
	weightsBase  = "diffusion_pytorch_model"
	fileSuffix   = ".safetensors"
)

// Model is a decoder as it lies on disk.
type Model struct {
	Name   string // of its folder or file
	Config Config

	file       []byte // config.json, or what stands for it
	parameters *parameters
}

// Fingerprint identifies the decoder by its weights and its configuration, in hex.
func (m *Model) Fingerprint() (string, error) {
	weights, err := m.parameters.Fingerprint()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append([]byte(weights), m.file...))
	return hex.EncodeToString(sum[:]), nil
}

// Folder is where the files lie that a graph's weights are read from.
func (m *Model) Folder() string { return m.parameters.Folder() }

// Unchanged fails with safetensors.ErrChanged if one of the files is not what it
// was at Open.
func (m *Model) Unchanged() error { return m.parameters.Unchanged() }

// parameters are a decoder's tensors by diffusers' names.
type parameters struct {
	*safetensors.Checkpoint
	original func(name string) string // what the file calls a tensor; nil where it has diffusers' names
}

var _ initializers.Source = (*parameters)(nil)

// Tensor finds a tensor by diffusers' name.
func (p *parameters) Tensor(name string) (safetensors.Tensor, bool) {
	return p.Checkpoint.Tensor(p.nameOf(name))
}

func (p *parameters) nameOf(name string) string {
	if p.original == nil {
		return name
	}
	return p.original(name)
}

// read is the data of a tensor.
func (p *parameters) read(name string) ([]byte, safetensors.DType, error) {
	t, _ := p.Tensor(name)
	data, err := p.Read(p.nameOf(name))
	return data, t.DType, err
}

// Open reads what lies at path: a decoder's folder as diffusers saves it, the
// folder of a whole pipeline, or a single file with the names of its first
// authors.
func Open(path string) (*Model, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("autoencoder: %w", err)
	}
	if !info.IsDir() {
		return openSingle(path)
	}
	dir := path
	if !exists(filepath.Join(dir, configName)) {
		switch inner := filepath.Join(dir, "vae"); {
		case exists(filepath.Join(inner, configName)):
			dir = inner
		case exists(filepath.Join(dir, pipelineName)):
			return nil, fmt.Errorf("autoencoder: %s is a pipeline without vae/%s", path, configName)
		case exists(filepath.Join(dir, singleName)):
			return openSingle(filepath.Join(dir, singleName))
		}
	}
	m := &Model{Name: filepath.Base(path), parameters: &parameters{}}
	if m.file, err = modelfile.Read(filepath.Join(dir, configName), maxConfigBytes); err != nil {
		return nil, fmt.Errorf("autoencoder: %w", err)
	}
	if m.Config, err = ParseConfig(m.file); err != nil {
		return nil, err
	}
	if m.parameters.Checkpoint, err = openWeights(dir); err != nil {
		return nil, err
	}
	if side := pipelineGrid(filepath.Dir(filepath.Clean(dir)), m.Config); side > 0 {
		m.Config.GridSide = side
	}
	return m, checkStatistics(m.Config, m.parameters)
}

// openWeights opens the weights of a decoder's folder. Where there are none of
// full precision but several variants, it takes the one with the finest numbers.
func openWeights(dir string) (*safetensors.Checkpoint, error) {
	if !exists(filepath.Join(dir, weightsBase+fileSuffix)) && !exists(filepath.Join(dir, weightsBase+fileSuffix+".index.json")) {
		for _, variant := range []string{".fp32", ".fp16", ".bf16"} {
			if file := filepath.Join(dir, weightsBase+variant+fileSuffix); exists(file) {
				return safetensors.OpenFile(file)
			}
		}
	}
	return safetensors.Open(dir)
}

// pipelineGrid is how many cells a side of the latents one of the dense grid
// holds by the pipeline in the folder dir, 0 where it does not tell: the flow
// model takes tokens of 2x2 cells of all channels, or latents as they are.
func pipelineGrid(dir string, c Config) int {
	if !exists(filepath.Join(dir, pipelineName)) {
		return 0
	}
	for _, part := range []string{"transformer", "unet"} {
		var flow struct {
			In  any `json:"in_channels"`
			Out any `json:"out_channels"`
		}
		data, err := modelfile.Read(filepath.Join(dir, part, configName), maxConfigBytes)
		if err != nil || json.Unmarshal(data, &flow) != nil {
			continue
		}
		// Models that are shown more than the latents say what they give.
		for _, channels := range []any{flow.In, flow.Out} {
			switch channels {
			case float64(c.LatentChannels * patch * patch):
				return patch
			case float64(c.LatentChannels):
				return 1
			}
		}
	}
	var index struct {
		Class string `json:"_class_name"`
	}
	data, err := modelfile.Read(filepath.Join(dir, pipelineName), maxConfigBytes)
	if err == nil && json.Unmarshal(data, &index) == nil && c.Class == classKL &&
		strings.HasPrefix(index.Class, "Flux") && !strings.HasPrefix(index.Class, "Flux2") {
		return patch
	}
	return 0
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
