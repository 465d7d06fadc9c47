package download

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// Bar draws the progress of a download; its zero value draws nothing.
type Bar struct{ w io.Writer }

// NewBar draws on w, unless w is nil or a file that nobody watches.
func NewBar(w io.Writer) Bar {
	if f, ok := w.(*os.File); ok && (f == nil || !term.IsTerminal(int(f.Fd()))) {
		return Bar{}
	}
	return Bar{w}
}

// Draws reports whether somebody sees the bar.
func (b Bar) Draws() bool { return b.w != nil }

// Start begins a bar of size bytes, or one without an end where size is
// negative. What is written to the writer moves it; finish takes it away.
func (b Bar) Start(size int64, what string) (progress io.Writer, finish func()) {
	if b.w == nil {
		return io.Discard, func() {}
	}
	p := progressbar.NewOptions64(size,
		progressbar.OptionSetWriter(b.w),
		progressbar.OptionSetDescription(what),
		progressbar.OptionShowBytes(size >= 0),
		progressbar.OptionSetWidth(30),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSpinnerType(14),
	)
	_ = p.RenderBlank() // say at once what is going on; a bar that fails to draw is no failure
	return p, func() { _ = p.Finish() }
}
