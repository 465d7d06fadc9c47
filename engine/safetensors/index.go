package safetensors

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/denseflow/densereward/internal/modelfile"
)

// openIndex reads an index and the headers of the shards it names. Tensors of
// a shard that the index does not name are left out.
func openIndex(path string) (*Checkpoint, error) {
	shardOf, err := readIndex(path)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{
		tensors: make(map[string]Tensor, len(shardOf)),
		names:   slices.Sorted(maps.Keys(shardOf)),
	}
	shards := slices.Compact(slices.Sorted(maps.Values(shardOf)))
	for _, shard := range shards {
		tensors, metadata, file, err := readFile(filepath.Join(filepath.Dir(path), shard))
		if err != nil {
			return nil, fmt.Errorf("shard named by %s: %w", filepath.Base(path), err)
		}
		c.files = append(c.files, file)
		for _, t := range tensors {
			named, listed := shardOf[t.Name]
			if !listed {
				continue
			}
			if named != shard {
				return nil, at(path, tensorError(t.Name, "held by %s, but the index says %s", shard, named))
			}
			c.tensors[t.Name] = t
		}
		if c.metadata == nil {
			c.metadata = metadata
		}
	}
	for _, name := range c.names {
		if _, ok := c.tensors[name]; !ok {
			return nil, at(path, tensorError(name, "not in %s, where the index says it is", shardOf[name]))
		}
	}
	return c, c.settle()
}

// Shards are the files that an index names, sorted.
func Shards(index []byte) ([]string, error) {
	shardOf, err := parseIndex(index)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	return slices.Compact(slices.Sorted(maps.Values(shardOf))), nil
}

func readIndex(path string) (map[string]string, error) {
	data, err := modelfile.Read(path, maxHeaderBytes)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	shardOf, err := parseIndex(data)
	if err != nil {
		return nil, at(path, err)
	}
	return shardOf, nil
}

// parseIndex reads the JSON of an index: weight_map is what counts.
func parseIndex(data []byte) (map[string]string, error) {
	s := newScanner(data)
	var shardOf map[string]string
	err := s.object("index", func(key string) (err error) {
		if key != "weight_map" {
			return s.skip()
		}
		if shardOf != nil {
			return errors.New("weight_map occurs twice")
		}
		shardOf, err = s.strings(key)
		return err
	})
	if err == nil {
		err = s.end()
	}
	if err != nil {
		var format *FormatError
		if errors.As(err, &format) {
			return nil, err
		}
		return nil, tensorError("", "index: %v", err)
	}
	if shardOf == nil {
		return nil, tensorError("", "index has no weight_map")
	}
	for name, shard := range shardOf {
		if !plainName(shard) {
			return nil, tensorError(name, "shard %q is not a plain file name", shard)
		}
	}
	return shardOf, nil
}

// plainName reports whether name stays in its folder on every platform.
func plainName(name string) bool {
	return filepath.IsLocal(name) && name != "." && !strings.ContainsAny(name, "/\\:\x00")
}
