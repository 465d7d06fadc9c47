package webdataset

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/denseflow/densereward/reward/relabel"
)

// ReadSamples visits the samples of a shard. Their fields are the members of
// their JSON object and, by their extensions, their files: text of .txt and .cls,
// bytes of all others.
func ReadSamples(ctx context.Context, s relabel.Store, name string, visit func(key string, fields map[string]any) error) error {
	r, err := Format{}.Open(ctx, s, name, relabel.Columns{})
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // it was only read
	for {
		record, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		fields := map[string]any{}
		found, ok := record.Row.(*sample)
		if !ok {
			return fmt.Errorf("%s is not of this format", record.Name)
		}
		for _, m := range found.members {
			switch {
			case m.key == "":
			case m.extension == jsonExtension:
				if err := json.Unmarshal(m.data, &fields); err != nil {
					return fmt.Errorf("%s: %w", m.header.Name, err)
				}
			case m.extension == promptExtension || m.extension == "cls":
				fields[m.extension] = strings.TrimSpace(string(m.data))
			default:
				fields[m.extension] = m.data
			}
		}
		if err := visit(found.key, fields); err != nil {
			return err
		}
	}
}
