package provision

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxUnpacked bounds what an archive unpacks to; the largest has about 700 MB.
const maxUnpacked = 4 << 30

// unpack gives each regular file of a .tgz or .zip archive to visit, which
// reads as much of it as it wants. Members are named as the archive names them
// and never become paths.
func unpack(path string, visit func(member string, r io.Reader) error) error {
	if strings.HasSuffix(path, ".zip") {
		return unpackZip(path, visit)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return unpackTar(f, visit)
}

func unpackTar(r io.Reader, visit func(string, io.Reader) error) error {
	plain, err := gzip.NewReader(r)
	if err != nil {
		return fmt.Errorf("reading archive: %w", err)
	}
	archive := tar.NewReader(io.LimitReader(plain, maxUnpacked))
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading archive: %w", err)
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		if err := visit(header.Name, archive); err != nil {
			return err
		}
	}
}

func unpackZip(path string, visit func(string, io.Reader) error) error {
	archive, err := zip.OpenReader(path)
	if err != nil {
		return fmt.Errorf("reading archive: %w", err)
	}
	defer func() { _ = archive.Close() }()
	for _, member := range archive.File {
		if !member.Mode().IsRegular() {
			continue
		}
		r, err := member.Open()
		if err != nil {
			return fmt.Errorf("reading archive: %w", err)
		}
		if err := errors.Join(visit(member.Name, r), r.Close()); err != nil {
			return err
		}
	}
	return nil
}
