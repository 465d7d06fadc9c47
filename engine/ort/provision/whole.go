package provision

import (
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"errors"
	"fmt"
	"io"
	"os"
)

// whole returns an ErrCorrupt if the file at path is no shared library of this
// platform's format, ends early, or is a published build but for some bytes. The
// system's loader finds some of that, in words that help nobody, and the rest
// ends the process when the missing page is read. known says that it is a published
// build to the last byte.
func whole(path string, published []release) (known bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	err = complete(f, info.Size())
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("it ends early, after %d bytes", info.Size())
	}
	if err != nil {
		return false, fmt.Errorf("%w: %s: %w", ErrCorrupt, path, err)
	}
	for _, r := range published {
		core := r.archives[0].files[0]
		if core.size != info.Size() || core.sha256 == "" {
			continue
		}
		got, err := digest(path)
		if err != nil {
			return false, err
		}
		if got != core.sha256 {
			return false, fmt.Errorf("%w: %s has the size of the published build %s, but its sha-256 is %s, not %s",
				ErrCorrupt, path, r.archives[0].source(), got, core.sha256)
		}
		return true, nil
	}
	return false, nil
}

var errNoLibrary = errors.New("not a shared library in the format of Linux, macOS or Windows")

// complete returns an error unless r holds all segments that the header of a
// library names.
func complete(r io.ReaderAt, size int64) error {
	var magic [4]byte
	if _, err := r.ReadAt(magic[:], 0); err != nil {
		return errNoLibrary
	}
	ends := func(name string, offset, length uint64) error {
		if offset > uint64(size) || length > uint64(size)-offset {
			return fmt.Errorf("%s ends at byte %d, the file at %d", name, offset+length, size)
		}
		return nil
	}
	var problems []error
	switch {
	case string(magic[:]) == elf.ELFMAG:
		f, err := elf.NewFile(r)
		if err != nil {
			return err
		}
		for _, p := range f.Progs {
			problems = append(problems, ends("segment "+p.Type.String(), p.Off, p.Filesz))
		}
	case string(magic[:2]) == "MZ":
		f, err := pe.NewFile(r)
		if err != nil {
			return err
		}
		for _, s := range f.Sections {
			problems = append(problems, ends("section "+s.Name, uint64(s.Offset), uint64(s.Size)))
		}
	default:
		f, err := macho.NewFile(r)
		if err != nil {
			return errNoLibrary
		}
		for _, l := range f.Loads {
			if s, ok := l.(*macho.Segment); ok {
				problems = append(problems, ends("segment "+s.Name, s.Offset, s.Filesz))
			}
		}
	}
	return errors.Join(problems...)
}
