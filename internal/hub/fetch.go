package hub

import (
	"context"
	"crypto/sha1" // Git's
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/dustin/go-humanize"
	"github.com/gofrs/flock"

	"github.com/denseflow/densereward/internal/download"
)

// attempts bounds how often something is asked for in vain; a download that went on
// counts anew.
const attempts = 5

// longestPause bounds what a Retry-After is believed.
const longestPause = time.Minute

func pauses() backoff.BackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.Multiplier = time.Second, 2
	return b
}

// retry repeats what a hub that is overloaded, or a connection that broke, may let pass
// the next time.
func (r repository) retry(ctx context.Context, attempt func() error) error {
	rhythm := pauses()
	if r.pauses != nil {
		rhythm = r.pauses()
	}
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := attempt()
		var busy *overloaded
		switch {
		case errors.As(err, &busy):
			if seconds, e := strconv.Atoi(busy.after); e == nil && seconds > 0 && time.Duration(seconds)*time.Second <= longestPause {
				return struct{}{}, errors.Join(backoff.RetryAfter(seconds), err)
			}
		case err != nil && !errors.Is(err, errBroken):
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(rhythm), backoff.WithMaxTries(attempts), backoff.WithMaxElapsedTime(0))
	if busy := (*overloaded)(nil); errors.As(err, &busy) {
		return busy
	}
	return err
}

// errBroken is the error of a connection that broke while a file came.
var errBroken = errors.New("the download broke off")

// ensure downloads the files that the snapshot lacks and returns how many bytes came.
func (r repository) ensure(ctx context.Context, commit string, listing map[string]File, names []string) (int64, error) {
	var missing []File
	var total int64
	for _, name := range names {
		f, ok := listing[name]
		if !ok {
			return 0, fmt.Errorf("%s: %w", name, ErrNotFound)
		}
		if r.has(commit, f) {
			continue
		}
		if r.Offline {
			return 0, fmt.Errorf("%s is not there: %w", name, ErrOffline)
		}
		if f.Digest == "" || f.Size < 0 {
			var err error
			if f, err = r.head(ctx, commit, f); err != nil {
				return 0, err
			}
		}
		missing = append(missing, f)
		total += max(0, f.Size)
	}
	if len(missing) == 0 {
		return 0, nil
	}
	if r.Say != nil && !r.Bar.Draws() {
		r.Say("fetching %d files, %s, of %s from %s into %s", len(missing), humanize.BytesN(uint64(total), 3), r.Reference, r.Endpoint, r.Cache)
	}
	var fetched int64
	for _, f := range missing {
		n, err := r.fetch(ctx, commit, f)
		fetched += n
		if err != nil {
			return fetched, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return fetched, nil
}

func (r repository) fetch(ctx context.Context, commit string, f File) (int64, error) {
	unlock, err := r.lock(ctx, f.Digest)
	if err != nil {
		return 0, err
	}
	defer unlock()
	var fetched int64
	if info, err := os.Stat(r.blob(f.Digest)); err != nil || f.Size >= 0 && info.Size() != f.Size {
		if fetched, err = r.content(ctx, commit, f); err != nil {
			return fetched, err
		}
	}
	return fetched, r.link(commit, f)
}

// lock waits until no other process downloads a file.
func (r repository) lock(ctx context.Context, digest string) (unlock func(), err error) {
	path := filepath.Join(r.Cache, ".locks", folderName(r.ID), digest+".lock")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	file := flock.New(path)
	if _, err := file.TryLockContext(ctx, 100*time.Millisecond); err != nil {
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return func() { _ = file.Close() }, nil
}

// content downloads a file's content beside its place, going on where an earlier
// download ended, holds it against its digest and moves it there.
func (r repository) content(ctx context.Context, commit string, f File) (fetched int64, err error) {
	if err := os.MkdirAll(filepath.Dir(r.blob(f.Digest)), 0o755); err != nil {
		return 0, err
	}
	path := r.blob(f.Digest) + ".incomplete"
	out, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return 0, err
	}
	defer func() { _ = out.Close() }()
	began, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	bar, finish := r.Bar.Start(f.Size, f.Name)
	defer finish()
	for resumed := began > 0; ; resumed = false {
		n, err := r.body(ctx, commit, f, out, bar)
		if fetched += n; err != nil {
			return fetched, err
		}
		err = verify(out, f)
		if err == nil {
			break
		}
		// What lay there may have been another's; a second time the fault is the hub's.
		if e := out.Truncate(0); e != nil || !resumed {
			return fetched, errors.Join(err, e, os.Remove(path))
		}
	}
	if err := errors.Join(out.Sync(), out.Close()); err != nil {
		return fetched, err
	}
	return fetched, os.Rename(path, r.blob(f.Digest))
}

// body appends what is missing of a file's content to out, over as many connections as
// it takes while each brings something.
func (r repository) body(ctx context.Context, commit string, f File, out *os.File, bar io.Writer) (fetched int64, err error) {
	for {
		before := fetched
		err := r.retry(ctx, func() error {
			n, err := r.piece(ctx, commit, f, out, bar)
			fetched += n
			if n > 0 && errors.Is(err, errBroken) {
				return errMoved
			}
			return err
		})
		if errors.Is(err, errMoved) && fetched > before {
			continue
		}
		return fetched, err
	}
}

// errMoved ends the attempts at a piece of which something came: the next piece has
// attempts of its own.
var errMoved = errors.New("a piece came")

// piece appends the body of one answer to out.
func (r repository) piece(ctx context.Context, commit string, f File, out *os.File, bar io.Writer) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	at, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	if f.Size >= 0 && at > f.Size {
		if at, err = 0, errors.Join(out.Truncate(0), rewind(out)); err != nil {
			return 0, err
		}
	}
	if at == f.Size {
		return 0, nil
	}
	response, err := r.do(ctx, r.Client, http.MethodGet, r.address(commit, f.Name), at)
	if err != nil {
		if errors.Is(err, ErrUnreachable) && ctx.Err() == nil && !errors.As(err, new(*overloaded)) {
			err = errors.Join(errBroken, err)
		}
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	if at > 0 && (response.StatusCode != http.StatusPartialContent || !strings.HasPrefix(response.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", at))) {
		// The server knows no ranges, or no content of this length: from the start.
		if err := errors.Join(out.Truncate(0), rewind(out)); err != nil {
			return 0, err
		}
		if at = 0; response.StatusCode != http.StatusOK {
			return 0, errBroken
		}
	}
	limit := int64(math.MaxInt64 - 1)
	if f.Size >= 0 {
		limit = f.Size - at
	}
	n, err := download.Copy(ctx, cancel, io.MultiWriter(out, bar), response.Body, limit)
	switch {
	case n > limit:
		return n, fmt.Errorf("%w: longer than %d bytes", ErrDamaged, f.Size)
	case errors.As(err, new(*os.PathError)):
		return n, err // the disk's fault
	case err != nil && (ctx.Err() == nil || errors.Is(err, download.ErrStalled)):
		return n, errors.Join(errBroken, err)
	case err == nil && f.Size >= 0 && n < limit:
		return n, fmt.Errorf("%w after %d of %d bytes", errBroken, at+n, f.Size)
	}
	return n, err
}

func rewind(f *os.File) error {
	_, err := f.Seek(0, io.SeekStart)
	return err
}

// verify holds a file against its digest, where that is one.
func verify(out *os.File, f File) error {
	info, err := out.Stat()
	if err != nil {
		return err
	}
	var sum hash.Hash
	switch len(f.Digest) {
	case 2 * sha256.Size:
		sum = sha256.New()
	case 2 * sha1.Size:
		sum = sha1.New()
		fmt.Fprintf(sum, "blob %d\x00", info.Size())
	default:
		return nil
	}
	if err := rewind(out); err != nil {
		return err
	}
	if _, err := io.Copy(sum, out); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != strings.ToLower(f.Digest) {
		return fmt.Errorf("%w: the digest of what came is %s, the hub says %s", ErrDamaged, got, f.Digest)
	}
	return nil
}
