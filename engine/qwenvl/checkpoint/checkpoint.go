// Package checkpoint reads the folder of a Qwen-VL model as it was published: its
// configuration in whichever layout, the names of its tensors, its tokenizer, and the
// sizes that the processor gives images. It computes nothing with the weights.
package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/denseflow/densereward/engine/safetensors"
	"github.com/denseflow/densereward/engine/tokenizer"
	"github.com/denseflow/densereward/internal/modelfile"
)

// EmbeddingName is the tensor of the token embedding, (vocabulary,HiddenSize).
const EmbeddingName = "model.embed_tokens.weight"

// maxFileBytes bounds each of the files beside the weights.
const maxFileBytes = 64 << 20

// Folder is a checkpoint folder whose files have been opened and fit each
// other. Of the weights nothing but names, shapes and places has been read.
type Folder struct {
	Dir       string
	Config    Config
	Weights   *safetensors.Checkpoint
	Tokenizer *tokenizer.Tokenizer
}

// Open opens a checkpoint folder: config.json, *.safetensors,
// the tokenizer's files and, where they are, preprocessor_config.json and
// generation_config.json.
func Open(dir string) (*Folder, error) {
	f := &Folder{Dir: dir}
	var err error
	if f.Config, err = LoadConfig(dir); err != nil {
		return nil, err
	}
	weights, err := safetensors.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := checkMerged(dir, weights.Names()); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	if f.Weights, err = weights.Rename(TensorName); err != nil {
		return nil, err
	}
	if f.Tokenizer, err = tokenizer.LoadFolder(dir); err != nil {
		return nil, err
	}
	if err := f.Config.CheckTokens(f.Tokenizer); err != nil {
		return nil, err
	}
	// Where there is no embedding, the graph says so.
	if rows := f.Vocabulary(); rows > 0 && rows < f.Tokenizer.Size() {
		return nil, fmt.Errorf("the tokenizer has %d tokens, the model's embedding %d", f.Tokenizer.Size(), rows)
	}
	return f, nil
}

// Vocabulary is the number of rows of the embedding, 0 where there is none.
func (f *Folder) Vocabulary() int { return f.Config.Vocabulary(f.Weights.Tensor) }

// Vocabulary is the number of rows of the embedding: what the configuration
// says, or where it is silent the tensor; 0 if there is none.
func (c Config) Vocabulary(lookup func(name string) (safetensors.Tensor, bool)) int {
	if c.VocabSize > 0 {
		return c.VocabSize
	}
	if t, ok := lookup(EmbeddingName); ok && len(t.Shape) == 2 {
		return int(t.Shape[0])
	}
	return 0
}

// Fingerprint hashes weights, configuration and tokenizer, and options, which
// stands for everything else that answers depend on.
func (f *Folder) Fingerprint(options string) (string, error) {
	weights, err := f.Weights.Fingerprint()
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%s\n%s", weights, options)
	for _, name := range append([]string{ConfigFile, PreprocessorFile, ProcessorFile, GenerationFile}, tokenizer.Files()...) {
		data, err := modelfile.Read(filepath.Join(f.Dir, name), maxFileBytes)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		fmt.Fprintf(sum, "%s %d\n", name, len(data))
		sum.Write(data)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
