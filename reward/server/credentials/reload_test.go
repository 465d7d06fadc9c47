package credentials

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fickle is a Reloader that fails when told to.
type fickle struct {
	calls atomic.Int64
	err   atomic.Pointer[error]
}

func (f *fickle) Reload() error {
	f.calls.Add(1)
	if err := f.err.Load(); err != nil {
		return *err
	}
	return nil
}

func TestFilesAreReloadedAtIntervalsAndOnDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, nil))
		f := &fickle{}
		now := make(chan os.Signal, 1)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			KeepFresh(ctx, 10*time.Second, now, logger, f)
		}()
		time.Sleep(25 * time.Second)
		if n := f.calls.Load(); n != 2 {
			t.Errorf("%d reloads in 25 s, want 2", n)
		}
		failure := errors.New("spoilt")
		f.err.Store(&failure)
		now <- os.Interrupt
		synctest.Wait()
		time.Sleep(20 * time.Second)
		if n := f.calls.Load(); n != 5 {
			t.Errorf("%d reloads, want 5 with the one on demand", n)
		}
		if n := strings.Count(log.String(), "spoilt"); n != 1 {
			t.Errorf("one failure was logged %d times:\n%s", n, &log)
		}
		stop()
		<-ended
	})
}
