package imagedoctor

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/denseflow/densereward/engine/safetensors"
	"github.com/denseflow/densereward/engine/tokenizer"
)

// folder is a checkpoint folder whose files have been opened and fit each other.
// Of the weights nothing but names, shapes and places has been read.
type folder struct {
	dir        string
	config     Config
	checkpoint *safetensors.Checkpoint
	tokenizer  *tokenizer.Tokenizer
}

// openFolder opens a checkpoint folder: see Load for its files.
func openFolder(dir string) (*folder, error) {
	f := &folder{dir: dir}
	var err error
	if f.config, err = LoadConfig(dir); err != nil {
		return nil, err
	}
	if f.checkpoint, err = safetensors.Open(dir); err != nil {
		return nil, fmt.Errorf("imagedoctor: %w", err)
	}
	if f.tokenizer, err = readTokenizer(dir); err != nil {
		return nil, err
	}
	if err := f.config.CheckTokens(f.tokenizer.TokenID); err != nil {
		return nil, err
	}
	// Where there is no embedding, the graph says so.
	if rows := vocabulary(f.config, f.checkpoint.Tensor); rows > 0 && rows < f.tokenizer.Size() {
		return nil, fmt.Errorf("imagedoctor: %s has %d tokens, the model's embedding %d", tokenizerFile, f.tokenizer.Size(), rows)
	}
	return f, nil
}

func readTokenizer(dir string) (*tokenizer.Tokenizer, error) {
	t, err := tokenizer.Load(filepath.Join(dir, tokenizerFile))
	if err != nil {
		return nil, fmt.Errorf("imagedoctor: %w", err)
	}
	return t, nil
}

// vocabulary is the number of rows of the embedding: what the configuration
// says, or where it is silent the tensor; 0 if there is none.
func vocabulary(c Config, lookup func(name string) (safetensors.Tensor, bool)) int {
	if c.VocabSize > 0 {
		return c.VocabSize
	}
	if t, ok := lookup(embeddingName); ok && len(t.Shape) == 2 {
		return int(t.Shape[0])
	}
	return 0
}

// evaluator is what o makes of the checkpoint, without a session.
func (f *folder) evaluator(o Options) *Evaluator {
	e := &Evaluator{config: f.config, options: o, tokenizer: f.tokenizer, imageStart: len(f.tokenizer.Encode(promptHead))}
	if !o.OneByOne {
		e.draft = newDraft(f.tokenizer, vocabulary(f.config, f.checkpoint.Tensor))
	}
	return e
}

// fingerprint hashes everything that answers depend on.
func (f *folder) fingerprint(o Options) (string, error) {
	weights, err := f.checkpoint.Fingerprint()
	if err != nil {
		return "", fmt.Errorf("imagedoctor: %w", err)
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%s\n%v %v %v %v\n", weights, o.RepetitionPenalty, o.MaxNewTokens, o.Provider.Kind, o.Float32)
	if o.Prefix != nil {
		fmt.Fprintf(sum, "prefix %q\n", *o.Prefix)
	}
	for _, name := range []string{configFile, tokenizerFile, preprocessorFile, generationFile} {
		data, err := os.ReadFile(filepath.Join(f.dir, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("imagedoctor: %w", err)
		}
		fmt.Fprintf(sum, "%s %d\n", name, len(data))
		sum.Write(data)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
