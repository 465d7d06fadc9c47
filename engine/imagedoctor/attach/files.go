package attach

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/engine/safetensors"
)

// generationFile is copied where it is.
const generationFile = "generation_config.json"

// Tokens are what asks for heatmaps; their ids are the tokenizer's next two.
var Tokens = [2]string{"<|misalignment|>", "<|artifact|>"}

// writeFiles writes all that is not weights to dir and gives the ids of Tokens.
func writeFiles(plain, dir string, weights *safetensors.Checkpoint) (ids [2]int, err error) {
	data, err := os.ReadFile(filepath.Join(plain, checkpoint.TokenizerFile))
	if err != nil {
		return ids, fmt.Errorf("attach: %w", err)
	}
	if data, ids, err = addTokens(data); err != nil {
		return ids, fmt.Errorf("attach: %s: %w", filepath.Join(plain, checkpoint.TokenizerFile), err)
	}
	if err := os.WriteFile(filepath.Join(dir, checkpoint.TokenizerFile), data, 0o644); err != nil {
		return ids, fmt.Errorf("attach: %w", err)
	}
	embedding, ok := weights.Tensor(checkpoint.EmbeddingName)
	if !ok || len(embedding.Shape) != 2 {
		return ids, fmt.Errorf("attach: %s: %w: it has no tensor %s", plain, ErrNotPlain, checkpoint.EmbeddingName)
	}
	if err := writeConfig(plain, dir, ids, max(int(embedding.Shape[0]), ids[1]+1)); err != nil {
		return ids, fmt.Errorf("attach: %w", err)
	}
	for _, name := range []string{checkpoint.PreprocessorFile, generationFile} {
		data, err := os.ReadFile(filepath.Join(plain, name))
		if errors.Is(err, fs.ErrNotExist) && name == generationFile {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), data, 0o644)
		}
		if err != nil {
			return ids, fmt.Errorf("attach: %w", err)
		}
	}
	return ids, nil
}

// addTokens is the tokenizer.json data with Tokens added, and their ids.
func addTokens(data []byte) ([]byte, [2]int, error) {
	var ids [2]int
	var file map[string]json.RawMessage
	var model struct {
		Vocab map[string]int `json:"vocab"`
	}
	var added []map[string]any
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, ids, err
	}
	if err := json.Unmarshal(file["model"], &model); err != nil {
		return nil, ids, fmt.Errorf("model: %w", err)
	}
	if err := json.Unmarshal(file["added_tokens"], &added); err != nil {
		return nil, ids, fmt.Errorf("added_tokens: %w", err)
	}
	last := -1
	for _, id := range model.Vocab {
		last = max(last, id)
	}
	for _, t := range added {
		if t["content"] == Tokens[0] || t["content"] == Tokens[1] {
			return nil, ids, fmt.Errorf("%w: it has the token %v", ErrNotPlain, t["content"])
		}
		id, _ := t["id"].(float64)
		last = max(last, int(id))
	}
	for i, token := range Tokens {
		ids[i] = last + 1 + i
		added = append(added, map[string]any{"id": ids[i], "content": token, "single_word": false, "lstrip": false,
			"rstrip": false, "normalized": false, "special": true})
	}
	var err error
	if file["added_tokens"], err = encode(added); err != nil {
		return nil, ids, err
	}
	data, err = encode(file)
	return data, ids, err
}

// writeConfig writes plain's config.json as that of an ImageDoctor.
func writeConfig(plain, dir string, ids [2]int, vocabulary int) error {
	var file map[string]any
	if err := checkpoint.ReadJSON(plain, checkpoint.ConfigFile, &file); err != nil {
		return err
	}
	file["architectures"], file["model_type"] = []string{"ImageDoctorForConditionalGeneration"}, "ImageDoctor"
	file["heatmap_weight"] = 1
	file["misalignment_token_id"], file["artifact_token_id"] = ids[0], ids[1]
	file["vocab_size"] = vocabulary
	if text, ok := file["text_config"].(map[string]any); ok {
		text["vocab_size"] = vocabulary
	}
	data, err := encode(file)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, checkpoint.ConfigFile), data, 0o644)
}

// encode is v as JSON with every character as it is: tokens are full of angle brackets.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}
