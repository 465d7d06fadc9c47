package relabel

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gofrs/flock"
)

// journal keeps the labels of one shard's chunks while the shard is not yet
// finished. It is a text file: each line is the CRC-32C of the rest in hex, a
// space, and JSON; the first is the header. A line that was cut short, or
// overtaken by a loss of power, fails its checksum: it and all behind it are cut
// off when the journal is opened. The last line of a chunk counts.
type journal struct {
	file   *os.File
	lock   *flock.Flock
	end    int64
	chunks map[int]extent // where the labels of a chunk were when it was opened
	synced time.Time
}

type extent struct{ offset, length int64 }

// journalHeader says whose labels a journal holds.
type journalHeader struct {
	Shard  string `json:"shard"`
	Size   int64  `json:"size"` // of the input
	Config string `json:"config"`
}

type journalLine struct {
	Chunk  int     `json:"chunk"`
	Labels []Label `json:"labels"`
}

// maxJournalLine bounds what one chunk can take.
const maxJournalLine = 1 << 30

// errBusy is why a shard cannot be labelled now.
var errBusy = errors.New("another process is labelling the shard")

// openJournal opens the journal at path, or begins it. One with another header
// is begun anew. While it is open no other process can open it.
func openJournal(path string, header journalHeader) (*journal, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	lock := flock.New(path)
	if locked, err := lock.TryLock(); err != nil {
		return nil, err
	} else if !locked {
		return nil, fmt.Errorf("%w: %s is locked", errBusy, path)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	j := &journal{file: file, lock: lock, chunks: map[int]extent{}}
	if err := j.recover(header); err != nil {
		return nil, errors.Join(err, j.close())
	}
	return j, nil
}

// recover finds the whole lines and cuts off the rest.
func (j *journal) recover(header journalHeader) error {
	lines := bufio.NewReaderSize(j.file, 1<<20)
	for first := true; ; first = false {
		payload, length, err := readLine(lines)
		if err != nil {
			return err
		}
		if payload == nil {
			break
		}
		if first {
			var found journalHeader
			if json.Unmarshal(payload, &found) != nil || found != header {
				break
			}
		} else {
			var line struct {
				Chunk int `json:"chunk"`
			}
			if err := json.Unmarshal(payload, &line); err != nil {
				break
			}
			j.chunks[line.Chunk] = extent{j.end, length}
		}
		j.end += length
	}
	if err := j.file.Truncate(j.end); err != nil {
		return err
	}
	if j.end == 0 {
		return j.append(header)
	}
	return nil
}

// readLine returns the payload of the next line and the line's length; nil if no
// whole line is left.
func readLine(r *bufio.Reader) (payload []byte, length int64, err error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			break
		}
		if errors.Is(err, io.EOF) || len(line) > maxJournalLine {
			return nil, 0, nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, 0, err
		}
	}
	sum, payload, ok := bytes.Cut(line[:len(line)-1], []byte(" "))
	want, err := strconv.ParseUint(string(sum), 16, 32)
	if !ok || err != nil || uint32(want) != checksum(payload) {
		return nil, 0, nil
	}
	return payload, int64(len(line)), nil
}

func checksum(payload []byte) uint32 {
	return crc32.Checksum(payload, crc32.MakeTable(crc32.Castagnoli))
}

// read returns the labels of a chunk; nil if the journal has none.
func (j *journal) read(at extent) ([]Label, error) {
	payload, _, err := readLine(bufio.NewReader(io.NewSectionReader(j.file, at.offset, at.length)))
	if err != nil {
		return nil, err
	}
	var line journalLine
	if payload == nil || json.Unmarshal(payload, &line) != nil {
		return nil, fmt.Errorf("%s: a chunk's labels are damaged", j.file.Name())
	}
	return line.Labels, nil
}

// add appends the labels of a chunk. They survive the process at once, and the
// machine within a second.
func (j *journal) add(chunk int, labels []Label, now time.Time) error {
	if err := j.append(journalLine{chunk, labels}); err != nil {
		return err
	}
	if now.Sub(j.synced) < time.Second {
		return nil
	}
	j.synced = now
	return j.file.Sync()
}

func (j *journal) append(v any) error {
	payload, err := json.Marshal(v)
	if err != nil {
		return err
	}
	line := fmt.Appendf(nil, "%08x %s\n", checksum(payload), payload)
	if _, err := j.file.WriteAt(line, j.end); err != nil {
		return err
	}
	j.end += int64(len(line))
	return nil
}

func (j *journal) close() error {
	if err := j.file.Close(); !errors.Is(err, os.ErrClosed) { // by remove
		return errors.Join(err, j.lock.Close())
	}
	return j.lock.Close()
}

// remove deletes the journal of a finished shard, which is still to be closed. Windows
// deletes no file that is open.
func (j *journal) remove() error { return errors.Join(j.file.Close(), os.Remove(j.file.Name())) }
