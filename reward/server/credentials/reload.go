package credentials

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"
)

// A Reloader reads its file again. After an error it goes on with what it had.
type Reloader interface {
	Reload() error
}

var (
	_ Reloader = (*Tokens)(nil)
	_ Reloader = (*Certificate)(nil)
)

// KeepFresh reloads files at every interval and whenever now receives, until
// ctx ends. Polling finds files that an orchestrator replaced, which sends no
// signal; a command sends now on SIGHUP. It logs a failure once, and again when
// it changes.
func KeepFresh(ctx context.Context, interval time.Duration, now <-chan os.Signal, logger *slog.Logger, files ...Reloader) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	last := make([]string, len(files))
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-now:
			clear(last) // somebody asked: tell again
		}
		for i, f := range files {
			text := ""
			if err := f.Reload(); err != nil {
				text = err.Error()
			}
			if text != last[i] && text != "" {
				logger.Error("reload failed; going on with what was loaded before", "error", text)
			}
			last[i] = text
		}
	}
}

func readFile(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file: to open it might wait for ever, and it is read again later", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: more than %d bytes", path, limit)
	}
	return data, nil
}
