package webdataset

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/denseflow/densereward/reward/relabel"
	"github.com/denseflow/densereward/reward/relabel/compress"
)

// Writer makes the output of the shard.
func (r *reader) Writer(w io.Writer, _ relabel.Beside, labels relabel.Labels) (relabel.Writer, error) {
	buffer := bufio.NewWriterSize(w, 1<<20)
	stream, err := compress.NewWriter(buffer, compression(r.name))
	if err != nil {
		return nil, err
	}
	return &writer{buffer, stream, tar.NewWriter(stream), labels}, nil
}

type writer struct {
	buffer  *bufio.Writer
	stream  io.WriteCloser
	archive *tar.Writer
	labels  relabel.Labels
}

// Write adds the files of a sample.
func (w *writer) Write(record *relabel.Record, label *relabel.Label) error {
	s, ok := record.Row.(*sample)
	if !ok {
		return fmt.Errorf("webdataset: %s is not of this format", record.Name)
	}
	extensions := make([]string, 0, len(w.labels.Maps))
	for _, name := range w.labels.Maps {
		extensions = append(extensions, w.labels.Prefix+name+".npy")
	}
	source := []byte("{}")
	at := len(s.members) // of the JSON object
	for i, m := range s.members {
		if m.key != "" && m.extension == jsonExtension {
			at = i
			if object(m.data) != nil { // else it gives way to the label of its failure
				source = m.data
			}
		}
		if m.key != "" && slices.Contains(extensions, m.extension) {
			return fmt.Errorf("%w: the source already has %s; give the new ones a prefix, --column-prefix", relabel.ErrDoNotFit, m.header.Name)
		}
	}
	labelled, err := w.labels.Merge(source, label)
	if err != nil {
		return fmt.Errorf("%w: %s.json: %w", relabel.ErrDoNotFit, s.key, err)
	}
	for i, m := range s.members {
		data := m.data
		if i == at {
			data = labelled
		}
		if err := w.add(m.header, data); err != nil {
			return err
		}
	}
	modified := s.members[0].header.ModTime
	if at == len(s.members) {
		if err := w.addNew(s.key+"."+jsonExtension, modified, labelled); err != nil {
			return err
		}
	}
	return w.maps(s.key, modified, extensions, label)
}

func (w *writer) maps(key string, modified time.Time, extensions []string, label *relabel.Label) error {
	if label.Failed() {
		return nil
	}
	for i, extension := range extensions {
		m := label.Maps[i]
		if m.Height == 0 {
			continue
		}
		file, err := m.NPY(w.labels.MapType)
		if err != nil {
			return err
		}
		if err := w.addNew(key+"."+extension, modified, file); err != nil {
			return err
		}
	}
	return nil
}

// add copies a file of the source, its data perhaps replaced.
func (w *writer) add(source *tar.Header, data []byte) error {
	header := *source
	header.Size = int64(len(data))
	header.Format = tar.FormatUnknown // the simplest that fits
	header.PAXRecords = nil
	if err := w.archive.WriteHeader(&header); err != nil {
		return err
	}
	_, err := w.archive.Write(data)
	return err
}

func (w *writer) addNew(name string, modified time.Time, data []byte) error {
	return w.add(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, ModTime: modified}, data)
}

func (w *writer) Close() error {
	return errors.Join(w.archive.Close(), w.stream.Close(), w.buffer.Flush())
}
