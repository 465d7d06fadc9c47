package relabel

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Config is what decides the bytes of a run's output. A rerun must have the same.
type Config struct {
	Evaluator     string  `json:"evaluator"`
	Fingerprint   string  `json:"fingerprint"`
	Demonstration bool    `json:"demonstration"` // weights that are not fit for training
	Mode          string  `json:"mode"`
	ChunkSize     int     `json:"chunk_size"`
	Columns       Columns `json:"columns"`
	Labels        Labels  `json:"labels"`
	// Options are whatever else changes the labels: grid, weights, decoder.
	Options map[string]string `json:"options"`
}

func (c *Config) hash() string {
	data, err := json.Marshal(c)
	if err != nil {
		panic(err) // strings and numbers
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

// Counts sum up labels.
type Counts struct {
	Samples   int            `json:"samples"`
	Failed    int            `json:"failed"`
	Errors    map[string]int `json:"errors"` // failures by error code
	RewardSum float64        `json:"reward_sum"`
}

func (c *Counts) add(label *Label) {
	c.Samples++
	if !label.Failed() {
		c.RewardSum += label.Reward
		return
	}
	c.Failed++
	if c.Errors == nil {
		c.Errors = map[string]int{}
	}
	c.Errors[label.ErrorCode]++
}

func (c *Counts) join(other Counts) {
	c.Samples += other.Samples
	c.Failed += other.Failed
	c.RewardSum += other.RewardSum
	for code, n := range other.Errors {
		if c.Errors == nil {
			c.Errors = map[string]int{}
		}
		c.Errors[code] += n
	}
}

// RewardMean is the mean reward of the samples that were scored, 0 for none.
func (c *Counts) RewardMean() float64 {
	if c.Samples == c.Failed {
		return 0
	}
	return c.RewardSum / float64(c.Samples-c.Failed)
}

// Marker tells that a shard is finished.
type Marker struct {
	Config    string `json:"config"` // the hash of its Config
	InputSize int64  `json:"input_size"`
	// Source is the folder or bucket that the shard's relative paths are of.
	Source string `json:"source"`
	Counts
}

// Manifest is the state of an output.
type Manifest struct {
	Config Config            `json:"config"`
	Total  Counts            `json:"total"`
	Shards map[string]Marker `json:"shards"`
}

// Names within the output.
const (
	stateDir     = ".densereward/"
	configName   = stateDir + "config.json"
	manifestName = stateDir + "manifest.json"
	markerDir    = stateDir + "shards/"
)

// ErrOtherConfig is returned for an output that was made with another
// configuration; its text lists what differs.
var ErrOtherConfig = errors.New("the output was made with another configuration")

// claim writes the configuration into the output, or compares it with the one
// that is there.
func claim(ctx context.Context, out Store, config *Config, overwrite bool) error {
	found, err := ReadFile(ctx, out, configName)
	if err == nil {
		var old Config
		if err := json.Unmarshal(found, &old); err != nil {
			return fmt.Errorf("%s in %s: %w", configName, out, err)
		}
		if old.hash() == config.hash() {
			return nil
		}
		if !overwrite {
			return fmt.Errorf("%w: %s", ErrOtherConfig, differences(&old, config))
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return writeJSON(ctx, out, configName, config)
}

// differences lists the fields in which two configurations differ.
func differences(old, new *Config) string {
	fields := func(c *Config) map[string]json.RawMessage {
		data, _ := json.Marshal(c) //nolint:errcheck // strings and numbers
		var m map[string]json.RawMessage
		_ = json.Unmarshal(data, &m) //nolint:errcheck // just marshalled
		return m
	}
	before, after := fields(old), fields(new)
	var differ []string
	for name := range after {
		if !bytes.Equal(before[name], after[name]) {
			differ = append(differ, fmt.Sprintf("%s %s, now %s", name, before[name], after[name]))
		}
	}
	slices.Sort(differ)
	return strings.Join(differ, "; ")
}

func writeJSON(ctx context.Context, s Store, name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return s.Write(ctx, name, append(data, '\n'))
}

func markerName(shard string) string { return markerDir + shard + ".json" }

// readMarker returns the marker of a shard, nil if it is not finished.
func readMarker(ctx context.Context, out Store, shard string) (*Marker, error) {
	data, err := ReadFile(ctx, out, markerName(shard))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var m Marker
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("%s in %s: %w", markerName(shard), out, err)
	}
	return &m, nil
}

// ReadManifest sums up the finished shards of an output.
func ReadManifest(ctx context.Context, out Store) (*Manifest, error) {
	data, err := ReadFile(ctx, out, configName)
	if err != nil {
		return nil, err
	}
	m := &Manifest{Shards: map[string]Marker{}}
	if err := json.Unmarshal(data, &m.Config); err != nil {
		return nil, fmt.Errorf("%s in %s: %w", configName, out, err)
	}
	var names []string
	err = out.List(ctx, markerDir, func(name string, _ int64) error {
		names = append(names, strings.TrimSuffix(strings.TrimPrefix(name, markerDir), ".json"))
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		marker, err := readMarker(ctx, out, name)
		if err != nil {
			return nil, err
		}
		if marker != nil && marker.Config == m.Config.hash() {
			m.Shards[name] = *marker
			m.Total.join(marker.Counts)
		}
	}
	return m, nil
}
