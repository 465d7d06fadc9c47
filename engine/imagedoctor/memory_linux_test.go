package imagedoctor

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/qwenvl/qwenvltest"
	"github.com/denseflow/densereward/reward"
)

// longPromptEnv makes a process of this test run a long prompt and say what it took.
const longPromptEnv = "IMAGEDOCTOR_LONG_PROMPT"

// A prompt of 7,000 tokens took 5.3 GB while its queries attended all at once: the
// scores of six heads in each of four layers alone are 1.2 GB a layer. A process of its
// own measures it, since others of this one's tests run beside.
func TestMemoryGrowsWithAPromptAndNotWithItsSquare(t *testing.T) {
	if os.Getenv(longPromptEnv) != "" {
		e := loadSmall(t, nil, Options{PromptTokens: 8000})
		_, samples := refSamples(t)
		samples[0].Prompt = strings.Repeat("a b ", 3500)
		r := generate(t, e, reward.ModeAnswer, samples[:1], 2)[0]
		fmt.Printf("tokens %d, peak %d kB\n", len(r.Trace.InputIDs), peakMemory(t))
		return
	}
	t.Parallel()
	self := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	self.Env = append(os.Environ(), longPromptEnv+"=1")
	out, err := self.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, line, found := strings.Cut(string(out), "tokens ")
	var tokens, peak int
	if _, err := fmt.Sscanf(line, "%d, peak %d kB", &tokens, &peak); !found || err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	if tokens < 7000 || peak > 600<<10 {
		t.Errorf("%d kB for %d tokens, want at most 600 MB", peak, tokens)
	}
}

// peakMemory is the most memory that this process has held, in kB.
func peakMemory(t *testing.T) int {
	t.Helper()
	for line := range strings.Lines(qwenvltest.ReadText(t, "/proc/self/status")) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kB, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return kB
		}
	}
	t.Fatal("no VmHWM")
	return 0
}
