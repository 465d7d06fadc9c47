// Package inputs finds the shards that a command line names.
package inputs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/denseflow/densereward/reward/relabel"
	"github.com/denseflow/densereward/reward/relabel/compress"
	"github.com/denseflow/densereward/reward/relabel/lines"
	"github.com/denseflow/densereward/reward/relabel/parquet"
	"github.com/denseflow/densereward/reward/relabel/store"
	"github.com/denseflow/densereward/reward/relabel/webdataset"
)

// FormatOf is the format of a file by its name, nil if it is none of ours.
func FormatOf(name string) relabel.Format {
	switch plain := compress.Trim(name); {
	case strings.HasSuffix(name, ".parquet"):
		return parquet.Format{}
	case strings.HasSuffix(plain, ".tar"), strings.HasSuffix(name, ".tgz"):
		return webdataset.Format{}
	case strings.HasSuffix(plain, ".jsonl"), strings.HasSuffix(plain, ".ndjson"):
		return lines.JSONL{}
	case strings.HasSuffix(plain, ".csv"):
		return lines.CSV{}
	}
	return nil
}

// Find lists the shards that addresses name: files, folders and s3://
// addresses. A folder stands for all shards below it, whose outputs keep their
// place in it, or, where it has none, for its images. Shards come in the order
// of their names.
func Find(ctx context.Context, addresses []string, env func(string) string) ([]relabel.Shard, error) {
	var shards []relabel.Shard
	for _, address := range addresses {
		some, err := find(ctx, address, env)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", address, err)
		}
		shards = append(shards, some...)
	}
	slices.SortStableFunc(shards, func(a, b relabel.Shard) int { return strings.Compare(a.Name, b.Name) })
	return shards, nil
}

func find(ctx context.Context, address string, env func(string) string) ([]relabel.Shard, error) {
	if store.IsS3(address) {
		return findRemote(ctx, address, env)
	}
	info, err := os.Stat(address)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return below(ctx, store.Folder(address))
	}
	return file(store.Folder(filepath.Dir(address)), filepath.Base(address), info.Size())
}

func findRemote(ctx context.Context, address string, env func(string) string) ([]relabel.Shard, error) {
	folder := address
	if FormatOf(address) != nil {
		folder = address[:strings.LastIndexByte(address, '/')]
	}
	bucket, err := store.OpenBucket(folder, env)
	if err != nil {
		return nil, err
	}
	if folder == address {
		return below(ctx, bucket)
	}
	name := path.Base(address)
	object, err := bucket.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	shards, err := file(bucket, name, object.Size())
	return shards, errors.Join(err, object.Close())
}

func file(s relabel.Store, name string, size int64) ([]relabel.Shard, error) {
	format := FormatOf(name)
	if format == nil {
		return nil, errors.New("neither Parquet, tar, JSONL, CSV nor a folder")
	}
	return []relabel.Shard{{Name: name, Store: s, Path: name, Size: size, Format: format}}, nil
}

func below(ctx context.Context, s relabel.Store) ([]relabel.Shard, error) {
	var shards []relabel.Shard
	images := 0
	err := s.List(ctx, "", func(name string, size int64) error {
		if hidden(name) {
			return nil
		}
		if lines.IsImage(name) {
			images++
		}
		if format := FormatOf(name); format != nil {
			shards = append(shards, relabel.Shard{Name: name, Store: s, Path: name, Size: size, Format: format})
		}
		return nil
	})
	if err != nil || len(shards) > 0 {
		return shards, err
	}
	if images == 0 {
		return nil, errors.New("the folder has neither shards nor images, or does not exist")
	}
	return []relabel.Shard{{Name: "metadata.jsonl", Store: s, Path: ".", Format: lines.Folder{}}}, nil
}

// hidden tells state and hidden files, which loaders of data sets leave out too.
func hidden(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(part, ".") || strings.HasPrefix(part, "_") {
			return true
		}
	}
	return false
}
