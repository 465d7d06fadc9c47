package offline

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/denseflow/densereward/reward/relabel"
	"github.com/denseflow/densereward/reward/relabel/store"
)

// relabelled is what relabel's manifests say of shards.
type relabelled struct {
	prefix  string
	scores  []string          // columns, that of the reward first
	sources map[string]string // where shards were read; "" if two of a name were at two places
}

// readRelabelled reads the manifests of the outputs that addresses name, whole or
// by their shards. The first one's labels stand for all.
func readRelabelled(ctx context.Context, addresses []string, env func(string) string) relabelled {
	r := relabelled{sources: map[string]string{}}
	read := map[string]bool{}
	for _, address := range addresses {
		s, err := openStore(outputOf(address), env)
		if err != nil || read[s.String()] {
			continue
		}
		read[s.String()] = true
		m, err := relabel.ReadManifest(ctx, s)
		if err != nil {
			continue // not relabel's
		}
		if l := m.Config.Labels; len(r.scores) == 0 {
			r.prefix, r.scores = l.Prefix, []string{l.Prefix + relabel.ColumnReward}
			for _, score := range l.Scores {
				r.scores = append(r.scores, l.Prefix+score)
			}
		}
		for name, shard := range m.Shards {
			if before, there := r.sources[name]; there && before != shard.Source {
				shard.Source = ""
			}
			r.sources[name] = shard.Source
		}
	}
	return r
}

// outputOf is the folder that an address is, or lies in.
func outputOf(address string) string {
	if store.IsS3(address) {
		return address
	}
	if info, err := os.Stat(address); err == nil && !info.IsDir() {
		return filepath.Dir(address)
	}
	return address
}

func openStore(address string, env func(string) string) (relabel.Store, error) {
	if !store.IsS3(address) {
		return store.Folder(address), nil
	}
	return store.OpenBucket(address, env)
}

// finder finds files by their paths in a shard: below images, or where that is ""
// below the shard's source.
func (r *relabelled) finder(ctx context.Context, images string, env func(string) string) (of func(shard string) func(path string) ([]byte, error), err error) {
	below := func(address string) (func(string) ([]byte, error), error) {
		s, err := openStore(address, env)
		return func(path string) ([]byte, error) { return relabel.ReadFile(ctx, s, path) }, err
	}
	if images != "" {
		if info, err := os.Stat(images); !store.IsS3(images) && (err != nil || !info.IsDir()) {
			return nil, errors.Join(err, errors.New("no such folder"))
		}
		find, err := below(images)
		return func(string) func(string) ([]byte, error) { return find }, err
	}
	return func(shard string) func(string) ([]byte, error) {
		source := r.sources[shard]
		if source == "" {
			return nil
		}
		find, err := below(source)
		if err != nil {
			return nil
		}
		return find
	}, nil
}
