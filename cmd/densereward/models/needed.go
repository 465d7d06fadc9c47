package models

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/denseflow/densereward/engine/safetensors"
	"github.com/denseflow/densereward/internal/hub"
)

// names of files that tell what a repository is.
const (
	pipelineFile = "model_index.json"
	openCLIPFile = "open_clip_pytorch_model.bin"
	decoderBase  = "diffusion_pytorch_model"
	suffix       = ".safetensors"
	indexSuffix  = ".safetensors.index.json"
)

// Needed picks the files of a repository that evaluators and decoders read: of a pipeline
// of diffusers its decoder and what tells its grid, of PP-OCR the two networks, and of
// anything else its weights with what configures them. It is a hub.Pick.
func Needed(names []string, read func(string) ([]byte, error)) ([]string, error) {
	switch {
	case slices.Contains(names, pipelineFile):
		return pipelineFiles(names, read)
	case slices.Contains(names, "det.onnx") && slices.Contains(names, "rec.onnx"):
		return []string{"det.onnx", "rec.onnx"}, nil
	}
	return folderFiles(names, read)
}

// pipelineFiles are a pipeline's decoder, and the configuration of its flow model.
func pipelineFiles(names []string, read func(string) ([]byte, error)) ([]string, error) {
	inner, err := folderFiles(below(names, "vae/"), func(name string) ([]byte, error) { return read("vae/" + name) })
	if err != nil {
		return nil, fmt.Errorf("vae: %w", err)
	}
	wanted := []string{pipelineFile}
	for _, name := range inner {
		wanted = append(wanted, "vae/"+name)
	}
	for _, flow := range []string{"transformer/config.json", "unet/config.json"} {
		if slices.Contains(names, flow) {
			wanted = append(wanted, flow)
		}
	}
	return wanted, nil
}

func below(names []string, prefix string) []string {
	var inner []string
	for _, name := range names {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			inner = append(inner, rest)
		}
	}
	return inner
}

// folderFiles are the weights at the top of a folder and what configures them.
func folderFiles(names []string, read func(string) ([]byte, error)) ([]string, error) {
	var top []string
	for _, name := range names {
		if !strings.Contains(name, "/") {
			top = append(top, name)
		}
	}
	weights, err := weightFiles(top, read)
	if err != nil {
		return nil, err
	}
	for _, name := range top {
		if hub.Configures(name) {
			weights = append(weights, name)
		}
	}
	return weights, nil
}

// weightFiles are safetensors where there are any, or the one torch file that could be
// meant, which CLIP's scores read.
func weightFiles(names []string, read func(string) ([]byte, error)) ([]string, error) {
	if has := func(name string) bool { return slices.Contains(names, name) }; !has(decoderBase+suffix) && !has(decoderBase+indexSuffix) {
		// As engine/vae prefers them.
		for _, variant := range []string{".fp32", ".fp16", ".bf16"} {
			if name := decoderBase + variant + suffix; has(name) {
				return []string{name}, nil
			}
		}
	}
	name, err := safetensors.Choose(names)
	switch {
	case err == nil && strings.HasSuffix(name, indexSuffix):
		return shards(name, read)
	case err == nil:
		return []string{name}, nil
	}
	if slices.ContainsFunc(names, func(name string) bool { return strings.HasSuffix(name, suffix) }) {
		return nil, fmt.Errorf("the repository %w", err)
	}
	var torch []string
	for _, name := range names {
		if slices.Contains([]string{".bin", ".pt", ".pth"}, path.Ext(name)) {
			torch = append(torch, name)
		}
	}
	switch {
	case slices.Contains(torch, openCLIPFile):
		return []string{openCLIPFile}, nil
	case len(torch) == 1:
		return torch, nil
	case len(torch) > 1:
		return nil, fmt.Errorf("the repository holds %d torch files that could be meant: %s; name one of them, %sORG/NAME/%s", len(torch), strings.Join(torch, ", "), hub.Scheme, torch[0])
	}
	return nil, errors.New("the repository holds neither *.safetensors nor a torch file (.pt, .pth, .bin)")
}

// shards are an index and the files that it names.
func shards(index string, read func(string) ([]byte, error)) ([]string, error) {
	data, err := read(index)
	if err != nil {
		return nil, err
	}
	files, err := safetensors.Shards(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", index, err)
	}
	return append(files, index), nil
}
