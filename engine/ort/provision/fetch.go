package provision

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/denseflow/densereward/internal/download"
)

const (
	npmTimeout = 15 * time.Minute // for the npm client as a whole

	// maxArchive bounds a download; the largest archive has about 300 MB.
	maxArchive = 1 << 30
)

// fetcher brings an archive onto this machine.
type fetcher struct {
	client *http.Client
	npm    string // name or path of the npm client
	bar    download.Bar
	pauses func() backoff.BackOff // between attempts at a download
}

// attempts bounds how often a download is begun.
const attempts = 3

// pauses are those between attempts at a download: about one second, then two.
func pauses() backoff.BackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.Multiplier = time.Second, 2
	return b
}

// fetch downloads a into the folder dir and returns the file's path.
func (f fetcher) fetch(ctx context.Context, a archive, dir string) (string, error) {
	if a.npm != "" {
		return f.pack(ctx, a.npm, dir)
	}
	return backoff.Retry(ctx, func() (string, error) { return f.download(ctx, a.url, dir) },
		backoff.WithBackOff(f.pauses()), backoff.WithMaxTries(attempts))
}

// download makes one attempt. A host that cannot be reached or refuses is an error
// for good; an overloaded one and an answer that breaks off are worth another try.
func (f fetcher) download(ctx context.Context, url, dir string) (string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	answer, err := f.client.Do(request)
	if err != nil {
		return "", backoff.Permanent(unwrapURL(err))
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		err := fmt.Errorf("the server answered %s", answer.Status)
		if answer.StatusCode < 500 {
			err = backoff.Permanent(err)
		}
		return "", err
	}
	to := filepath.Join(dir, path.Base(url))
	out, err := os.Create(to)
	if err != nil {
		return "", err
	}
	defer func() { _ = out.Close() }()
	progress, finish := f.bar.Start(answer.ContentLength, "fetching "+path.Base(url))
	defer finish()
	n, err := download.Copy(ctx, cancel, io.MultiWriter(out, progress), answer.Body, maxArchive)
	if err != nil {
		return "", err
	}
	if n > maxArchive {
		return "", backoff.Permanent(fmt.Errorf("the archive is larger than %d bytes", maxArchive))
	}
	return to, out.Close()
}

// unwrapURL drops the address, which the caller names already.
func unwrapURL(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

// pack has the npm client fetch a package. The client knows its registry, its
// proxy and its credentials; we know none of them.
func (f fetcher) pack(ctx context.Context, spec, dir string) (string, error) {
	client, err := exec.LookPath(f.npm)
	if err != nil {
		return "", errors.New("the npm client is not installed")
	}
	ctx, cancel := context.WithTimeout(ctx, npmTimeout)
	defer cancel()
	_, finish := f.bar.Start(-1, "fetching "+spec+" with npm")
	defer finish()
	command := exec.CommandContext(ctx, client, "pack", spec, "--silent", "--fetch-retries", "1", "--pack-destination", dir)
	command.Dir = dir // so that no project's package.json is found
	output, err := command.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("npm pack: %w: %s", err, lastLine(output))
	}
	packed, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(packed) != 1 {
		return "", fmt.Errorf("npm pack wrote %d archives, expected one", len(packed))
	}
	return packed[0], nil
}

// lastLine is the end of a command's output, where the reason stands.
func lastLine(output []byte) string {
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
