package cli

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"time"
)

// JSONLog makes a stream of JSON lines: what begins with a brace passes, and any
// other text becomes the message of a line, so that nothing else is on the stream.
type JSONLog struct{ w io.Writer }

// NewJSONLog writes to w, which needs no buffering: every line is one write.
func NewJSONLog(w io.Writer) JSONLog { return JSONLog{w} }

// Write takes whole lines.
func (l JSONLog) Write(p []byte) (int, error) {
	if bytes.HasPrefix(p, []byte("{")) {
		return l.w.Write(p)
	}
	log := slog.New(slog.NewJSONHandler(l.w, JSONLogOptions(slog.LevelInfo)))
	for line := range strings.Lines(string(p)) {
		if line = strings.TrimSpace(strings.TrimPrefix(line, "densereward: ")); line != "" {
			log.Warn(line)
		}
	}
	return len(p), nil
}

// JSONLogOptions are those of a log in JSON: a duration is a number of seconds,
// and its name says so.
func JSONLogOptions(level slog.Leveler) *slog.HandlerOptions {
	return &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if d, ok := a.Value.Any().(time.Duration); ok {
			return slog.Float64(a.Key+"_seconds", d.Seconds())
		}
		return a
	}}
}
