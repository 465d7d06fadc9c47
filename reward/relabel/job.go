package relabel

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Shard is a file of a data set, which becomes one file of labels.
type Shard struct {
	Name   string // of the output, slash-separated
	Store  Store
	Path   string // in Store
	Size   int64  // in bytes
	Format Format
}

// source is the address of the folder in which the shard lies.
func (s *Shard) source() string {
	if folder := path.Dir(s.Path); folder != "." {
		return s.Store.Address(folder)
	}
	return strings.TrimSuffix(s.Store.Address(""), "/")
}

// Outside is the shards that are none of output's own, which may lie in the folder
// that was searched for shards.
func Outside(shards []Shard, output Store) []Shard {
	within := strings.TrimSuffix(output.Address(""), "/") + "/"
	return slices.DeleteFunc(shards, func(s Shard) bool {
		address := s.Store.Address(s.Path)
		return strings.HasPrefix(address, within) && address != output.Address(s.Name)
	})
}

// Job labels shards, each of which is finished by itself.
type Job struct {
	Config   Config
	Shards   []Shard // this process's share
	Output   Store
	State    string // local folder of the journals
	Evaluate Evaluate

	// Concurrency is the number of chunks in flight: one on each device and at
	// least as many that are read and decoded meanwhile.
	Concurrency int
	// MaxBytes bounds the bytes of images that are held; a single chunk may
	// exceed it.
	MaxBytes int64

	RetryFailed bool
	Overwrite   bool

	// Progress, if set, is called after each chunk from one goroutine.
	Progress func(Progress)
	Now      func() time.Time
}

// Progress is how far a run has come.
type Progress struct {
	Counts           // of this run: skipped shards are not in it
	Resumed    int   // samples taken from journals
	Shards     int   // of the share
	Finished   int   // shards with an output, those that were skipped included
	Unreadable int   // shards without one
	Bytes      int64 // of input that has been labelled or skipped
	AllBytes   int64
}

// ShardError says why a shard has no output.
type ShardError struct {
	Shard string
	Err   error
}

func (e *ShardError) Error() string { return fmt.Sprintf("shard %s: %v", e.Shard, e.Err) }

func (e *ShardError) Unwrap() error { return e.Err }

// Summary counts what a run did; shards that were finished before are not in Progress.
type Summary struct {
	Progress
	Skipped     int           // shards that were finished before
	ShardErrors []*ShardError // why shards have no output
}

func (j *Job) check() error {
	switch {
	case j.Evaluate == nil || j.Output == nil || j.Now == nil || j.State == "":
		return errors.New("relabel: a job needs Evaluate, Output, State and Now")
	case j.Config.ChunkSize < 1 || j.Concurrency < 1:
		return fmt.Errorf("relabel: chunks of %d, %d at a time; at least 1 of each is needed", j.Config.ChunkSize, j.Concurrency)
	}
	seen := map[string]string{}
	for _, s := range j.Shards {
		if other, taken := seen[s.Name]; taken {
			return fmt.Errorf("relabel: %s and %s would both become %s; label them to two outputs", other, s.Store.Address(s.Path), s.Name)
		}
		if strings.HasPrefix(s.Name, stateDir) {
			return fmt.Errorf("relabel: %s lies in the state of another run", s.Path)
		}
		if address := j.Output.Address(s.Name); address == s.Store.Address(s.Path) {
			return fmt.Errorf("relabel: %s would be replaced by its own output", address)
		}
		if folder := s.Store.Address(s.Path) + "/"; strings.HasPrefix(j.Output.Address("")+"/", folder) {
			return fmt.Errorf("relabel: the output %s lies in the folder %s, whose images are the input", j.Output, folder)
		}
		seen[s.Name] = s.Store.Address(s.Path)
	}
	return nil
}

func (j *Job) journalPath(shard string) string {
	return filepath.Join(j.State, filepath.FromSlash(shard)+".journal")
}

// pending tells whether a shard is yet to be labelled.
func (j *Job) pending(ctx context.Context, s *Shard) (todo bool, err error) {
	marker, err := readMarker(ctx, j.Output, s.Name)
	if err != nil {
		return false, err
	}
	if marker == nil || marker.Config != j.Config.hash() {
		return true, nil
	}
	if marker.InputSize != s.Size {
		return false, &ShardError{s.Name, fmt.Errorf("%w: it was labelled when it had %d bytes, now it has %d; remove %s to label it again", errInputChanged, marker.InputSize, s.Size, markerName(s.Name))}
	}
	return j.RetryFailed && marker.Failed > 0, nil
}

var errInputChanged = errors.New("the input has changed")
