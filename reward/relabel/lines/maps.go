package lines

import (
	"encoding/json"
	"fmt"
	"path"

	"github.com/denseflow/densereward/reward/relabel"
)

// mapsSuffix makes the name of the folder of a shard's maps.
const mapsSuffix = ".maps"

// mapFiles writes the maps of a shard's records, one after the other, beside its
// output.
type mapFiles struct {
	folder string // beside the output
	beside relabel.Beside
	labels relabel.Labels
	record int // the next one
}

func newMapFiles(shard string, beside relabel.Beside, labels relabel.Labels) *mapFiles {
	return &mapFiles{folder: path.Base(shard) + mapsSuffix, beside: beside, labels: labels}
}

// add writes the maps of the next record and returns the fields with their paths.
func (m *mapFiles) add(label *relabel.Label) ([]relabel.Field, error) {
	fields := make([]relabel.Field, len(m.labels.Maps))
	for i, name := range m.labels.Maps {
		name = m.labels.Prefix + name
		fields[i] = relabel.Field{Name: name, Value: json.RawMessage("null")}
		if label.Failed() || label.Maps[i].Height == 0 {
			continue
		}
		file := path.Join(m.folder, fmt.Sprintf("%08d.%s.npy", m.record, name))
		data, err := label.Maps[i].NPY(m.labels.MapType)
		if err != nil {
			return nil, err
		}
		if err := m.beside(file, data); err != nil {
			return nil, err
		}
		if fields[i].Value, err = json.Marshal(file); err != nil {
			return nil, err
		}
	}
	m.record++
	return fields, nil
}
